import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { BrineError, type BrineErrorCode, hasCode } from "../errors/brine-error.ts";
import { realPlatform } from "../platform/real.ts";
import { leadersChanged } from "../wire/catalogue/leader.ts";
import { readKnownLedger, registerStore } from "../wire/catalogue/registration.ts";
import {
  catchUp,
  cloneChunk,
  deleteChunks,
  equalize,
  fenceSession,
  listChunks,
  reportBad,
  setGroups,
} from "../wire/catalogue/store.ts";
import { listenPeers } from "../wire/listen.ts";
import { Service } from "../wire/service.ts";
import { blocksOf } from "./testing/blocks.ts";
import {
  clusterId,
  readFrom,
  spoil,
  TestCluster,
  type TestStore,
  testGroup,
  timeoutMs,
  until,
  writeTo,
} from "./testing/cluster.ts";

const chunk = testGroup * 2 ** 40 + 5;

function failsWith(code: BrineErrorCode): (error: unknown) => boolean {
  return (error) => {
    if (!hasCode(error, code)) throw error;
    return true;
  };
}

async function oneStore(
  context: TestContext,
): Promise<{ cluster: TestCluster; store: TestStore; leaderAddress: string }> {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const leaderAddress = await cluster.startLeader();
  const store = await cluster.startStore(1, [leaderAddress]);
  cluster.views = [cluster.view(1, { 1: "inSync" })];
  await until("first heartbeat", () => cluster.heartbeats.length > 0);
  await store.leader.request(setGroups, { views: cluster.views }, { timeoutMs });
  return { cluster, store, leaderAddress };
}

test("a registered store writes and reads over the wire", async (context) => {
  const { store } = await oneStore(context);
  await writeTo(store, { generation: 1, chunk }, 1, blocksOf(7, 1, 3), { grant: 1, sequence: 1 });
  assert.deepEqual(await readFrom(store, { generation: 1, chunk }, 5), [undefined, 8, 9, 10, undefined]);
  await assert.rejects(readFrom(store, { generation: 1, chunk: chunk + 1 }, 1), failsWith("unknownChunk"));
  await store.leader.request(deleteChunks, { chunks: [chunk] }, { timeoutMs });
  await assert.rejects(readFrom(store, { generation: 1, chunk }, 1), failsWith("unknownChunk"));
});

test("other generations, unknown groups, foreign chunks, ended sessions and wrong roles are refused", async (context) => {
  const { cluster, store } = await oneStore(context);
  const data = blocksOf(7, 0, 1);
  const version = { grant: 1, sequence: 1 };
  await writeTo(store, { generation: 1, chunk }, 0, data, version);
  await assert.rejects(writeTo(store, { generation: 2, chunk }, 0, data, version), failsWith("wrongGeneration"));
  await assert.rejects(writeTo(store, { generation: 1, chunk: 99 }, 0, data, version), failsWith("invalid"));
  await assert.rejects(
    writeTo(store, { generation: 1, chunk, session: 3 }, 0, data, version),
    failsWith("sessionFenced"),
  );
  await writeTo(store, { generation: 1, chunk, session: 12 }, 0, data, { grant: 2, sequence: 1 });
  await store.leader.request(fenceSession, { session: 12 }, { timeoutMs });
  await assert.rejects(
    writeTo(store, { generation: 1, chunk, session: 12 }, 0, data, { grant: 2, sequence: 2 }),
    failsWith("sessionFenced"),
  );
  await assert.rejects(store.client.request(fenceSession, { session: 1 }, { timeoutMs }), failsWith("refused"));
  await assert.rejects(
    store.client.request(listChunks, { group: testGroup, generation: 1, after: 0, limit: 1 }, { timeoutMs }),
    failsWith("refused"),
  );
  await store.leader.request(setGroups, { views: [cluster.view(4, { 1: "catchingUp" })] }, { timeoutMs });
  await store.leader.request(setGroups, { views: [cluster.view(2, { 1: "inSync" })] }, { timeoutMs });
  await writeTo(store, { generation: 4, chunk }, 0, data, { grant: 3, sequence: 1 });
  await assert.rejects(readFrom(store, { generation: 4, chunk }, 1), failsWith("notServing"));
});

