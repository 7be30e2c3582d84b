/** A store gives up what it has of a group that goes on without it, if the leader says so, and only then. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
import { chunkNumbersPerGroup } from "../namespace/model.ts";
import { sleep } from "../platform/clock.ts";
import { realPlatform } from "../platform/real.ts";
import { catchUp, leaveGroups, setGroups } from "../wire/catalogue/store.ts";
import {
  readFrom,
  spoil,
  TestCluster,
  type TestStore,
  testGroup,
  timeoutMs,
  until,
  writeTo,
} from "./testing/cluster.ts";

const chunk = testGroup * chunkNumbersPerGroup + 7;
const block = Buffer.alloc(4096, 5);
const { clock } = realPlatform({ logLevel: "error", logTo: () => {} });

async function startedStore(cluster: TestCluster, leader?: string): Promise<TestStore> {
  leader ??= await cluster.startLeader();
  const store = await cluster.startStore(1, [leader]);
  cluster.views = [cluster.view(1, { 1: "inSync", 2: "inSync" })];
  await store.stop();
  const again = await cluster.startStore(1, [leader]);
  await waitFor(() => again.lines.some((line) => line.includes("registered")));
  await writeTo(again, { generation: 1, chunk }, 0, block, { grant: 1, sequence: 1 });
  return again;
}

async function waitFor(condition: () => boolean): Promise<void> {
  for (let tries = 0; !condition(); tries++) {
    assert.ok(tries < 500, "it takes too long");
    await sleep(clock, 10);
  }
}

async function isThere(store: TestStore, generation: number): Promise<boolean> {
  try {
    return (await readFrom(store, { generation, chunk }, 1))[0] === 5;
  } catch (error) {
    assert.ok(hasCode(error, "unknownChunk"), String(error));
    return false;
  }
}

test("a later generation without the store: its chunks go", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const leader = await cluster.startLeader();
  const store = await startedStore(cluster, leader);
  await cluster.startStore(2, [leader]);
  await cluster.registeredAll();
  await cluster.setViews(2, { 2: "inSync" });
  await waitFor(() => store.lines.some((line) => line.includes("its chunks were given up")));
  await store.leader.request(setGroups, { views: [cluster.view(3, { 1: "inSync" })] }, { timeoutMs });
  assert.equal(await isThere(store, 3), false);
});

test("what a member has bad is mended first, once the group is whole; a newer version isn't touched", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const leader = await cluster.startLeader();
  const store = await startedStore(cluster, leader);
  const [second, third] = [await cluster.startStore(2, [leader]), await cluster.startStore(3, [leader])];
  await cluster.registeredAll();
  await cluster.setViews(2, { 1: "inSync", 2: "inSync" });
  for (const fill of [6, 7]) {
    for (const one of [store, second]) {
      await writeTo(one, { generation: 2, chunk }, fill - 5, Buffer.alloc(4096, fill), { grant: 1, sequence: fill });
    }
  }
  await writeTo(second, { generation: 2, chunk }, 0, block, { grant: 1, sequence: 1 });
  // The first one is away; the second one has a newer block 2, and can't read it, nor block 1.
  await cluster.setViews(3, { 2: "inSync", 3: "catchingUp" });
  await writeTo(second, { generation: 3, chunk }, 2, Buffer.alloc(4096, 8), { grant: 1, sequence: 8 });
  for (const fill of [6, 8]) spoil(second, fill);
  await waitFor(() => store.lines.some((line) => line.includes("its chunks are kept until it is whole")));
  await third.leader.request(catchUp, { group: testGroup, generation: 3, source: second.address }, { timeoutMs });
  await until("caught up", () => cluster.caughtUp.length > 0);

  // The first one has heard only of the generation before.
  const views = [cluster.view(4, { 2: "inSync", 3: "inSync" })];
  for (const { leader } of [second, third]) await leader.request(setGroups, { views }, { timeoutMs });
  await store.leader.request(setGroups, { views: [cluster.view(3, { 2: "inSync", 3: "catchingUp" })] }, { timeoutMs });
  await waitFor(() => store.lines.some((line) => line.includes("its chunks were given up")));
  for (const one of [second, third]) {
    assert.deepEqual(await readFrom(one, { generation: 4, chunk }, 2), [5, 6]);
    await assert.rejects(readFrom(one, { generation: 4, chunk }, 3), /block 2 has a wrong checksum/);
  }
});

test("the same or an older generation without the store, or no word of the group: nothing goes", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const store = await startedStore(cluster);
  for (const generation of [0, 1]) {
    const views = [cluster.view(generation, { 2: "inSync" })];
    await store.leader.request(setGroups, { views }, { timeoutMs });
  }
  await store.leader.request(setGroups, { views: [] }, { timeoutMs });
  await sleep(clock, 50);
  assert.equal(await isThere(store, 1), true);
});

test("a store that leaves a group serves it no more in that generation, and again in the next", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const store = await startedStore(cluster);
  await store.leader.request(leaveGroups, { groups: [{ group: testGroup, generation: 1 }] }, { timeoutMs });
  await assert.rejects(readFrom(store, { generation: 1, chunk }, 1), (error) => hasCode(error, "wrongGeneration"));
  const write = writeTo(store, { generation: 1, chunk }, 0, block, { grant: 1, sequence: 2 });
  await assert.rejects(write, (error) => hasCode(error, "wrongGeneration"));
  await store.leader.request(setGroups, { views: [cluster.view(2, { 1: "inSync" })] }, { timeoutMs });
  assert.equal(await isThere(store, 2), true);
});

test("what was left stays left if the groups of a new registration can't be taken", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  cluster.serveMs = timeoutMs;
  const store = await startedStore(cluster);
  const other = { ...cluster.view(1, { 1: "behind", 2: "inSync" }), group: testGroup + 1 };
  await store.leader.request(setGroups, { views: [other] }, { timeoutMs });
  await store.leader.request(leaveGroups, { groups: [{ group: testGroup, generation: 1 }] }, { timeoutMs });
  // As after a restore of the metadata: the store refuses this.
  const restored = { ...other, ...cluster.view(2 ** 20 + 1, { 1: "inSync", 2: "inSync" }), group: testGroup + 1 };
  cluster.views = [cluster.view(1, { 1: "inSync", 2: "inSync" }), restored];
  cluster.registered!.close("another connection");
  await waitFor(() => store.lines.some((line) => line.includes("not registered")));
  await assert.rejects(readFrom(store, { generation: 1, chunk }, 1), (error) => hasCode(error, "wrongGeneration"));
});

test("restored metadata: a copy that it doesn't know of is kept, and one that it wrongly calls in sync is not served", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const leader = await cluster.startLeader();
  await startedStore(cluster, leader);
  const restart = async (generation: number, members: Parameters<TestCluster["view"]>[1]) => {
    const running = cluster.stores.get(1)!;
    cluster.views = [cluster.view(generation, members)];
    await running.stop();
    return cluster.startStore(1, [leader]);
  };
  const kept = await restart(1 + 2 ** 20, { 2: "inSync" });
  await waitFor(() => kept.lines.some((line) => line.includes("they are kept")));
  const back = await restart(2 + 2 ** 20, { 1: "behind", 2: "inSync" });
  await waitFor(() => back.lines.some((line) => line.includes("registered")));
  const wrong = await restart(2 ** 21 + 2, { 1: "inSync", 2: "inSync" });
  await waitFor(() => cluster.losses.some(({ loss }) => loss === "certain"));
  assert.ok(wrong.lines.every((line) => !line.includes("info  store: registered")));
});

test("restored metadata: a store with another number keeps what it has of groups that name it by its old one", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const leader = await cluster.startLeader();
  await startedStore(cluster, leader);
  const other = await cluster.startStore(2, [leader]);
  const restart = async (generation: number, members: Parameters<TestCluster["view"]>[1]) => {
    await cluster.stores.get(1)!.stop();
    cluster.views = [cluster.view(generation, members)];
    const store = await cluster.startStore(1, [leader]);
    await waitFor(() => store.lines.some((line) => line.includes("registered")));
    return store;
  };
  // It was number 1, by which it knows itself as a member, and has the number 9 since the restore.
  const store = cluster.stores.get(1)!;
  await store.leader.request(setGroups, { views: [cluster.view(2, { 1: "inSync", 2: "inSync" })] }, { timeoutMs });
  cluster.numbers.set("1", 9);
  const renumbered = await restart(2 + 2 ** 20, { 2: "inSync" });
  await other.leader.request(setGroups, { views: cluster.views }, { timeoutMs });
  await waitFor(() => renumbered.lines.some((line) => line.includes("they are kept")));
  await sleep(clock, 200);
  assert.ok(renumbered.lines.every((line) => !line.includes("elsewhere now")));
  cluster.numbers.delete("1");
  assert.equal(await isThere(await restart(3 + 2 ** 20, { 1: "inSync", 2: "inSync" }), 3 + 2 ** 20), true);
});
