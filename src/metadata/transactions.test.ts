import assert from "node:assert/strict";
import { test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
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

test("a resend gets the same answer, from the queue and from the state", async () => {
  const { harness, client } = await mounted();
  const inode = await client.inode();
  harness.ledger.hold();
  const first = client.transact(createFile(client.root, "a", inode), false, 2);
  await drain();
  const resent = client.transact(createFile(client.root, "a", inode), false, 2);
  harness.ledger.letGo();
  assert.deepEqual(await resent, await first);
  assert.deepEqual(await client.transact(createFile(client.root, "a", inode), false, 2), await first);
  assert.equal(harness.leader.namespace.session(client.session.id)!.lastSequence, 2);
});

test("a gap is refused", async () => {
  const { client } = await mounted();
  assert.throws(
    () => client.transact({ kind: "grantInodes", count: 1 }, false, 2),
    (error) => hasCode(error, "invalid"),
  );
});

test("clients can't do what is the leader's", async () => {
  const { client } = await mounted();
  assert.throws(
    () => client.transact({ kind: "closeSession", session: 1 }),
    (error) => hasCode(error, "invalid"),
  );
});

test("data is changed under the exclusive lease only", async () => {
  const { client } = await mounted();
  const inode = await client.create("a");
  const write: Operation = { kind: "write", inode, mappings: [], end: 10, killPrivileges: false };
  await client.acquire(inode, "shared");
  assert.throws(
    () => client.transact(write, false, 3),
    (error) => hasCode(error, "invalid"),
  );
  client.release(inode);
  await client.acquire(inode, "exclusive");
  assert.equal((await client.transact(write, false, 3)).kind, "attributes");
});

test("a file created open survives another client's unlink; closed, it is reaped", async () => {
  const { harness, client, other } = await mounted();
  const inode = await client.create("a", true);
  const removed = await other.transact({ kind: "unlink", parent: client.root, name: "a" });
  assert.deepEqual(removed, { kind: "removed", orphan: inode });
  await harness.clock.advance(2_000);
  assert.ok(harness.leader.namespace.inode(1, inode));
  harness.parts.holdings.of(1).holds.remove(client.session.id, inode);
  harness.parts.reaper.look();
  await harness.clock.advance(2_000);
  assert.equal(harness.leader.namespace.inode(1, inode), undefined);
});

test("a create that fails leaves no hold behind", async () => {
  const { harness, client } = await mounted();
  await client.create("a");
  const inode = await client.inode();
  const result = await client.transact(createFile(client.root, "a", inode), true);
  assert.equal(result.kind, "failed");
  assert.equal(harness.parts.holdings.of(1).holds.count(client.session.id), 0);
});

test("a create that is resent after a reconnect still holds its file", async () => {
  const { harness, client, other } = await mounted();
  const inode = await client.inode();
  harness.ledger.hold();
  const lost = client.transact(createFile(client.root, "a", inode), true, 2);
  await drain();
  const peer = new FakePeer("client");
  harness.parts.sessions.state({ session: client.session.id, holds: [inode], leases: [] }, peer);
  const resent = client.transact(createFile(client.root, "a", inode), true, 2);
  harness.ledger.letGo();
  assert.deepEqual(await resent, await lost);
  await other.transact({ kind: "unlink", parent: client.root, name: "a" });
  await harness.clock.advance(2_000);
  assert.ok(harness.leader.namespace.inode(1, inode));
});

test("an orphan that nobody has open can't be opened", async () => {
  const { harness, client, other } = await mounted();
  const inode = await client.create("a", true);
  await client.transact({ kind: "unlink", parent: client.root, name: "a" });
  assert.equal(harness.parts.queries.open(other.session, inode).attributes.linkCount, 0);
  harness.parts.holdings.of(1).holds.drop(client.session.id);
  harness.parts.holdings.of(1).holds.drop(other.session.id);
  assert.throws(() => harness.parts.queries.open(other.session, inode), { code: "ENOENT" });
});