test("a store that is cut off from the leader refuses everything when its lease ends, and serves again afterwards", async (context) => {
  const { cluster, store, leaderAddress } = await oneStore(context);
  await writeTo(store, { generation: 1, chunk }, 0, blocksOf(7, 0, 1), { grant: 1, sequence: 1 });
  await cluster.stopLeader();
  assert.deepEqual(await readFrom(store, { generation: 1, chunk }, 1), [7]);
  await new Promise((resolve) => setTimeout(resolve, cluster.serveMs + 50));
  await assert.rejects(readFrom(store, { generation: 1, chunk }, 1), failsWith("notServing"));
  await cluster.startLeader(leaderAddress);
  const before = cluster.heartbeats.length;
  await until("heartbeat", () => cluster.heartbeats.length > before);
  assert.deepEqual(await readFrom(store, { generation: 1, chunk }, 1), [7]);
  assert.ok(store.lines.some((line) => line.includes("cut off")));
});

test("a store that is being stopped tells the leader, and serves nothing from then on", async (context) => {
  const { cluster, store } = await oneStore(context);
  await writeTo(store, { generation: 1, chunk }, 0, blocksOf(7, 0, 1), { grant: 1, sequence: 1 });
  await store.server.leave();
  assert.equal(cluster.heartbeats.at(-1)?.isLeaving, true, "the leader knows it when it is answered");
  await assert.rejects(readFrom(store, { generation: 1, chunk }, 1), failsWith("notServing"));
  const count = cluster.heartbeats.length;
  await new Promise((resolve) => setTimeout(resolve, cluster.serveMs));
  assert.equal(cluster.heartbeats.length, count);
});

test("a store that is stopped together with its leader does not have the others go on without it", async (context) => {
  const { cluster, store } = await oneStore(context);
  const leaving = store.server.leave();
  await new Promise((resolve) => setTimeout(resolve, 100));
  await cluster.stopLeader();
  await leaving;
  assert.ok(cluster.heartbeats.every(({ isLeaving }) => !isLeaving));
});

test("a store that leaves is not held up by a leader that is gone", async (context) => {
  const { cluster, store } = await oneStore(context);
  await cluster.stopLeader();
  await store.server.leave();
  await store.server.stop();
});

test("a disk that fails is told to the leader, and nothing is served from it", async (context) => {
  const { cluster, store } = await oneStore(context);
  await writeTo(store, { generation: 1, chunk }, 0, blocksOf(7, 0, 1), { grant: 1, sequence: 1 });
  store.disk.failWrites = "EIO";
  const write = writeTo(store, { generation: 1, chunk }, 0, blocksOf(9, 0, 1), { grant: 2, sequence: 1 });
  await assert.rejects(write, failsWith("diskFailed"));
  await until("failure in a heartbeat", () => cluster.heartbeats.some(({ failure }) => failure !== undefined));
  await assert.rejects(readFrom(store, { generation: 1, chunk }, 1), failsWith("diskFailed"));
});

test("a disk that doesn't answer is told to the leader, nothing is served meanwhile, and the store registers when it answers", async (context) => {
  const { cluster, store } = await oneStore(context);
  await writeTo(store, { generation: 1, chunk }, 0, blocksOf(7, 0, 1), { grant: 1, sequence: 1 });
  const hang = Promise.withResolvers<void>();
  store.disk.hang = hang.promise;
  const write = writeTo(store, { generation: 1, chunk }, 0, blocksOf(9, 0, 1), { grant: 2, sequence: 1 });
  write.catch(() => {});
  await until("stall in a heartbeat", () => cluster.heartbeats.some(({ stall }) => stall !== undefined));
  await assert.rejects(readFrom(store, { generation: 1, chunk }, 1), failsWith("notServing"));
  const before = cluster.heartbeats.length;
  await new Promise((resolve) => setTimeout(resolve, 4 * cluster.serveMs));
  assert.equal(cluster.heartbeats.length, before, "it does not register while the disk hangs");
  store.disk.hang = undefined;
  hang.resolve();
  await until("heartbeat", () => cluster.heartbeats.length > before);
  assert.equal(cluster.heartbeats.at(-1)!.stall, undefined);
  await write;
  assert.deepEqual(await readFrom(store, { generation: 1, chunk }, 1), [9]);
});

