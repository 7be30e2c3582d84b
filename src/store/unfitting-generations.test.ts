import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { GroupView } from "../wire/catalogue/leader.ts";
import { setGroups } from "../wire/catalogue/store.ts";
import { TestCluster, timeoutMs, until } from "./testing/cluster.ts";
import { perhapsSetBack } from "./unfitting-generations.ts";

type State = "inSync" | "catchingUp" | "behind";

function view(generation: number, own: State | undefined): GroupView {
  const members = [
    { store: 1, address: "a:1", state: "inSync" as const },
    ...(own === undefined ? [] : [{ store: 2, address: "b:1", state: own }]),
  ];
  return { group: 7, generation, members } as unknown as GroupView;
}

const isSetBack = (known: GroupView, now: GroupView) => perhapsSetBack(new Map([[7, known]]), [now], 2).length === 1;

test("a store that was in sync two generations ago, and is called so, may have missed that it was away", () => {
  assert.ok(isSetBack(view(5, "inSync"), view(7, "inSync")));
  assert.ok(isSetBack(view(5, "inSync"), view(500, "inSync")));
});

test("what it knows of, what takes one change, what isn't read from it, and a restore are something else", () => {
  assert.ok(!isSetBack(view(5, "inSync"), view(5, "inSync")));
  assert.ok(!isSetBack(view(5, "inSync"), view(6, "inSync")));
  assert.ok(!isSetBack(view(5, "catchingUp"), view(7, "inSync")));
  assert.ok(!isSetBack(view(5, "inSync"), view(7, "behind")));
  assert.ok(!isSetBack(view(5, "inSync"), view(7, undefined)));
  assert.ok(!isSetBack(view(5, "inSync"), view(5 + 2 ** 20, "inSync")));
});

test("such a store says that it may have lost something, once, and then serves what the leader makes of it", async (context) => {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const leader = await cluster.startLeader();
  const store = await cluster.startStore(1, [leader]);
  await until("a heartbeat", () => cluster.heartbeats.length > 0);
  await store.leader.request(setGroups, { views: [cluster.view(1, { 1: "inSync" })] }, { timeoutMs });
  await cluster.stopLeader();
  cluster.views = [cluster.view(3, { 1: "inSync" })];
  cluster.losses.length = 0;
  cluster.heartbeats.length = 0;
  await cluster.startLeader(leader);
  await until("a heartbeat to the next leader", () => cluster.heartbeats.length > 0);
  assert.deepEqual(
    cluster.losses.map(({ loss }) => loss),
    ["none", "possible"],
  );
  assert.equal(store.server.answeredGroups().views[0]?.generation, 3);
});
