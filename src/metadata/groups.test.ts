import assert from "node:assert/strict";
import { test } from "node:test";
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { GroupView } from "../wire/catalogue/leader.ts";
import { FakePeer } from "./testing/fake-peer.ts";
import { Harness } from "./testing/harness.ts";
import { drain } from "./testing/manual-clock.ts";

async function cluster() {
  const harness = await Harness.start();
  const a = await harness.addStore("a");
  const b = await harness.addStore("b");
  await harness.addVolume("home", 2);
  const client = await harness.mount("one", "home");
  return { harness, a, b, client };
}

/** How often each state occurs for a store, in all groups. */
function statesOf(harness: Harness, store: number): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const group of harness.leader.namespace.groups()) {
    for (const member of group.members) {
      if (member.store === store) counts[member.state] = (counts[member.state] ?? 0) + 1;
    }
  }
  return counts;
}

const noLoss = { loss: "none" as const, lossReason: "" };
const nothingKnown = { labels: [], knownGroups: [] };
const registration = { pid: 7, roles: ["store"], totalBytes: 100, freeBytes: 60, ...noLoss, ...nothingKnown };

function dies(harness: Harness, name: string, peer: FakePeer): void {
  harness.refusing.add(`${name}:1`);
  peer.close("the process has ended");
}

test("a volume has groups of its own, and the stores know them when it is there", async () => {
  const { harness, a } = await cluster();
  assert.equal(harness.leader.namespace.groups().length, 32);
  const told = a.peer.bodies<{ views: GroupView[] }>("store.setGroups").flatMap(({ views }) => views);
  assert.equal(told.length, 32);
  await harness.addVolume("second", 2);
  assert.equal(harness.leader.namespace.groups().length, 64);
  await assert.rejects(harness.addVolume("third", 3), (error) => hasCode(error, "invalid"));
});

test("a volume gets no number of a group that a store knows already", async () => {
  const { harness } = await cluster();
  await harness.registerStore("a", new FakePeer("store"), [1, 2, 700]);
  await harness.addVolume("second", 2);
  const numbers = harness.leader.namespace.groups().map(({ group }) => group);
  assert.deepEqual(
    numbers.slice(32),
    Array.from({ length: 32 }, (_, index) => 701 + index),
  );
});

test("a store whose process has ended leaves its groups at once; the other and the clients are told", async () => {
  const { harness, a, b, client } = await cluster();
  dies(harness, "b", b.peer);
  await harness.clock.advance(0);
  assert.deepEqual(statesOf(harness, b.store), { behind: 32 });
  assert.deepEqual(statesOf(harness, a.store), { inSync: 32 });
  const told = a.peer.bodies<{ views: GroupView[] }>("store.setGroups").at(-1)!.views;
  assert.ok(told.every((view) => view.generation === 2));
  const [news] = client.peer.bodies<{ views: GroupView[] }>("client.groupsChanged");
  assert.equal(news!.views.length, 32);
  const { problems, servers } = harness.parts.admin.status();
  assert.ok(problems.some((problem) => problem.startsWith("Store 2 (b:1) is offline since ")));
  assert.equal(servers.find((server) => server.store === b.store)!.state, "offline");
});

test("a silent store leaves its groups only when its serving time has surely run out", async () => {
  const { harness, a, b, client } = await cluster();
  b.peer.close("cable cut");
  const alive = { stores: [a], sessions: [client] };
  await harness.pass(3_200, alive);
  assert.deepEqual(statesOf(harness, b.store), { inSync: 32 });
  await harness.pass(300, alive);
  assert.deepEqual(statesOf(harness, b.store), { behind: 32 });
});

test("the last in-sync member stays, and comes back as it was", async () => {
  const { harness, a, b } = await cluster();
  dies(harness, "b", b.peer);
  await harness.clock.advance(0);
  dies(harness, "a", a.peer);
  await harness.clock.advance(10_000);
  assert.deepEqual(statesOf(harness, a.store), { inSync: 32 });
  await harness.registerStore("a", new FakePeer("store"));
  assert.deepEqual(statesOf(harness, a.store), { inSync: 32 });
});