/** Store 1 in sync; store 2 has the first four chunks and missed the rest, holds an unfinished write and a lost chunk. */
async function twoStores(context: TestContext) {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const leaderAddress = await cluster.startLeader();
  const first = await cluster.startStore(1, [leaderAddress]);
  const second = await cluster.startStore(2, [leaderAddress]);
  await cluster.registeredAll();
  await cluster.setViews(1, { 1: "inSync", 2: "inSync" });
  for (let index = 0; index < 4; index++) {
    for (const store of [first, second]) {
      await writeTo(store, { generation: 1, chunk: chunk + index }, 0, blocksOf(index, 0, 8), {
        grant: 1,
        sequence: 1,
      });
    }
  }
  return { cluster, first, second };
}

async function copiesOf(store: TestStore, generation: number, numbers: number[]) {
  const copies = [];
  for (const number of numbers) {
    copies.push(
      await readFrom(store, { generation, chunk: chunk + number }, 12).catch((error) => {
        if (hasCode(error, "unknownChunk")) return "unknown";
        throw error;
      }),
    );
  }
  return copies;
}

test("catch-up makes a member equal to the source while clients write", async (context) => {
  const { cluster, first, second } = await twoStores(context);
  // Only the second has these: writes of a client that died, a chunk that was deleted without it.
  await writeTo(second, { generation: 1, chunk }, 2, blocksOf(200, 2, 2), { grant: 9, sequence: 9 });
  await writeTo(second, { generation: 1, chunk: chunk + 7 }, 0, blocksOf(200, 0, 2), { grant: 1, sequence: 9 });
  await writeTo(second, { generation: 1, chunk: chunk + 1 }, 10, blocksOf(200, 10, 2), { grant: 9, sequence: 8 });
  await cluster.setViews(2, { 1: "inSync", 2: "behind" });
  await writeTo(first, { generation: 2, chunk: chunk + 1 }, 0, blocksOf(50, 0, 3), { grant: 2, sequence: 1 });
  await writeTo(first, { generation: 2, chunk: chunk + 8 }, 4, blocksOf(60, 4, 3), { grant: 2, sequence: 2 });
  await first.leader.request(deleteChunks, { chunks: [chunk + 2] }, { timeoutMs });
  const clone = { session: 1, group: testGroup, generation: 2, chunk: chunk + 9, source: chunk + 1, blockCount: 2 };
  await first.client.request(cloneChunk, clone, { timeoutMs });
  await first.client.request(cloneChunk, { ...clone, chunk: chunk + 10, blockCount: 0 }, { timeoutMs });
  await cluster.setViews(3, { 1: "inSync", 2: "catchingUp" });
  // Live: on both; on its way to the source; a clone of something that is stale here, and of something unknown here.
  for (const store of [first, second]) {
    await writeTo(store, { generation: 3, chunk: chunk + 3 }, 0, blocksOf(90, 0, 2), { grant: 12, sequence: 1 });
    const live = { ...clone, generation: 3, blockCount: 4 };
    await store.client.request(cloneChunk, { ...live, chunk: chunk + 11, source: chunk }, { timeoutMs });
    await store.client.request(cloneChunk, { ...live, chunk: chunk + 12, source: chunk + 9 }, { timeoutMs });
  }
  const late = { generation: 3, chunk: chunk + 13 };
  await writeTo(second, late, 0, blocksOf(120, 0, 2), { grant: 12, sequence: 2 });
  await writeTo(second, { generation: 3, chunk: chunk + 3 }, 9, blocksOf(121, 9, 1), { grant: 12, sequence: 3 });
  const start = { group: testGroup, generation: 3, source: first.address };
  await second.leader.request(catchUp, start, { timeoutMs });
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.equal(cluster.caughtUp.length, 0, "a chunk is not at the source yet");
  await writeTo(first, late, 0, blocksOf(120, 0, 2), { grant: 12, sequence: 2 });
  await writeTo(first, { generation: 3, chunk: chunk + 3 }, 9, blocksOf(121, 9, 1), { grant: 12, sequence: 3 });
  await until("caught up", () => cluster.caughtUp.length > 0);
  assert.deepEqual(cluster.caughtUp, [{ store: 2, group: testGroup, generation: 3 }]);
  await cluster.setViews(4, { 1: "inSync", 2: "inSync" });
  const numbers = [0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13];
  const [there, here] = [await copiesOf(first, 4, numbers), await copiesOf(second, 4, numbers)];
  assert.deepEqual(here, there);
  assert.deepEqual(here[2], "unknown");
  assert.deepEqual((here[10] as unknown[]).slice(0, 3), [120, 121, undefined]);
});

