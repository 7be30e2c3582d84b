/** A state from a backup gives no number for a second time. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { MemoryDatabase, MemoryKeyValueEngine } from "../platform/memory-key-value.ts";
import { checkInvariants } from "./invariants.ts";
import { Namespace } from "./namespace.ts";
import { isFromBeforeRestore, raiseNumbers } from "./restored.ts";
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
  raiseNumbers(restored);
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
  raiseNumbers(driver.state);
  driver.reopen();
  const made = driver.leader({ kind: "registerStore", serverId: "new", address: "n:1", labels: [] });
  assert.ok(made.kind === "made" && made.id > 1_000);
});

test("an empty state, and one whose numbers are used up, are refused", () => {
  assert.throws(() => raiseNumbers(new MemoryDatabase("empty").open()), { code: "invalid" });
  const driver = new Driver();
  driver.makeVolume();
  let restores = 0;
  const until = () => {
    for (; restores < 10_000; restores++) raiseNumbers(driver.state);
  };
  assert.throws(until, { code: "invalid", message: /used up/ });
  assert.ok(restores > 500);
});
