/** Copies are made and given up by the leader, step by step, with stores that answer at once. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { GroupView } from "../wire/catalogue/leader.ts";
import { FakePeer } from "./testing/fake-peer.ts";
import { Harness } from "./testing/harness.ts";
import { drain } from "./testing/manual-clock.ts";

const rebuildAfterMs = 60_000;

interface TestStore {
  readonly store: number;
  readonly peer: FakePeer;
}

async function cluster(...names: readonly string[]) {
  const harness = await Harness.start({ rebuildAfterMs });
  const stores: TestStore[] = [];
  for (const name of names) stores.push(await addStore(harness, name));
  await harness.addVolume("home", 2);
  const client = await harness.mount("one", "home");
  return { harness, stores, client };
}

/** It has caught up as soon as it is told to begin. */
async function addStore(harness: Harness, name: string): Promise<TestStore> {
  const store = await harness.addStore(name);
  const { answer } = store.peer;
  store.peer.answer = (method, body: { group: number; generation: number }) => {
    if (method === "store.catchUp") {
      queueMicrotask(() => harness.parts.groups.caughtUp(store.store, body.group, body.generation));
    }
    return answer(method, body as never);
  };
  return store;
}

function loadsOf(harness: Harness): Record<number, number> {
  const loads: Record<number, number> = {};
  for (const group of harness.leader.namespace.groups()) {
    for (const { store, state } of group.members) if (state === "inSync") loads[store] = (loads[store] ?? 0) + 1;
  }
  return loads;
}

async function settled(
  harness: Harness,
  stores: readonly TestStore[],
  sessions: Parameters<Harness["pass"]>[1],
): Promise<void> {
  await harness.pass(2_000, { ...sessions, stores });
  await drain();
  await harness.parts.groups.settled();
}

test("a store that stays away is replaced after a while; back again, it is told that its groups are elsewhere", async () => {
  const { harness, stores, client } = await cluster("a", "b");
  const spare = await addStore(harness, "c");
  const [a, b] = stores as [TestStore, TestStore];
  harness.refusing.add("b:1");
  b.peer.close("the process has ended");
  const seconds = async (count: number) => {
    for (let second = 0; second < count; second++) {
      for (const { store, peer } of [a, spare]) harness.beat(store, peer);
      harness.parts.sessions.heartbeat(client.session.id, client.peer);
      await harness.clock.advance(1_000);
    }
  };
  await seconds(rebuildAfterMs / 1_000 - 5);
  assert.deepEqual(loadsOf(harness), { 1: 32 });
  assert.equal(harness.parts.admin.status().healing?.missing, 32);
  await seconds(20);
  assert.deepEqual(loadsOf(harness), { 1: 32, 3: 32 });
  assert.equal(harness.parts.admin.status().healing, undefined);
  const known = harness.leader.namespace.groups().map(({ group }) => group);
  const views = harness.parts.groups.views(b.store, new Set(known));
  assert.equal(views.length, 32);
  assert.ok(views.every(({ members }) => members.every(({ store }) => store !== b.store)));
});

test("removing a store that is dead has its groups rebuilt at once", async () => {
  const { harness, stores, client } = await cluster("a", "b", "c");
  const [a, b, c] = stores as [TestStore, TestStore, TestStore];
  const { storeChanges } = harness.parts;
  await assert.rejects(storeChanges.change({ store: "3", change: "remove" }), (error) => hasCode(error, "refused"));
  harness.refusing.add("c:1");
  c.peer.close("the process has ended");
  await harness.pass(200, { stores: [a, b], sessions: [client] });
  await storeChanges.change({ store: "3", change: "remove" });
  await settled(harness, [a, b], { sessions: [client] });
  assert.deepEqual(loadsOf(harness), { 1: 32, 2: 32 });
  const back = harness.registerStore("c", new FakePeer("store"));
  await assert.rejects(back, (error) => hasCode(error, "refused") && /was removed/.test(error.message));
});

test("the last good copy is not removed, and a store that can't be done without is not drained", async () => {
  const { harness, stores, client } = await cluster("a", "b");
  const [a, b] = stores as [TestStore, TestStore];
  const { storeChanges } = harness.parts;
  const isRefused = (reason: RegExp) => (error: unknown) => hasCode(error, "refused") && reason.test(error.message);
  await assert.rejects(
    storeChanges.change({ store: "b:1", change: "drain" }),
    isRefused(/2 copies need as many stores/),
  );
  harness.refusing.add("b:1");
  b.peer.close("the process has ended");
  await harness.pass(200, { stores: [a], sessions: [client] });
  harness.refusing.add("a:1");
  a.peer.close("the process has ended");
  await harness.pass(200, { sessions: [client] });
  await assert.rejects(storeChanges.change({ store: "1", change: "remove" }), isRefused(/last good copy of 32 groups/));
  await assert.rejects(storeChanges.change({ store: "9", change: "drain" }), (error) => hasCode(error, "notFound"));
});

