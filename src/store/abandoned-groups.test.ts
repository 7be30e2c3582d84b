/** A store gives up what it has of a group that goes on without it, if the leader says so, and only then. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
import { chunkNumbersPerGroup } from "../namespace/model.ts";
import { sleep } from "../platform/clock.ts";
import { realPlatform } from "../platform/real.ts";
import { leaveGroups, setGroups } from "../wire/catalogue/store.ts";
import { readFrom, TestCluster, type TestStore, testGroup, timeoutMs, writeTo } from "./testing/cluster.ts";

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
  const store = await startedStore(cluster);
  const views = [cluster.view(2, { 2: "inSync" })];
  await store.leader.request(setGroups, { views }, { timeoutMs });
  await waitFor(() => store.lines.some((line) => line.includes("a group is elsewhere now")));
  await store.leader.request(setGroups, { views: [cluster.view(3, { 1: "inSync" })] }, { timeoutMs });
  assert.equal(await isThere(store, 3), false);
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
