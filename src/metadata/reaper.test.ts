import assert from "node:assert/strict";
import { test } from "node:test";
import { FakePeer } from "./testing/fake-peer.ts";
import { Harness } from "./testing/harness.ts";

async function cluster() {
  const harness = await Harness.start();
  const a = await harness.addStore("a");
  const b = await harness.addStore("b");
  await harness.addVolume("home", 2);
  const client = await harness.mount("one", "home");
  return { harness, a, b, client };
}

test("the chunks of a removed file are deleted at both members, and then forgotten", async () => {
  const { harness, a, b, client } = await cluster();
  const inode = await client.create("a");
  const chunk = await client.write(inode);
  await client.unlink("a");
  client.release(inode);
  await harness.pass(500, { stores: [a, b], sessions: [client] });
  for (const { peer } of [a, b]) assert.deepEqual(peer.bodies("store.deleteChunks"), [{ chunks: [chunk] }]);
  assert.equal(harness.leader.namespace.chunksToDeleteCount, 0);
});

test("a deletion waits for a member that fails, and is not asked of one that is behind", async () => {
  const { harness, a, b, client } = await cluster();
  const inode = await client.create("a");
  await client.write(inode);
  b.peer.answer = (method) => (method === "store.deleteChunks" ? new Promise(() => {}) : {});
  await client.unlink("a");
  client.release(inode);
  await harness.pass(500, { stores: [a, b], sessions: [client] });
  assert.equal(harness.leader.namespace.chunksToDeleteCount, 1);
  harness.refusing.add("b:1");
  b.peer.close("the process has ended");
  await harness.pass(2_000, { stores: [a], sessions: [client] });
  assert.equal(harness.leader.namespace.chunksToDeleteCount, 0);
});

test("an inode is reaped when nobody has a lease or a hold on it any more", async () => {
  const { harness, a, b, client } = await cluster();
  const other = await harness.mount("two", "home");
  const alive = { stores: [a, b], sessions: [client, other] };
  const exists = () => harness.leader.namespace.inode(1, inode) !== undefined;
  const inode = await client.create("a");
  client.release(inode, { keepShared: true });
  await other.acquire(inode, "shared");
  await client.unlink("a");
  client.release(inode);
  await harness.pass(1_500, alive);
  assert.ok(exists(), "the other has a lease");
  other.release(inode, { hold: true });
  await harness.pass(1_500, alive);
  assert.ok(exists(), "the other has it open");
  // It can be used again as long as it is there; giving the lease back without handles ends the hold, too.
  await other.acquire(inode, "exclusive");
  other.release(inode);
  await harness.pass(1_500, alive);
  assert.ok(!exists());
  await assert.rejects(other.ask(inode, "shared", 0), { code: "ENOENT" });
});

test("a hold ends with release", async () => {
  const { harness, a, b, client } = await cluster();
  const inode = await client.create("a");
  await client.unlink("a");
  client.release(inode, { hold: true });
  await harness.pass(1_500, { stores: [a, b], sessions: [client] });
  assert.ok(harness.leader.namespace.inode(1, inode));
  harness.parts.answers.release(client.session, [inode]);
  await harness.pass(1_500, { stores: [a, b], sessions: [client] });
  assert.equal(harness.leader.namespace.inode(1, inode), undefined);
});

test("a deleted volume is emptied in the background; one that is mounted is not deleted", async () => {
  const { harness, a, b, client } = await cluster();
  for (let at = 0; at < 5; at++) await client.write(await client.create(`${at}`));
  await assert.rejects(harness.parts.admin.deleteVolume("home"), { code: "busy" });
  await harness.parts.sessions.close(client.session.id, client.peer);
  await harness.parts.admin.deleteVolume("home");
  await harness.pass(1_000, { stores: [a, b] });
  assert.deepEqual(harness.leader.namespace.volumes(), []);
  assert.equal(harness.leader.namespace.chunksToDeleteCount, 0);
  await assert.rejects(harness.mount("two", "home"), { code: "notFound" });
});

test("what a session was granted and never mapped is deleted after its end", async () => {
  const { harness, a, b, client } = await cluster();
  await client.transact({ kind: "grantChunks", count: 3, pool: 0 });
  await harness.parts.sessions.close(client.session.id, client.peer);
  await harness.pass(500, { stores: [a, b] });
  const [deleted] = a.peer.bodies<{ chunks: number[] }>("store.deleteChunks");
  assert.equal(deleted!.chunks.length, 3);
});

test("the work goes on after a restart", async () => {
  const { harness, client } = await cluster();
  const inode = await client.create("a");
  const chunk = await client.write(inode);
  await client.unlink("a");
  client.release(inode);
  await harness.restart();
  const stores = [
    { store: 1, peer: new FakePeer("store") },
    { store: 2, peer: new FakePeer("store") },
  ];
  await harness.registerStore("a", stores[0]!.peer);
  await harness.registerStore("b", stores[1]!.peer);
  await harness.pass(13_000, { stores });
  for (const { peer } of stores) {
    const chunks = peer.bodies<{ chunks: number[] }>("store.deleteChunks").flatMap((body) => body.chunks);
    assert.ok(chunks.includes(chunk));
  }
  assert.equal(harness.leader.namespace.chunksToDeleteCount, 0);
});