test("a draining store serves a group until it is told to stop, before the group goes on without it", async () => {
  const { harness, stores, client } = await cluster("a", "b", "c");
  const drained = stores[2]!;
  const generations = () => harness.leader.namespace.groups().map(({ generation }) => generation);
  const { answer } = drained.peer;
  drained.peer.answer = (method, body: { groups: { group: number; generation: number }[] }) => {
    if (method === "store.leaveGroups") {
      for (const { group, generation } of body.groups) assert.equal(generations()[group - 1], generation);
    }
    return answer(method, body as never);
  };
  const before = drained.peer.bodies("store.leaveGroups").length;
  await harness.parts.storeChanges.change({ store: "3", change: "drain" });
  await settled(harness, stores, { sessions: [client] });
  assert.deepEqual(loadsOf(harness), { 1: 32, 2: 32 });
  assert.ok(drained.peer.bodies("store.leaveGroups").length > before);
  const told = drained.peer.bodies<{ views: GroupView[] }>("store.setGroups").flatMap(({ views }) => views);
  const without = told.filter(({ members }) => members.every(({ store }) => store !== 3));
  assert.ok(without.length >= 21, `${without.length}`);
  assert.deepEqual(await harness.parts.storeChanges.change({ store: "3", change: "remove" }), {
    store: 3,
    groups: 0,
    heirs: [],
  });
});

test("a store that doesn't say that it has stopped is cut off, and its groups stay as they are until then", async () => {
  const { harness, stores, client } = await cluster("a", "b", "c");
  const drained = stores[2]!;
  const groupsOf = () => harness.leader.namespace.groups().filter((group) => hasMember(group.members, 3));
  const before = groupsOf().length;
  const { answer } = drained.peer;
  let left = 0;
  drained.peer.answer = (method, body) => {
    if (method !== "store.leaveGroups") return answer(method, body);
    left = groupsOf().length;
    return Promise.reject(new BrineError("timedOut", "no answer"));
  };
  await harness.parts.storeChanges.change({ store: "3", change: "drain" });
  await harness.pass(400, { stores, sessions: [client] });
  assert.equal(left, before);
  assert.ok(drained.peer.closed, "it is cut off");
  assert.equal(groupsOf().length, before);
});

function hasMember(members: readonly { store: number }[], store: number): boolean {
  return members.some((member) => member.store === store);
}

test("copies come and go at run time: 2, 3, 1", async () => {
  const { harness, stores, client } = await cluster("a", "b", "c");
  for (const replicas of [3, 1]) {
    await harness.parts.admin.setCopies({ name: "home", replicas, inSyncMin: undefined });
    await settled(harness, stores, { sessions: [client] });
    const groups = harness.leader.namespace.groups();
    assert.ok(
      groups.every(({ members }) => members.length === replicas),
      `${replicas}`,
    );
  }
  await assert.rejects(harness.parts.admin.setCopies({ name: "home", replicas: 4, inSyncMin: undefined }), (error) =>
    hasCode(error, "invalid"),
  );
  await assert.rejects(harness.parts.admin.setCopies({ name: "none", replicas: 1, inSyncMin: undefined }), (error) =>
    hasCode(error, "notFound"),
  );
});