test("a catch-up on a full disk makes room by what the source doesn't have any more", async (context) => {
  const { cluster, first, second } = await twoStores(context);
  const mebibyte = 1024 * 1024;
  const write = (store: TestStore, number: number, generation: number) =>
    writeTo(store, { generation, chunk: chunk + number }, 0, blocksOf(number, 0, 128), { grant: 2, sequence: 1 });
  for (let number = 50; number < 110; number++) await write(second, number, 1);
  await cluster.setViews(2, { 1: "inSync", 2: "behind" });
  for (let number = 20; number < 40; number++) await write(first, number, 2);
  // Less than its reserve of 64 MiB is left.
  second.disk.totalBytes = second.disk.usedBytes() + 50 * mebibyte;
  await cluster.setViews(3, { 1: "inSync", 2: "catchingUp" });
  await new Promise((resolve) => setTimeout(resolve, 1_100)); // room is asked for once a second
  const body = { group: testGroup, generation: 3, source: first.address };
  await second.leader.request(catchUp, body, { timeoutMs });
  await until("caught up", () => cluster.caughtUp.length > 0);
  assert.ok(second.lines.some((line) => line.includes("catch-up failed") && line.includes("full")));
  await cluster.setViews(4, { 1: "inSync", 2: "inSync" });
  assert.deepEqual((await copiesOf(second, 4, [20, 50]))[1], "unknown");
  assert.deepEqual(await copiesOf(second, 4, [20]), await copiesOf(first, 4, [20]));
});

test("equalize takes back what a dead session left, and leaves what a live one has under way", async (context) => {
  const { first, second } = await twoStores(context);
  await writeTo(second, { generation: 1, chunk, session: 2 }, 0, blocksOf(200, 0, 2), { grant: 5, sequence: 1 });
  await writeTo(first, { generation: 1, chunk, session: 2 }, 4, blocksOf(210, 4, 2), { grant: 5, sequence: 2 });
  await writeTo(second, { generation: 1, chunk: chunk + 1 }, 0, blocksOf(220, 0, 2), { grant: 6, sequence: 1 });
  await writeTo(second, { generation: 1, chunk: chunk + 6, session: 2 }, 0, blocksOf(1, 0, 2), {
    grant: 5,
    sequence: 3,
  });
  for (const store of [first, second]) await store.leader.request(fenceSession, { session: 2 }, { timeoutMs });
  const body = { group: testGroup, generation: 1, source: first.address, chunks: [], all: true };
  const reply = await second.leader.request(equalize, body, { timeoutMs });
  assert.equal(reply.body.copiedBlocks, 4);
  const [there, here] = [await copiesOf(first, 1, [0, 2, 6]), await copiesOf(second, 1, [0, 2, 6])];
  assert.deepEqual(here, there);
  assert.deepEqual((await copiesOf(second, 1, [1]))[0]!.slice(0, 3), [220, 221, 3]);
  const again = await second.leader.request(equalize, { ...body, chunks: [chunk], all: false }, { timeoutMs });
  assert.equal(again.body.copiedBlocks, 0);
});

