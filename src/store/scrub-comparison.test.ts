/** What a scrub takes from another member, and what it leaves to the leader. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
import { blockBytes } from "../namespace/model.ts";
import { deleteChunks, fenceSession, readBlocks, scrubStore } from "../wire/catalogue/store.ts";
import { blocksOf, testChunk } from "./testing/blocks.ts";
import { readFrom, TestCluster, type TestStore, testGroup, timeoutMs, until, writeTo } from "./testing/cluster.ts";

const generation = 1;

async function started(context: TestContext): Promise<{ cluster: TestCluster; whole: TestStore; other: TestStore }> {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  cluster.liveSessions = [1, 2, 3];
  const leader = await cluster.startLeader();
  const [whole, other] = [await cluster.startStore(1, [leader]), await cluster.startStore(2, [leader])];
  await cluster.setViews(generation, { 1: "inSync", 2: "inSync" });
  await cluster.registeredAll();
  return { cluster, whole, other };
}

async function scrub(cluster: TestCluster, store: TestStore) {
  cluster.heartbeats.length = 0;
  await store.leader.request(scrubStore, { groups: [] }, { timeoutMs });
  const reports = () => cluster.heartbeats.filter((beat) => beat.store === store.number).map((beat) => beat.scrub);
  await until("the scrub has begun", () => reports().some((report) => report?.endedMs === 0));
  await until("the scrub is done", () => (reports().at(-1)?.endedMs ?? 0) > 0);
  return reports().at(-1)!;
}

async function contentOf(store: TestStore, chunk: number): Promise<(number | undefined)[] | "unknown"> {
  return readFrom(store, { generation, chunk }, 3).catch((error) => {
    if (hasCode(error, "unknownChunk")) return "unknown";
    throw error;
  });
}

test("what is missing or older here is taken, unless it may be about to be taken back", async (context) => {
  const { cluster, whole, other } = await started(context);
  const chunk = (number: number) => testChunk + number;
  const write = (store: TestStore, number: number, fill: number, grant: number, session = 1) =>
    writeTo(store, { generation, chunk: chunk(number), session }, 0, blocksOf(fill, 0, 2), { grant, sequence: 1 });
  const both = [whole, other];
  for (const number of [0, 1, 2, 3, 4]) for (const store of both) await write(store, number, 10, 1);
  await write(whole, 0, 50, 2); // of a session that lives
  await write(whole, 1, 50, 2, 2); // of one that has ended, for good
  await write(whole, 2, 50, 2, 3); // of one whose end isn't settled
  await write(other, 3, 50, 2); // newer here: the other member's own scrub takes it
  for (const number of [5, 6]) await write(whole, number, 50, 2); // known there only; 6 is no file's
  for (const session of [2, 3]) await other.leader.request(fenceSession, { session }, { timeoutMs });
  for (const number of [0, 1, 2, 3, 4, 5]) cluster.mapped.add(chunk(number));
  cluster.over.add(2);
  const { differingBlocks, badBlocks } = await scrub(cluster, other);
  assert.deepEqual([differingBlocks, badBlocks], [6, 0]);
  const [old, fresh] = [
    [10, 11, undefined],
    [50, 51, undefined],
  ];
  const found = await Promise.all([0, 1, 2, 3, 4, 5, 6].map((number) => contentOf(other, chunk(number))));
  assert.deepEqual(found, [fresh, fresh, old, fresh, old, fresh, "unknown"]);
  assert.deepEqual(await contentOf(whole, chunk(3)), old);
  assert.equal((await scrub(cluster, whole)).differingBlocks, 2);
  assert.deepEqual(await contentOf(whole, chunk(3)), fresh);
});

test("another version of the same content is taken, but nothing was missing", async (context) => {
  const { cluster, whole, other } = await started(context);
  const target = { generation, chunk: testChunk };
  cluster.mapped.add(testChunk);
  for (const store of [whole, other]) await writeTo(store, target, 0, blocksOf(10, 0, 2), { grant: 1, sequence: 1 });
  // As a write that was taken back leaves it, where blocks were and where none were.
  await writeTo(whole, target, 0, blocksOf(10, 0, 2), { grant: 1, sequence: 3 });
  await writeTo(whole, target, 2, Buffer.alloc(4 * blockBytes), { grant: 1, sequence: 3 });
  assert.equal((await scrub(cluster, other)).differingBlocks, 0);
  assert.ok(other.lines.some((line) => line.includes("another version of the same content") && line.includes("6")));
  const body = { session: 1, group: testGroup, ...target, firstBlock: 0, blockCount: 6 };
  const { extents } = (await other.client.request(readBlocks, body, { timeoutMs })).body;
  assert.deepEqual(new Set(extents.map(({ version }) => version.sequence)), new Set([3]));
});

test("a chunk that is deleted while its copy is on its way goes again", async (context) => {
  const { cluster, whole, other } = await started(context);
  await writeTo(whole, { generation, chunk: testChunk }, 0, blocksOf(7, 0, 2), { grant: 1, sequence: 1 });
  cluster.mapped.add(testChunk);
  // The leader says that a file has it, and then deletes it everywhere.
  cluster.onJudge = () => {
    cluster.onJudge = () => {};
    queueMicrotask(() => {
      cluster.mapped.delete(testChunk);
      void other.leader.request(deleteChunks, { chunks: [testChunk] }, { timeoutMs });
    });
  };
  await scrub(cluster, other);
  assert.equal(await contentOf(other, testChunk), "unknown");
});
