import assert from "node:assert/strict";
import { test } from "node:test";
import { BrineError } from "../errors/brine-error.ts";
import { errno } from "../errors/errno.ts";
import type { Operation } from "../namespace/operation.ts";
import { FakePeer } from "./testing/fake-peer.ts";
import { type Client, createFile, Harness } from "./testing/harness.ts";
import { drain } from "./testing/manual-clock.ts";

async function mounted(): Promise<{ harness: Harness; client: Client; other: Client }> {
  const harness = await Harness.start();
  await harness.addStore("a");
  await harness.addVolume("home", 1);
  const client = await harness.mount("client", "home");
  const other = await harness.mount("other", "home");
  return { harness, client, other };
}

/** Inode numbers for the client, which has the root's exclusive lease. */
async function granted(client: Client, count: number): Promise<number> {
  await client.acquire(client.root, "exclusive");
  const result = await client.transact({ kind: "grantInodes", count });
  assert.ok(result.kind === "granted");
  return result.range.first;
}

test("a batch is answered as a whole, and a resend gets the same, from the queue and from the state", async () => {
  const { harness, client } = await mounted();
  const inode = await granted(client, 10);
  const operations = [
    createFile(client.root, "a", inode),
    createFile(client.root, "a", inode + 1),
    { kind: "unlink", parent: client.root, name: "a" } as const,
  ];
  harness.ledger.hold();
  const first = client.batch(operations, { first: 2 });
  await drain();
  const resent = client.batch(operations, { first: 2 });
  harness.ledger.letGo();
  const answer = await first;
  assert.deepEqual(
    answer.results.map(({ kind }) => kind),
    ["attributes", "failed", "removed"],
  );
  assert.deepEqual(await resent, answer);
  assert.deepEqual(await client.batch(operations, { first: 2 }), answer);
  // A resend that goes on with what is new.
  const further = await client.batch([operations[2]!, createFile(client.root, "b", inode + 2)], { first: 4 });
  assert.deepEqual(further.results[0], answer.results[2]);
  assert.equal(further.results[1]!.kind, "attributes");
  assert.equal(harness.leader.namespace.session(client.session.id)!.lastSequence, 5);
});

test("predicted successes come back as done, at the client's time; a failure as it is", async () => {
  const { harness, client } = await mounted();
  const inode = await granted(client, 2);
  const timeNs = harness.clock.wallNs() + 5_000_000n;
  const operations = [createFile(client.root, "a", inode), createFile(client.root, "a", inode + 1)];
  const answer = await client.batch(operations, { timeNs });
  assert.deepEqual(answer.results, [{ kind: "done" }, { kind: "failed", errno: errno.EEXIST }]);
  assert.equal(harness.leader.namespace.inode(1, inode)!.attributes.mtimeNs, timeNs);
  assert.deepEqual(await client.batch(operations, { first: 2, timeNs }), answer);
});

test("a time far ahead is taken for now, as a clock that was set back makes it; a predicted grant is refused", async () => {
  const { harness, client } = await mounted();
  const inode = await granted(client, 1);
  const timeNs = harness.clock.wallNs() + 3_700_000_000_000n;
  const ahead = await client.batch([createFile(client.root, "a", inode)], { first: 2, timeNs });
  assert.equal(ahead.refused, undefined);
  const { mtimeNs } = harness.leader.namespace.inode(1, inode)!.attributes;
  assert.ok(mtimeNs <= harness.clock.wallNs() && mtimeNs > timeNs - 3_800_000_000_000n, `${mtimeNs}`);
  const grant = await client.batch([{ kind: "grantInodes", count: 1 }], { first: 3, timeNs: 1n });
  assert.equal(grant.refused?.code, "invalid");
});

test("a batch that is refused in the middle: what is before has its results, what is behind has no effect", async () => {
  const { client } = await mounted();
  const inode = await granted(client, 3);
  const chmod: Operation = { kind: "write", inode: 999, mappings: [], end: 1, killPrivileges: false };
  const batch = [createFile(client.root, "a", inode), chmod, createFile(client.root, "b", inode + 1)];
  const answer = await client.batch(batch, { first: 2 });
  assert.deepEqual(
    answer.results.map(({ kind }) => kind),
    ["attributes"],
  );
  assert.equal(answer.refused?.code, "invalid");
  assert.ok(!client.leases.isWanted(inode + 1));
  // The number of the refused one is free; what was sent behind it meets a gap.
  const gap = await client.batch([createFile(client.root, "c", inode + 2)], { first: 4 });
  assert.deepEqual([gap.results.length, gap.refused?.code], [0, "invalid"]);
  const next = await client.batch([createFile(client.root, "b", inode + 1)], { first: 3 });
  assert.equal(next.results[0]!.kind, "attributes");
});