test("a store that comes back catches up, group by group, and is in sync when it says so for the present generation", async () => {
  const { harness, a, b } = await cluster();
  dies(harness, "b", b.peer);
  await harness.clock.advance(0);
  const back = new FakePeer("store");
  await harness.registerStore("b", back);
  assert.deepEqual(statesOf(harness, b.store), { catchingUp: 32 });
  const begun = back.bodies<{ group: number; generation: number; source: string }>("store.catchUp");
  assert.equal(begun.length, 32);
  assert.ok(begun.every(({ source, generation }) => source === "a:1" && generation === 3));
  // The source knew the generation before any catch-up began.
  const told = a.peer.bodies<{ views: GroupView[] }>("store.setGroups").at(-1)!.views;
  assert.ok(told.every((view) => view.generation === 3));
  harness.parts.groups.caughtUp(b.store, begun[0]!.group, 2);
  harness.parts.groups.caughtUp(b.store, begun[1]!.group, 3);
  await drain();
  assert.deepEqual(statesOf(harness, b.store), { catchingUp: 31, inSync: 1 });
});

test("a store with several to copy from catches up from all of them alike", async () => {
  const harness = await Harness.start();
  for (const name of ["a", "b"]) await harness.addStore(name);
  const c = await harness.addStore("c");
  await harness.addVolume("home", 3);
  await harness.mount("one", "home");
  dies(harness, "c", c.peer);
  await harness.clock.advance(0);
  const back = new FakePeer("store");
  await harness.registerStore("c", back);
  const begun = back.bodies<{ source: string }>("store.catchUp");
  for (const address of ["a:1", "b:1"]) assert.equal(begun.filter(({ source }) => source === address).length, 16);
});

test("a catching-up store that missed a write begins again, a generation further", async () => {
  const { harness, b, client, a } = await cluster();
  dies(harness, "b", b.peer);
  await harness.clock.advance(0);
  const back = { store: b.store, peer: new FakePeer("store") };
  await harness.registerStore("b", back.peer);
  const reported = harness.parts.reports.check(b.store, "timed out", client.session.id);
  await drain();
  assert.equal(await reported, true);
  assert.deepEqual(statesOf(harness, b.store), { behind: 32 });
  // What it says of the generation before counts no more.
  for (const group of harness.leader.namespace.groups()) harness.parts.groups.caughtUp(b.store, group.group, 3);
  await drain();
  assert.deepEqual(statesOf(harness, b.store), { behind: 32 });
  await harness.pass(5_500, { stores: [a, back], sessions: [client] });
  assert.deepEqual(statesOf(harness, b.store), { catchingUp: 32 });
});

test("a member that does not take its new groups is cut off, and leaves them when it is still", async () => {
  const harness = await Harness.start();
  const [a, b, c] = [await harness.addStore("a"), await harness.addStore("b"), await harness.addStore("c")];
  await harness.addVolume("home", 3);
  const client = await harness.mount("one", "home");
  b.peer.answer = () => new Promise(() => {});
  dies(harness, "c", c.peer);
  await harness.clock.advance(0);
  assert.deepEqual(statesOf(harness, c.store), { behind: 32 });
  b.peer.close("as a request that times out does");
  await harness.pass(3_600, { stores: [a], sessions: [client] });
  assert.deepEqual(statesOf(harness, b.store), { behind: 32 });
  assert.deepEqual(statesOf(harness, a.store), { inSync: 32 });
});

test("a leader that was held up takes no store for dead whose heartbeat it is about to read", async () => {
  const harness = await Harness.start();
  const [a, b, c] = [await harness.addStore("a"), await harness.addStore("b"), await harness.addStore("c")];
  await harness.addVolume("home", 3);
  const client = await harness.mount("one", "home");
  await harness.pass(1_000, { stores: [a, b, c], sessions: [client] });
  // The end of a connection is noticed before the timers run.
  await harness.clock.holdUp(3_500, () => dies(harness, "c", c.peer));
  for (const { store, peer } of [a, b]) harness.beat(store, peer);
  await harness.pass(1_000, { stores: [a, b], sessions: [client] });
  for (const { store } of [a, b]) assert.deepEqual(statesOf(harness, store), { inSync: 32 });
  assert.deepEqual(statesOf(harness, c.store), { behind: 32 });
});

