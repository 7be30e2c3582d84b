/** A state from a backup gives no number for a second time. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { MemoryDatabase, MemoryKeyValueEngine } from "../platform/memory-key-value.ts";
import { checkInvariants } from "./invariants.ts";
import { Namespace } from "./namespace.ts";
import { isFromBeforeRestore, raiseNumbersOf } from "./restored.ts";
import { Driver } from "./testing/driver.ts";

test("numbers given after the backup are not given again", async () => {
  const driver = new Driver();
  driver.makeVolume();
  const engine = new MemoryKeyValueEngine();
  await engine.copy(driver.state, "backup");
  const restored = engine.database("backup").open();

  const { sessionsBelow } = driver.namespace;
  for (let n = 0; n < 100; n++) driver.leader({ kind: "openSession", clientId: `c${n}`, volume: 1, host: "h" });
  const lastSession = driver.namespace.sessionsBelow;
  const groups = driver.namespace.groups();
  raiseNumbersOf(restored);
  assert.deepEqual(checkInvariants(restored), []);
  const namespace = new Namespace(restored);
  assert.ok(namespace.sessionsBelow > lastSession && lastSession > sessionsBelow);
  for (const old of [1, sessionsBelow - 1]) {
    assert.ok(isFromBeforeRestore(old, namespace.sessionsBelow) && !isFromBeforeRestore(old, lastSession));
  }
  assert.ok(!isFromBeforeRestore(namespace.sessionsBelow, namespace.sessionsBelow + 1_000_000));
  assert.ok(namespace.groupsBelow >= driver.namespace.groupsBelow + 64, "two volumes may have been made");
  assert.equal(namespace.groups().length, groups.length);
  for (const [at, group] of namespace.groups().entries()) {
    assert.ok(group.generation > groups[at]!.generation + 1000 && group.nextNumber > groups[at]!.nextNumber + 1e9);
    assert.deepEqual(group.members, groups[at]!.members);
  }
});

test("a store that comes after a restore has a number that none had before", () => {
  const driver = new Driver();
  driver.makeVolume();
  raiseNumbersOf(driver.state);
  driver.reopen();
  const made = driver.leader({ kind: "registerStore", serverId: "new", address: "n:1", labels: [] });
  assert.ok(made.kind === "made" && made.id > 1_000);
});

test("a leader that lacks entries raises the same numbers, and all of them or none", () => {
  const driver = new Driver();
  driver.makeVolume();
  const before = driver.namespace.groups();
  const session = driver.namespace.sessionsBelow - 1;
  assert.deepEqual(driver.leader({ kind: "raiseNumbers" }), { kind: "done" });
  driver.reopen();
  assert.deepEqual(checkInvariants(driver.state), []);
  const { namespace } = driver;
  assert.ok(isFromBeforeRestore(session, namespace.sessionsBelow));
  assert.ok(namespace.groupsBelow > before.length + 64);
  for (const [at, group] of namespace.groups().entries()) {
    assert.ok(group.generation > before[at]!.generation + 1000 && group.nextNumber > before[at]!.nextNumber + 1e9);
    assert.deepEqual(group.members, before[at]!.members);
  }
  let raised = 1;
  while (driver.leader({ kind: "raiseNumbers" }).kind === "done") raised += 1;
  assert.ok(raised > 500);
  const usedUp = namespace.sessionsBelow;
  assert.equal(driver.leader({ kind: "raiseNumbers" }).kind, "failed");
  assert.equal(namespace.sessionsBelow, usedUp);
});

test("an empty state, and one whose numbers are used up, are refused", () => {
  assert.throws(() => raiseNumbersOf(new MemoryDatabase("empty").open()), { code: "invalid" });
  const driver = new Driver();
  driver.makeVolume();
  let restores = 0;
  const until = () => {
    for (; restores < 10_000; restores++) raiseNumbersOf(driver.state);
  };
  assert.throws(until, { code: "invalid", message: /used up/ });
  assert.ok(restores > 500);
});