test("a disk that fills up while batches wait: their numbers are free from the first refused one on", async () => {
  const { harness, client } = await mounted();
  const inode = await granted(client, 4);
  harness.ledger.hold();
  const one = client.batch([createFile(client.root, "a", inode)], { first: 2 });
  await drain();
  const two = client.batch([createFile(client.root, "b", inode + 1), createFile(client.root, "c", inode + 2)]);
  await drain();
  harness.ledger.failure = new BrineError("noSpace", "full");
  const resent = client.batch([createFile(client.root, "b", inode + 1)], { first: 3 });
  harness.ledger.letGo();
  for (const answer of [await one, await two, await resent]) {
    assert.deepEqual([answer.results.length, answer.refused?.code], [0, "noSpace"]);
  }
  harness.ledger.failure = undefined;
  const again = await client.batch(
    [0, 1, 2].map((at) => createFile(client.root, `${at}`, inode + at)),
    { first: 2 },
  );
  assert.equal(again.results.length, 3);
});

test("clients can't do what is the leader's", async () => {
  const { client } = await mounted();
  await assert.rejects(client.transact({ kind: "closeSession", session: 1 }), { code: "invalid" });
});

test("every change needs the exclusive lease on what it names", async () => {
  const { client } = await mounted();
  const inode = await client.create("a");
  const change = { mode: 1, uid: undefined, gid: undefined, size: undefined, mappings: [], killPrivileges: false };
  const times = { atime: undefined, mtime: undefined, ctime: undefined };
  const ofInode: Operation[] = [
    { kind: "write", inode, mappings: [], end: 10, killPrivileges: false },
    { kind: "setAttributes", inode, ...change, ...times },
    { kind: "link", inode, parent: client.root, name: "b" },
  ];
  const ofRoot: Operation[] = [
    { kind: "unlink", parent: client.root, name: "a" },
    { kind: "rmdir", parent: client.root, name: "a" },
    createFile(client.root, "c", 99),
    { kind: "rename", parent: client.root, name: "a", newParent: client.root, newName: "d", noReplace: false },
  ];
  client.release(inode, { keepShared: true });
  for (const operation of ofInode) await assert.rejects(client.transact(operation), { code: "invalid" });
  await client.acquire(inode, "exclusive");
  client.release(client.root, { keepShared: true });
  for (const operation of ofRoot) await assert.rejects(client.transact(operation), { code: "invalid" });
  assert.equal((await client.transact(ofInode[0]!)).kind, "attributes");
  assert.equal((await client.transact(ofInode[1]!)).kind, "attributes");
});

test("what a batch creates is the session's own from the moment it is queued", async () => {
  const { harness, client, other } = await mounted();
  const directory = await granted(client, 3);
  const make: Operation = { ...createFile(client.root, "d", directory), type: "directory" } as Operation;
  harness.ledger.hold();
  const made = client.batch([make, createFile(directory, "a", directory + 1)], { timeNs: 1n });
  await drain();
  assert.ok(client.leases.has(client.session.id, directory, "exclusive"));
  assert.ok(client.leases.has(client.session.id, directory + 1, "exclusive"));
  harness.ledger.letGo();
  assert.deepEqual((await made).results, [{ kind: "done" }, { kind: "done" }]);
  // Another client gets it after a recall.
  client.held.set(directory, { inode: directory, mode: "exclusive", grant: 1 });
  const asked = other.acquire(directory, "shared");
  await harness.clock.advance(0);
  assert.ok((await asked) > 1);
  assert.equal(client.held.get(directory)!.mode, "shared");
});

test("a creation that fails leaves no lease behind; nobody gets one on an inode that is there", async () => {
  const { client, other } = await mounted();
  const inode = await client.create("a");
  const second = await client.inode();
  const failed = await client.transact(createFile(client.root, "a", second));
  assert.equal(failed.kind, "failed");
  assert.ok(!client.leases.isWanted(second));
  client.release(inode);
  client.release(client.root);
  await other.acquire(other.root, "exclusive");
  assert.equal((await other.transact(createFile(other.root, "b", inode))).kind, "failed");
  assert.ok(!client.leases.isWanted(inode));
});

test("a creation that is resent after a reconnect still has its lease", async () => {
  const { harness, client, other } = await mounted();
  const inode = await granted(client, 1);
  harness.ledger.hold();
  const lost = client.batch([createFile(client.root, "a", inode)], { first: 2 });
  await drain();
  client.held.set(inode, { inode, mode: "exclusive", grant: 1 });
  client.state(new FakePeer("client"));
  const resent = client.batch([createFile(client.root, "a", inode)], { first: 2 });
  harness.ledger.letGo();
  assert.deepEqual(await resent, await lost);
  assert.ok(client.leases.has(client.session.id, inode, "exclusive"));
  client.release(client.root);
  await other.unlink("a");
  await harness.clock.advance(2_000);
  assert.ok(harness.leader.namespace.inode(1, inode));
});

test("a creation that never arrived: its lease is stated before it", async () => {
  const { client } = await mounted();
  const inode = await granted(client, 2);
  client.held.set(inode, { inode, mode: "exclusive", grant: 1 });
  // One that was not granted to it is not its own.
  client.held.set(inode + 100, { inode: inode + 100, mode: "exclusive", grant: 1 });
  client.state(new FakePeer("client"));
  assert.ok(client.leases.has(client.session.id, inode, "exclusive"));
  assert.ok(!client.leases.isWanted(inode + 100));
  assert.equal((await client.transact(createFile(client.root, "a", inode))).kind, "attributes");
});