test("a report is answered at once for a store that answers, and removes one that is gone", async () => {
  const { harness, b, client } = await cluster();
  const { reports } = harness.parts;
  assert.equal(await reports.check(b.store, "reset", client.session.id), false);
  dies(harness, "b", b.peer);
  assert.equal(await reports.check(b.store, "refused", client.session.id), true);
  assert.equal(await reports.check(99, "unknown", client.session.id), true);
});

test("a store that says that its disk has failed leaves its groups, and does not come back by itself", async () => {
  const { harness, a, b, client } = await cluster();
  harness.beat(b.store, b.peer, { failure: "EIO" });
  await drain();
  assert.deepEqual(statesOf(harness, b.store), { behind: 32 });
  const again = new FakePeer("store");
  await harness.parts.stores.register({ ...registration, serverId: "b", address: "b:1" }, again, () => undefined);
  await harness.pass(1_000, { stores: [a], sessions: [client] });
  assert.deepEqual(statesOf(harness, b.store), { behind: 32 });
  assert.ok(harness.parts.admin.status().problems.some((problem) => problem.includes("failed disk (EIO)")));
});

test("a store that had no file descriptor left isn't told to replace its disk", async () => {
  const { harness, b } = await cluster();
  harness.beat(b.store, b.peer, { failure: "open /srv/brine/store/segments: EMFILE" });
  const { problems } = harness.parts.admin.status();
  assert.ok(
    problems.some((problem) => /Raise its limit .* start its server again/.test(problem)),
    problems.join(),
  );
});

test("a store whose disk doesn't answer leaves its groups at once, and comes back when it registers", async () => {
  const { harness, a, b, client } = await cluster();
  harness.beat(b.store, b.peer, { stall: "no answer for 2.1 s" });
  await drain();
  assert.deepEqual(statesOf(harness, b.store), { behind: 32 });
  assert.ok(harness.parts.admin.status().problems.some((problem) => problem.includes("no answer for 2.1 s")));
  const again = new FakePeer("store");
  await harness.parts.stores.register({ ...registration, serverId: "b", address: "b:1" }, again, () => undefined);
  harness.beat(b.store, again);
  await harness.pass(1_000, { stores: [a, { ...b, peer: again }], sessions: [client] });
  assert.equal(statesOf(harness, b.store).behind, undefined, "it catches up");
});

test("a store that says that it is being stopped leaves its groups in the same moment, and comes back when it registers", async () => {
  const { harness, a, b, client } = await cluster();
  harness.beat(b.store, b.peer, { isLeaving: true });
  await drain();
  assert.deepEqual(statesOf(harness, b.store), { behind: 32 });
  assert.deepEqual(statesOf(harness, a.store), { inSync: 32 }, "the last copy in sync stays");
  assert.ok(harness.parts.admin.status().problems.some((problem) => /was stopped.*one copy less/.test(problem)));
  const again = new FakePeer("store");
  await harness.parts.stores.register({ ...registration, serverId: "b", address: "b:1" }, again, () => undefined);
  harness.beat(b.store, again);
  await harness.pass(1_000, { stores: [a, { ...b, peer: again }], sessions: [client] });
  assert.equal(statesOf(harness, b.store).behind, undefined, "it catches up");
});

test("while nothing is mounted, a cluster that is being stopped stays in sync", async () => {
  const harness = await Harness.start();
  await harness.addStore("a");
  const b = await harness.addStore("b");
  await harness.addVolume("home", 2);
  dies(harness, "b", b.peer);
  await harness.clock.advance(1_500);
  assert.deepEqual(statesOf(harness, b.store), { inSync: 32 });
  await harness.clock.advance(1_500);
  assert.deepEqual(statesOf(harness, b.store), { behind: 32 });
});

