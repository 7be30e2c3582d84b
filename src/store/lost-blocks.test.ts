/** Blocks that nobody has any more: errors for readers, until they are written anew; kept over restarts, clones, catch-ups. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
import { catchUp, loseBlocks } from "../wire/catalogue/store.ts";
import { Store } from "./store.ts";
import { blocksOf, contentOf, testChunk, writeOf } from "./testing/blocks.ts";
import { readFrom, TestCluster, testGroup, timeoutMs, until, writeTo } from "./testing/cluster.ts";
import { MemoryPlatform } from "./testing/memory-platform.ts";

const chunk = testChunk;
const other = testChunk + 1;
const isLost = (error: unknown) => hasCode(error, "badChecksum") && /was lost/.test(error.message);

function openStore(platform: MemoryPlatform): Promise<Store> {
  return Store.open(platform, { directory: "store", segmentBytes: 256 * 1024 });
}

async function put(store: Store, to: number, fill: number, first: number, count: number, grant = 1) {
  const data = blocksOf(fill, first, count);
  await store.write(writeOf(to, first, data, { grant, sequence: 1 }), data);
}

function lose(store: Store, ...ranges: { chunk: number; firstBlock: number; blockCount: number }[]): Promise<void> {
  return store.discard({ kind: "lose", generation: 2, ranges });
}

test("what isn't there is lost: an error to read; what is there stays, and what is written takes its place", async () => {
  const platform = new MemoryPlatform();
  let store = await openStore(platform);
  await put(store, chunk, 10, 1, 2);
  const liveBytes = store.liveBytes;
  await lose(store, { chunk, firstBlock: 0, blockCount: 5 }, { chunk: other, firstBlock: 0, blockCount: 3 });
  await lose(store, { chunk, firstBlock: 0, blockCount: 5 });
  assert.equal(store.liveBytes, liveBytes);
  await assert.rejects(store.read(chunk, 0, 2), isLost);
  await assert.rejects(store.read(other, 2, 1), isLost);
  assert.deepEqual((await store.read(chunk, 1, 2)).extents.length, 1);
  assert.deepEqual(await store.isWhole(chunk, 0, 5), { whole: true, blockCount: 2 });
  assert.deepEqual(await store.findBad(chunk, 0, 5), []);
  const lost = [
    { chunk, firstBlock: 0, blockCount: 1 },
    { chunk, firstBlock: 3, blockCount: 2 },
    { chunk: other, firstBlock: 0, blockCount: 3 },
  ];
  assert.deepEqual(store.badBlocks.now(), lost);

  await store.close();
  store = await openStore(platform);
  assert.deepEqual(store.badBlocks.now(), lost);
  await put(store, chunk, 20, 0, 1);
  await put(store, chunk, 30, 3, 2);
  await store.delete([other]);
  assert.deepEqual(await contentOf(store, chunk, 6), [20, 11, 12, 33, 34, undefined]);
  assert.deepEqual(store.badBlocks.now(), []);
  await store.checkpoint();
  await store.close();
});

test("a clone has what is lost, too", async () => {
  const store = await openStore(new MemoryPlatform());
  await put(store, chunk, 10, 0, 1);
  await lose(store, { chunk, firstBlock: 0, blockCount: 3 });
  await store.clone({ chunk: other, source: chunk, blockCount: 2, generation: 2, session: 1, tolerant: false });
  await assert.rejects(store.read(other, 1, 1), isLost);
  await store.delete([chunk]);
  assert.deepEqual(store.badBlocks.now(), [{ chunk: other, firstBlock: 1, blockCount: 1 }]);
  assert.equal(store.liveBytes, 4096);
  await store.close();
});

test("a member that catches up takes over what is lost, in place of what it had", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const leader = await cluster.startLeader();
  const [heir, late] = [await cluster.startStore(1, [leader]), await cluster.startStore(2, [leader])];
  await cluster.registeredAll();
  await cluster.setViews(1, { 1: "inSync", 2: "inSync" });
  const version = { grant: 1, sequence: 1 };
  await writeTo(heir, { generation: 1, chunk }, 0, blocksOf(10, 0, 2), version);
  await writeTo(late, { generation: 1, chunk }, 1, blocksOf(50, 1, 3), { grant: 2, sequence: 1 });
  await cluster.setViews(2, { 1: "catchingUp", 2: "behind" });
  const ranges = [
    { chunk, firstBlock: 0, blockCount: 4 },
    { chunk: other, firstBlock: 0, blockCount: 2 },
  ];
  const request = { group: testGroup, generation: 2, ranges };
  await assert.rejects(late.leader.request(loseBlocks, request, { timeoutMs }), (error) =>
    hasCode(error, "notServing"),
  );
  await heir.leader.request(loseBlocks, request, { timeoutMs });
  await cluster.setViews(3, { 1: "inSync", 2: "catchingUp" });
  await late.leader.request(catchUp, { group: testGroup, generation: 3, source: heir.address }, { timeoutMs });
  await until("the end of the catch-up", () => cluster.caughtUp.length > 0);
  await cluster.setViews(4, { 1: "inSync", 2: "inSync" });
  for (const store of [heir, late]) {
    assert.deepEqual(await readFrom(store, { generation: 4, chunk }, 2), [10, 11]);
    await assert.rejects(readFrom(store, { generation: 4, chunk }, 3), isLost);
    await assert.rejects(readFrom(store, { generation: 4, chunk: other }, 1), isLost);
  }
});