test("a bad block that is reported is counted, and replaced by the other member's copy", async (context) => {
  const { cluster, first, second } = await twoStores(context);
  spoil(first, 5);
  await assert.rejects(readFrom(first, { generation: 1, chunk }, 8), /wrong checksum/);
  const body = { session: 1, group: testGroup, generation: 1, chunk, firstBlock: 4, blockCount: 4 };
  await first.client.request(reportBad, body, { timeoutMs });
  assert.deepEqual(
    await readFrom(first, { generation: 1, chunk }, 8),
    await readFrom(second, { generation: 1, chunk }, 8),
  );
  await until("told to the leader", () =>
    cluster.heartbeats.some(({ store, badBlocks }) => store === 1 && badBlocks === 1),
  );
});

test("a bad block is repaired as soon as a full disk has room again", async (context) => {
  const { first } = await twoStores(context);
  const { totalBytes } = first.disk;
  first.disk.totalBytes = 1 << 20;
  // Once it has asked its disk it refuses by itself, before the log does.
  for (let sequence = 1, isFull = false; !isFull; sequence++) {
    const version = { grant: 2, sequence };
    const write = writeTo(first, { generation: 1, chunk: chunk + 1 }, 0, blocksOf(9, 0, 1), version);
    await write.catch((error) => {
      isFull = /the disk of store is full/.test(String(error));
    });
  }
  first.disk.totalBytes = totalBytes;
  spoil(first, 5);
  const body = { session: 1, group: testGroup, generation: 1, chunk, firstBlock: 4, blockCount: 4 };
  await first.client.request(reportBad, body, { timeoutMs });
  assert.deepEqual((await readFrom(first, { generation: 1, chunk }, 8)).slice(4, 8), [4, 5, 6, 7]);
});

test("blocks that the disk can't read are written anew from the other member's copy", async (context) => {
  const { cluster, first, second } = await twoStores(context);
  for (const [path, file] of first.disk.files) if (path.endsWith(".segment")) file.size = 4096;
  await assert.rejects(readFrom(first, { generation: 1, chunk }, 8), failsWith("diskFailed"));
  await until("told to the leader", () =>
    cluster.heartbeats.some(({ store, badBlocks }) => store === 1 && badBlocks === 8),
  );
  await until("repaired", () => first.lines.some((line) => line.includes("bad blocks repaired")));
  assert.deepEqual(
    await readFrom(first, { generation: 1, chunk }, 8),
    await readFrom(second, { generation: 1, chunk }, 8),
  );
});

test("a leader whose term is below that of another one is not believed, also after a restart of the store", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const address = await cluster.startLeader("127.0.0.1:0", 5);
  let store = await cluster.startStore(1, [address]);
  await until("a heartbeat", () => cluster.heartbeats.length > 0);
  const replaceLeader = async (term: number) => {
    await cluster.stopLeader();
    cluster.heartbeats.length = 0;
    await cluster.startLeader(address, term);
  };
  const isRefused = () => store.lines.some((line) => /outdated leader is refused/.test(line));
  await replaceLeader(4);
  await until("the refusal", isRefused);
  await store.stop();
  store = await cluster.startStore(1, [address]);
  await until("the refusal after the restart", isRefused);
  assert.equal(cluster.heartbeats.length, 0);
  await replaceLeader(6);
  await until("a heartbeat to the new leader", () => cluster.heartbeats.length > 0);
});