test("after a start of the leader, stores have time to start too", async () => {
  const { harness } = await cluster();
  await harness.restart();
  harness.refusing.add("b:1");
  const a = { store: 1, peer: new FakePeer("store") };
  await harness.registerStore("a", a.peer);
  await harness.pass(4_500, { stores: [a] });
  assert.deepEqual(statesOf(harness, 2), { inSync: 32 });
  await harness.pass(1_000, { stores: [a] });
  assert.deepEqual(statesOf(harness, 2), { behind: 32 });
});

test("a store that has lost data leaves the groups in which others know better, and is refused where nobody does", async () => {
  const { harness, a, b, client } = await cluster();
  const lost = { ...registration, loss: "certain" as const, lossReason: "the index is damaged" };
  const again = new FakePeer("store");
  const told = harness.parts.stores.register(
    { ...lost, serverId: "b", address: "b:1" },
    again,
    (_, settled) => settled,
  );
  await harness.pass(1_000, { stores: [a], sessions: [client] });
  assert.equal(await told, true);
  assert.notEqual(statesOf(harness, b.store).inSync, 32);
  const alone = harness.parts.stores.register(
    { ...lost, serverId: "a", address: "a:1" },
    new FakePeer("store"),
    (_, settled) => settled,
  );
  await assert.rejects(alone, { code: "refused", message: /the index is damaged.*only copy/ });
  assert.ok(harness.parts.admin.status().problems.some((problem) => problem.includes("--accept-loss")));
  const accepted = { ...lost, loss: "accepted" as const, serverId: "a", address: "a:1" };
  assert.equal(await harness.parts.stores.register(accepted, new FakePeer("store"), (_, settled) => settled), true);
  assert.deepEqual(statesOf(harness, a.store), { inSync: 32 });
});

const mayHaveLost = { ...registration, loss: "possible" as const, lossReason: "the last commit was not whole" };

function registersWithLoss(harness: Harness, name: string, peer: FakePeer): Promise<boolean> {
  const request = { ...mayHaveLost, serverId: name, address: `${name}:1` };
  return harness.parts.stores.register(request, peer, (_, settled) => settled);
}

/** Generations of all groups when the store was told to leave some, in order. */
function generationsWhenTold(harness: Harness, peer: FakePeer): number[][] {
  const told: number[][] = [];
  peer.answer = (method) => {
    if (method === "store.leaveGroups")
      told.push(harness.leader.namespace.groups().map(({ generation }) => generation));
    return {};
  };
  return told;
}

test("a store that may have lost data serves until another is there that knows better, and has stopped before it leaves", async () => {
  const { harness, a, b, client } = await cluster();
  a.peer.close("its process has ended");
  b.peer.close("cable cut");
  const again = { store: a.store, peer: new FakePeer("store") };
  const told = generationsWhenTold(harness, again.peer);
  assert.equal(await registersWithLoss(harness, "a", again.peer), false);
  await harness.pass(500, { stores: [again], sessions: [client] });
  assert.deepEqual([statesOf(harness, a.store), told], [{ inSync: 32 }, []]);
  await harness.registerStore("b", new FakePeer("store"));
  await drain();
  assert.deepEqual(told, [harness.leader.namespace.groups().map(() => 1)]);
  assert.deepEqual([statesOf(harness, a.store), statesOf(harness, b.store)], [{ catchingUp: 32 }, { inSync: 32 }]);
});

test("a store that may have lost data, and does not say that it has stopped, is cut off and leaves when its time is over", async () => {
  const { harness, a, b, client } = await cluster();
  a.peer.close("its process has ended");
  b.peer.close("cable cut");
  const again = { store: a.store, peer: new FakePeer("store") };
  await registersWithLoss(harness, "a", again.peer);
  again.peer.answer = (method) =>
    method === "store.leaveGroups" ? Promise.reject(new BrineError("timedOut", "no answer")) : {};
  harness.beat(again.store, again.peer);
  const back = { store: b.store, peer: new FakePeer("store") };
  await harness.registerStore("b", back.peer);
  await harness.pass(3_200, { stores: [back], sessions: [client] });
  assert.ok(again.peer.closed);
  assert.deepEqual(statesOf(harness, a.store), { inSync: 32 });
  await harness.pass(300, { stores: [back], sessions: [client] });
  assert.deepEqual(statesOf(harness, a.store), { behind: 32 });
});