test("how few copies in sync take writes: refused beyond what is made, and done when all clients know", async () => {
  const { harness, client } = await cluster("a", "b");
  const { admin, placements } = harness.parts;
  const set = (replicas: number | undefined, inSyncMin: number | undefined) =>
    admin.setCopies({ name: "home", replicas, inSyncMin });
  await assert.rejects(set(undefined, 3), /3 in sync can't be had: there are to be 2 copies/);
  await assert.rejects(set(undefined, 0), (error) => hasCode(error, "invalid"));
  const told = client.peer.bodies("client.placementChanged").length;
  await set(undefined, 2);
  assert.equal(client.peer.bodies("client.placementChanged").length, told + 1);
  assert.ok(placements.read(client.session).groups.every(({ inSyncMin }) => inSyncMin === 2));
  await assert.rejects(set(1, undefined), /2 in sync can't be had: there are to be 1 copies/);
  const rule = { syntax: "glob" as const, pattern: "*", replicas: 1, labels: [] };
  const adding = placements.change({ volume: "home", change: { kind: "add", position: 0, rule } });
  await assert.rejects(adding, /takes writes with 2 copies in sync or more, a rule makes 1/);
  await set(1, 1);
});

test("a store is called slow by hand: clients are told, a restart of the leader changes nothing", async () => {
  const { harness, client } = await cluster("a", "b");
  const slow = () =>
    harness.parts.admin.status().servers.flatMap(({ address, isCalledSlow }) => (isCalledSlow ? [address] : []));
  const told = () => client.peer.bodies("client.placementChanged").length;
  const before = told();
  const { store } = await harness.parts.storeChanges.change({ store: "b:1", change: "slow" });
  assert.equal(told(), before + 1);
  assert.deepEqual(harness.parts.placements.read(client.session).slowStores, [store]);
  await harness.restart();
  assert.deepEqual(slow(), ["b:1"]);
  await harness.parts.storeChanges.change({ store: String(store), change: "notSlow" });
  assert.deepEqual(slow(), []);
  await assert.rejects(harness.parts.storeChanges.change({ store: "9", change: "slow" }), (error) =>
    hasCode(error, "notFound"),
  );
});

test("a client that can't be told of a minimum is waited for until its session has ended", async () => {
  const { harness, stores, client } = await cluster("a", "b");
  client.peer.close("cut off, says the test");
  let done = false;
  const setting = harness.parts.admin.setCopies({ name: "home", replicas: undefined, inSyncMin: 2 }).then(() => {
    done = true;
  });
  await harness.pass(5_000, { stores });
  assert.equal(done, false);
  const waits = harness.leader.waits.list().map(({ what }) => what);
  assert.ok(waits.includes("clients to know a volume's setting"), waits.join());
  await harness.pass(10_000, { stores });
  await setting;
  assert.equal(harness.parts.sessions.count, 0);
});

test("an added store gets its share of the groups", async () => {
  const { harness, stores, client } = await cluster("a", "b");
  const added = await addStore(harness, "c");
  await harness.pass(1_000, { stores: [...stores, added], sessions: [client] });
  assert.deepEqual(loadsOf(harness), { 1: 32, 2: 32 });
  await harness.parts.storeChanges.change({ store: "c:1", change: "add" });
  await settled(harness, [...stores, added], { sessions: [client] });
  const loads = Object.values(loadsOf(harness));
  assert.equal(loads.length, 3);
  assert.ok(Math.max(...loads) - Math.min(...loads) <= 1, `${loads}`);
});

test("a drain that finds no room says so instead of when it ends, and goes on when there is some", async () => {
  const { harness, stores, client } = await cluster("a", "b", "c");
  const [a, b, c] = stores as [TestStore, TestStore, TestStore];
  const say = (freeBytes: number) => {
    for (const { store, peer } of [a, b]) {
      harness.said.set(store, { freeBytes });
      harness.beat(store, peer);
    }
  };
  const status = () => harness.parts.admin.status();
  const problem = () => status().problems.find((text) => text.includes("can't be made"));
  say(60);
  assert.equal(problem(), undefined);
  say(1);
  const { groups } = await harness.parts.storeChanges.change({ store: "3", change: "drain" });
  await settled(harness, stores, { sessions: [client] });
  assert.equal(
    problem(),
    `${groups} copies can't be made: stores 1, 2 have too little room (less than 5 % free), and no other may have them. Add a store, or delete files.`,
  );
  assert.equal(status().healing?.leftMs, undefined);
  assert.ok(loadsOf(harness)[c.store]! > 0);
  say(60);
  harness.parts.groups.look();
  await settled(harness, stores, { sessions: [client] });
  assert.equal(problem(), undefined);
  assert.equal(loadsOf(harness)[c.store], undefined);
});

test("while nothing moves, when the copies are made can't be told", async () => {
  const { harness, stores, client } = await cluster("a", "b", "c");
  const held = new Set<() => void>();
  for (const { store, peer } of stores) {
    const { answer } = peer;
    peer.answer = (method, body) => {
      const { group, generation } = body as { group: number; generation: number };
      if (method !== "store.catchUp") return answer(method, body);
      held.add(() => harness.parts.groups.caughtUp(store, group, generation));
      return {};
    };
  }
  await harness.parts.storeChanges.change({ store: "3", change: "drain" });
  await settled(harness, stores, { sessions: [client] });
  const some = [...held].slice(0, 4);
  for (const finish of some) finish();
  for (const finish of some) held.delete(finish);
  await settled(harness, stores, { sessions: [client] });
  assert.ok(harness.parts.admin.status().healing!.leftMs! > 0);
  await harness.pass(40_000, { sessions: [client], stores });
  assert.equal(harness.parts.admin.status().healing!.leftMs, undefined);
  for (const finish of [...held].slice(0, 2)) finish();
  await settled(harness, stores, { sessions: [client] });
  assert.ok(harness.parts.admin.status().healing!.leftMs! > 0);
});