test("a store whose directory was emptied still refuses an old copy of the metadata, whatever its term", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const address = await cluster.startLeader("127.0.0.1:0", 5, { history: 0, beganIndex: 100, startedMs: 5 });
  let store = await cluster.startStore(1, [address]);
  await until("a heartbeat", () => cluster.heartbeats.length > 0);
  await store.stop();
  cluster.emptyStore(1);
  await cluster.stopLeader();
  cluster.heartbeats.length = 0;
  await cluster.startLeader(address, 9, { history: 0, beganIndex: 50, startedMs: 9 });
  store = await cluster.startStore(1, [address]);
  const isRefused = () => store.lines.some((line) => /outdated leader is refused/.test(line));
  await until("the old copy to be refused, or to be believed", () => isRefused() || cluster.heartbeats.length > 0);
  assert.equal(cluster.heartbeats.length, 0);
  // Whom the leader asks says that it knows no later one: the true leader believes itself at its first start.
  const known = await store.leader.request(readKnownLedger, undefined, { timeoutMs });
  assert.deepEqual([known.body.term, known.body.index], [5, 100]);
  await cluster.stopLeader();
  await cluster.startLeader(address, 6, { history: 0, beganIndex: 100, startedMs: 10 });
  await until("a heartbeat to the true leader", () => cluster.heartbeats.length > 0);
});

test("why a leader refuses the store is said once with what to do, though it asks others in between", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const tries = { refused: 0, referred: 0 };
  const listen = async (count: "refused" | "referred", error: BrineError) => {
    const service = new Service().handle(registerStore, () => {
      tries[count]++;
      throw error;
    });
    const platform = realPlatform({ logLevel: "error", logTo: () => {} });
    const identity = () => ({ clusterId, serverId: count, term: 1 });
    const listener = await listenPeers(platform, "127.0.0.1:0", { identity, service });
    context.after(() => listener.close());
    return listener.address;
  };
  const advice = "start it on an empty directory";
  const leaders = [
    await listen("refused", new BrineError("refused", "the store was removed", { advice })),
    await listen("referred", new BrineError("notLeader", "another one leads")),
  ];
  const store = await cluster.startStore(1, leaders);
  await until("some tries", () => tries.refused >= 3 && tries.referred >= 3);
  const told = store.lines.filter((line) => line.includes(" warn ") && line.includes("not registered"));
  assert.equal(told.length, 1, told.join("\n"));
  assert.match(told[0]!, /the store was removed: start it on an empty directory/);
});

test("a store goes to the copy that it was told of when the leader is lost before the next heartbeat", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  Object.assign(cluster, { heartbeatMs: 60_000, serveMs: 60_000 });
  const first = await cluster.startLeader("127.0.0.1:0", 1);
  const store = await cluster.startStore(1, [first]);
  await until("it is registered", () => store.lines.some((line) => line.includes(`registered leader=${first}`)));
  const other = new TestCluster();
  context.after(() => other.stop());
  const second = await other.startLeader("127.0.0.1:0", 2);
  await cluster.registered!.request(leadersChanged, { leaders: [first, second] }, { timeoutMs });
  await cluster.stopLeader();
  await until("it is registered there", () => store.lines.some((line) => line.includes(`registered leader=${second}`)));
});

test("a chunk that is deleted here, and not yet at the source, is not copied from there", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const leader = await cluster.startLeader();
  const [source, target] = [await cluster.startStore(1, [leader]), await cluster.startStore(2, [leader])];
  cluster.views = [cluster.view(1, { 1: "inSync", 2: "inSync" })];
  for (const store of [source, target]) {
    await store.leader.request(setGroups, { views: cluster.views }, { timeoutMs });
    await until("it serves", () => cluster.heartbeats.some((beat) => beat.store === store.number));
    await writeTo(store, { generation: 1, chunk }, 0, blocksOf(1, 0, 2), { grant: 1, sequence: 1 });
  }
  await target.leader.request(deleteChunks, { chunks: [chunk] }, { timeoutMs });
  for (const all of [true, false]) {
    const chunks = all ? [] : [chunk];
    const request = { group: testGroup, generation: 1, source: source.address, chunks, all };
    const { body } = await target.leader.request(equalize, request, { timeoutMs });
    assert.equal(body.copiedBlocks, 0);
  }
  await source.leader.request(deleteChunks, { chunks: [chunk] }, { timeoutMs });
  await assert.rejects(readFrom(target, { generation: 1, chunk }, 2), failsWith("unknownChunk"));
});