test("a store that has lost its connection and registers with a loss is told to stop on the new one", async () => {
  const { harness, a, b, client } = await cluster();
  a.peer.close("cable cut");
  const again = new FakePeer("store");
  const told = generationsWhenTold(harness, again);
  const registered = registersWithLoss(harness, "a", again);
  await harness.pass(500, { stores: [b], sessions: [client] });
  assert.equal(await registered, true);
  assert.deepEqual(told, [harness.leader.namespace.groups().map(() => 1)]);
  assert.deepEqual([statesOf(harness, a.store), statesOf(harness, b.store)], [{ catchingUp: 32 }, { inSync: 32 }]);
});

test("a store that registers with a loss and does not say that it has stopped is not taken in", async () => {
  const { harness, a, b, client } = await cluster();
  a.peer.close("cable cut");
  const again = new FakePeer("store", () => Promise.reject(new BrineError("timedOut", "no answer")));
  const refused = assert.rejects(registersWithLoss(harness, "a", again), (error) => hasCode(error, "closed"));
  await harness.pass(1_500, { stores: [b], sessions: [client] });
  await refused;
  assert.deepEqual(statesOf(harness, a.store), { inSync: 32 });
  await harness.pass(2_000, { stores: [b], sessions: [client] });
  assert.deepEqual(statesOf(harness, a.store), { behind: 32 });
});

/** One that registers with a loss has been told to stop, and will have when the function returned is called. */
async function stopping(harness: Harness, a: { peer: FakePeer }) {
  a.peer.close("cable cut");
  const peer = new FakePeer("store");
  const answers: (() => void)[] = [];
  peer.answer = (method) => (method === "store.leaveGroups" ? new Promise<void>((stop) => answers.push(stop)) : {});
  const registered = registersWithLoss(harness, "a", peer);
  await drain();
  assert.equal(answers.length, 1);
  return { peer, registered, stop: () => answers[0]!() };
}

test("a store that has stopped for another that is dead by then goes on", async () => {
  const { harness, a, b } = await cluster();
  const { peer, registered, stop } = await stopping(harness, a);
  dies(harness, "b", b.peer);
  await harness.clock.advance(0);
  stop();
  await harness.clock.advance(1_000);
  assert.equal(await registered, true);
  assert.deepEqual([statesOf(harness, a.store), statesOf(harness, b.store)], [{ inSync: 32 }, { behind: 32 }]);
  assert.equal(peer.closed, false);
});

test("a store that has stopped for another that is silent by then has to register again, in order to go on", async () => {
  const { harness, a, b } = await cluster();
  const { peer, registered, stop } = await stopping(harness, a);
  b.peer.close("cable cut");
  stop();
  await harness.clock.advance(1_000);
  assert.equal(await registered, false);
  await drain();
  assert.deepEqual(statesOf(harness, a.store), { inSync: 32 });
  assert.ok(harness.leader.namespace.groups().every(({ generation }) => generation === 1));
  assert.ok(peer.closed);
});

test("a store whose disk is much slower than the others' is called slow until it no longer is", async () => {
  const { harness, a, b } = await cluster();
  const beat = ({ store, peer }: typeof a, diskLatencyMs: number | undefined) =>
    harness.beat(store, peer, { diskLatencyMs });
  const slow = () => harness.parts.admin.status().servers.flatMap(({ store, isSlow }) => (isSlow ? [store] : []));
  beat(a, 3);
  beat(b, 250);
  assert.deepEqual(slow(), [b.store]);
  assert.ok(harness.parts.admin.status().problems.some((problem) => /is slow: .* 250 ms/.test(problem)));
  beat(a, 240);
  assert.deepEqual(slow(), []);
  beat(a, 3);
  beat(b, undefined);
  assert.deepEqual(slow(), []);
});
