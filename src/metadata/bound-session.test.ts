/** A session that acts for one user: what the leader tells it, and that it stays bound. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { errno } from "../errors/errno.ts";
import { change } from "../namespace/testing/driver.ts";
import type { RecallMessage } from "./recalls.ts";
import { FakePeer } from "./testing/fake-peer.ts";
import { type Client, createFile, Harness } from "./testing/harness.ts";

const alice = { uid: 1000, gid: 1000, groups: [50] };
const denied = { code: "EACCES" };

/** `boss` is a mount, and makes what the others see. */
async function started(): Promise<{ harness: Harness; boss: Client }> {
  const harness = await Harness.start();
  await harness.addStore("a");
  await harness.addVolume("home", 1);
  return { harness, boss: await harness.mount("boss", "home") };
}

async function setMode(harness: Harness, boss: Client, inode: number, mode: number): Promise<void> {
  const acquiring = boss.acquire(inode, "exclusive");
  await harness.clock.advance(0);
  await acquiring;
  const result = await boss.transact(change(inode, { mode }));
  assert.equal(result.kind, "attributes");
  boss.release(inode);
}

test("chunks of files and names in directories are told to who may read them", async () => {
  const { harness, boss } = await started();
  const { answers } = harness.parts;
  const file = await boss.create("file");
  await boss.write(file);
  boss.release(file);
  const bound = await harness.mount("bound", "home", alice);
  // It gives back whatever is recalled: also the lease of a directory of which it was refused names.
  bound.peer.answer = (name, { leases }: RecallMessage) => {
    if (name !== "client.recallLeases") return {};
    const back = leases.map(({ inode, grant }) => ({ inode, grant, keepShared: false, hold: false }));
    answers.releaseLeases(bound.session, back);
    return {};
  };
  const told = async () => {
    const leased = await bound.ask(file, "shared", 0);
    assert.equal(leased.record.attributes.size, 10, "attributes are always told");
    return leased.mappings.length;
  };
  assert.equal(await told(), 1);
  assert.equal(answers.mappings(bound.session, file, 0).mappings.length, 1);
  await setMode(harness, boss, file, 0o600);
  assert.equal(await told(), 0);
  assert.throws(() => answers.mappings(bound.session, file, 0), denied);
  assert.equal(answers.mappings(boss.session, file, 0).mappings.length, 1, "a mount's kernel asks for permissions");

  const { root } = boss;
  const look = { parent: root, held: 0, name: "file" };
  const list = { directory: root, held: 0, after: 0, limit: 10, withLeases: false };
  for (const [mode, found, listed] of [
    [0o755, true, true],
    [0o711, true, false],
    [0o744, true, true],
    [0o700, false, false],
  ] as const) {
    await setMode(harness, boss, root, mode);
    if (found) assert.equal((await answers.lookup(bound.session, look)).entry?.inode, file);
    else await assert.rejects(async () => answers.lookup(bound.session, look), denied);
    if (listed) assert.equal((await answers.readDirectory(bound.session, list)).entries.length, 1);
    else await assert.rejects(async () => answers.readDirectory(bound.session, list), denied);
  }
});

test("a change that a program answers without asking is refused, and does no harm to the rest", async () => {
  const { harness, boss } = await started();
  boss.release(boss.root);
  const bound = await harness.mount("bound", "home", alice);
  const inode = await bound.inode();
  await bound.acquire(bound.root, "exclusive");
  const timeNs = harness.clock.wallNs();
  const { results, refused } = await bound.batch([createFile(bound.root, "forbidden", inode)], { timeNs });
  assert.deepEqual([results, refused], [[{ kind: "failed", errno: errno.EACCES }], undefined]);
  assert.equal(harness.leader.namespace.lookup(1, bound.root, "forbidden"), undefined);
  assert.equal((await bound.transact({ kind: "grantInodes", count: 1 })).kind, "granted", "its session goes on");
});

test("a session stays bound to its user, also after a restart; nobody opens it for another one, or for none", async () => {
  const { harness } = await started();
  const bound = await harness.mount("bound", "home", alice);
  const open = (user: typeof alice | undefined) => {
    const request = { clientId: "bound", volume: "home", host: "bound", user };
    return harness.parts.sessions.open(request, new FakePeer("client", undefined, "bound"));
  };
  const { id } = bound.session;
  for (const again of [false, true]) {
    if (again) await harness.restart();
    assert.equal((await open({ ...alice, groups: [...alice.groups] })).session, id);
    for (const other of [undefined, { ...alice, uid: 0 }, { ...alice, groups: [] }]) {
      await assert.rejects(() => open(other), { code: "invalid" });
    }
    assert.deepEqual(harness.leader.namespace.session(id)?.user, alice);
  }
});
