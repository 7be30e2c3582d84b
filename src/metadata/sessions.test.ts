import assert from "node:assert/strict";
import { test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
import { closedByPeer } from "../platform/network.ts";
import { coverGrant } from "./grants.ts";
import { FakePeer } from "./testing/fake-peer.ts";
import { Harness } from "./testing/harness.ts";
import { drain } from "./testing/manual-clock.ts";

async function cluster() {
  const harness = await Harness.start();
  const stores = [await harness.addStore("a"), await harness.addStore("b")];
  await harness.addVolume("home", 2);
  return { harness, stores };
}

test("the same client finds its session again; the newest connection speaks for it", async () => {
  const { harness } = await cluster();
  const client = await harness.mount("one", "home");
  const peer = new FakePeer("client");
  const { sessions } = harness.parts;
  const again = await sessions.open({ clientId: "one", volume: "home", host: "one", user: undefined }, peer);
  assert.equal(again.session, client.session.id);
  assert.ok(client.peer.closed);
  assert.throws(
    () => sessions.of(again.session, client.peer),
    (error) => hasCode(error, "closed"),
  );
  assert.throws(
    () => sessions.of(again.session, peer),
    (error) => hasCode(error, "invalid"),
  );
  const madeUs = harness.clock.nowMs() * 1_000;
  const message = { session: again.session, madeUs, holds: [], leases: [], locks: [], quotas: [] };
  sessions.state({ ...message, first: true, last: false }, peer);
  assert.throws(
    () => sessions.of(again.session, peer),
    (error) => hasCode(error, "invalid"),
  );
  sessions.state({ ...message, first: false, last: true }, peer);
  assert.equal(sessions.of(again.session, peer), client.session);
});

test("a statement that comes late, on a connection that its client has given up, changes nothing", async () => {
  const { harness } = await cluster();
  const client = await harness.mount("one", "home");
  const { sessions, holdings } = harness.parts;
  const state = (peer: FakePeer, madeUs: number, leases: { inode: number; mode: "exclusive"; grant: number }[]) => {
    const all = { first: true, last: true, holds: [], leases, locks: [], quotas: [] };
    sessions.state({ session: client.session.id, madeUs, ...all }, peer);
  };
  const peer = new FakePeer("client", undefined, "one");
  state(peer, 2_000_000, []);
  const { leases } = holdings.of(client.session.volume);
  const grant = await leases.acquire(client.session.id, 77, "exclusive", 0);
  const late = new FakePeer("client", undefined, "one");
  assert.throws(
    () => state(late, 1_000_000, []),
    (error) => hasCode(error, "closed"),
  );
  assert.equal(leases.modeOf(client.session.id, 77, grant), "exclusive");
  assert.equal(sessions.of(client.session.id, peer), client.session);
  assert.ok(!peer.closed);
  state(late, 3_000_000, [{ inode: 77, mode: "exclusive", grant }]);
  assert.ok(peer.closed);
  assert.equal(leases.modeOf(client.session.id, 77, grant), "exclusive");
});

test("clients and stores that are connected learn of a new copy of the ledger at once", async () => {
  const { harness, stores } = await cluster();
  const client = await harness.mount("one", "home");
  harness.changeCopies(["meta:1", "copy:1"]);
  await drain();
  for (const { peer } of [client, ...stores]) {
    assert.deepEqual(peer.bodies("client.leadersChanged"), [{ leaders: ["meta:1", "copy:1"] }]);
  }
});

test("a session is closed by its own client only, on whichever connection", async () => {
  const { harness } = await cluster();
  const client = await harness.mount("one", "home");
  const { sessions } = harness.parts;
  const { id } = client.session;
  const other = new FakePeer("client", () => ({}), "two");
  await assert.rejects(sessions.close(id, other), (error) => hasCode(error, "invalid"));
  assert.equal(client.session.ending, undefined);
  const peer = new FakePeer("client", () => ({}), "one");
  void sessions.close(id, peer);
  assert.equal(client.session.ending, "closed");
  await sessions.close(id + 1, other);
});

test("an unknown volume is named", async () => {
  const { harness } = await cluster();
  await assert.rejects(
    harness.parts.sessions.open({ clientId: "x", volume: "nope", host: "", user: undefined }, new FakePeer("client")),
    (error) => hasCode(error, "notFound") && error.message.includes("nope"),
  );
});

test("a silent client is fenced at every store and its chunks are made equal before others get its leases", async () => {
  const { harness, stores } = await cluster();
  const dead = await harness.mount("dead", "home");
  const live = await harness.mount("live", "home");
  const inode = await dead.create("a");
  const chunk = await dead.write(inode);
  const { id } = dead.session;
  dead.isStubborn = true;
  const order: string[] = [];
  for (const { store, peer } of stores) {
    peer.answer = (method) => {
      order.push(`${method} ${store}`);
      return method === "store.equalize" ? { copiedBlocks: 1 } : {};
    };
  }
  live.acquire(inode, "exclusive").then(() => order.push("granted"));
  await drain();
  await harness.clock.advance(0);
  const recall = { inode, grant: coverGrant, wanted: "exclusive" };
  assert.deepEqual(dead.peer.bodies("client.recallLeases"), [{ leases: [recall], space: false }]);
  await harness.pass(10_500, { stores, sessions: [live] });
  assert.deepEqual(order, []);
  await harness.pass(500, { stores, sessions: [live] });
  assert.deepEqual(order.slice(0, 2).sort(), ["store.fenceSession 1", "store.fenceSession 2"]);
  assert.match(order[2]!, /^store.equalize/);
  assert.equal(order[3], "granted");
  const equalized = stores.flatMap(({ peer }) => peer.bodies<{ chunks: number[]; all: boolean }>("store.equalize"));
  assert.deepEqual(
    equalized.map(({ chunks, all }) => ({ chunks, all })),
    [{ chunks: [chunk], all: false }],
  );
  assert.throws(
    () => harness.parts.sessions.heartbeat(id, dead.peer),
    (error) => hasCode(error, "sessionExpired"),
  );
});

test("chunks are made equal from a store that is not slow", async () => {
  for (const [slow, source] of [
    [0, 1],
    [1, 0],
  ] as const) {
    const { harness, stores } = await cluster();
    await harness.parts.storeChanges.change({ store: String(stores[slow]!.store), change: "slow" });
    const dead = await harness.mount("dead", "home");
    const inode = await dead.create("a");
    await dead.write(inode);
    dead.isStubborn = true;
    for (const { peer } of stores) peer.answer = (method) => (method === "store.equalize" ? { copiedBlocks: 0 } : {});
    await harness.pass(11_000, { stores, sessions: [] });
    const asked = stores.map(({ peer }) =>
      peer.bodies<{ source: string }>("store.equalize").map((body) => body.source),
    );
    const { address } = harness.parts.stores.get(stores[source]!.store)!;
    assert.deepEqual(asked[slow], [address]);
    assert.deepEqual(asked[source], []);
  }
});

test("a store that does not confirm a fencing is cut off, and waited for until it is still", async () => {
  const { harness, stores } = await cluster();
  const dead = await harness.mount("dead", "home");
  const live = await harness.mount("live", "home");
  const inode = await dead.create("a");
  await dead.write(inode);
  dead.isStubborn = true;
  const [, hung] = stores;
  hung!.peer.answer = (method) => (method === "store.fenceSession" ? new Promise(() => {}) : { copiedBlocks: 0 });
  let granted = false;
  live.acquire(inode, "exclusive").then(() => {
    granted = true;
  });
  await harness.pass(10_800, { stores, sessions: [live] });
  assert.ok(!hung!.peer.closed);
  // The store hangs on: its connection ends when its heartbeats stop.
  await harness.pass(3_000, { stores: [stores[0]!], sessions: [live] });
  assert.ok(!granted);
  await harness.pass(1_000, { stores: [stores[0]!], sessions: [live] });
  assert.ok(granted);
  const states = harness.leader.namespace.groups().flatMap((group) => group.members);
  assert.ok(states.every(({ store, state }) => state === (store === hung!.store ? "behind" : "inSync")));
});

test("time in which this process was held up is given to clients and stores", async () => {
  const { harness, stores } = await cluster();
  const client = await harness.mount("one", "home");
  await harness.clock.holdUp(20_000);
  assert.equal(client.session.ending, undefined);
  assert.ok(stores.every(({ store }) => harness.parts.stores.condition(store) === "online"));
  await harness.pass(11_000, { stores });
  assert.equal(harness.parts.sessions.all().length, 0);
});

test("after a restart nothing is granted or reaped before all clients have come back or are gone", async () => {
  const { harness, stores } = await cluster();
  const back = await harness.mount("back", "home");
  const lost = await harness.mount("lost", "home");
  const inode = await back.create("a");
  back.release(back.root);
  const orphan = await lost.create("b");
  await lost.unlink("b");
  const ids = { back: back.session.id, lost: lost.session.id };
  await harness.restart();
  const { sessions } = harness.parts;
  for (const { store, peer } of stores) {
    const again = new FakePeer("store", peer.answer);
    assert.equal(await harness.registerStore(store === 1 ? "a" : "b", again), store);
    Object.assign(stores[store - 1]!, { peer: again });
  }
  back.state(new FakePeer("client"));
  await harness.clock.advance(0);
  assert.ok(back.leases.has(ids.back, inode, "exclusive"));
  assert.ok(sessions.isInGrace(1));
  // It is asked for the grants of space that it may have.
  assert.deepEqual(back.peer.bodies("client.recallLeases"), [{ leases: [], space: true }]);
  let granted = false;
  back.ask(back.root, "shared", 0).then(() => {
    granted = true;
  });
  let ended = false;
  sessions.whenGraceEnds(1).then(() => {
    ended = true;
  });
  await harness.pass(10_400, { stores, sessions: [back] });
  assert.ok(!ended && !granted);
  assert.ok(harness.leader.namespace.inode(1, orphan));
  await harness.pass(2_000, { stores, sessions: [back] });
  assert.ok(ended && granted);
  assert.equal(harness.leader.namespace.inode(1, orphan), undefined);
  assert.deepEqual(
    sessions.all().map((session) => session.id),
    [ids.back],
  );
});

test("a leader waits as long as nobody can reach it: its server's store may take minutes to start", async () => {
  const { harness, stores } = await cluster();
  const client = await harness.mount("client", "home");
  harness.isReachable = false;
  await harness.restart();
  await harness.clock.advance(60_000);
  assert.deepEqual(harness.parts.sessions.liveIds(), [client.session.id]);
  harness.isReachable = true;
  await harness.clock.advance(1_000);
  for (const { store } of stores) assert.equal(harness.parts.stores.condition(store), "silent");
  client.state(new FakePeer("client"));
  await harness.clock.advance(0);
  assert.ok(!harness.parts.sessions.isInGrace(1));
  await harness.clock.advance(10_900);
  assert.equal(harness.parts.sessions.count, 0, "it was not heard of again");
});

test("a client whose process ends is ended at once; one that the network cuts off is not", async () => {
  const { harness, stores } = await cluster();
  const { sessions } = harness.parts;
  const client = await harness.mount("client", "home");
  const other = await harness.mount("other", "home");
  const { id } = client.session;
  const open = (number: number, clientAddress = "client:1") => {
    const peer = new FakePeer("client", () => ({}), "client");
    sessions.lifeline({ session: id, number, clientAddress }, peer);
    return peer;
  };
  const alive = { stores, sessions: [client, other] };
  // Reset, replaced by a later one, overtaken by it, or through something that translates addresses.
  open(1).close("ECONNRESET");
  const replaced = open(2);
  const lasting = open(4);
  replaced.close(closedByPeer);
  open(3).close(closedByPeer);
  await harness.pass(1_000, alive);
  assert.equal(client.session.ending, undefined);
  const forwarded = open(5, "10.0.0.1:1");
  forwarded.close(closedByPeer);
  await harness.pass(1_000, alive);
  assert.equal(client.session.ending, undefined);
  lasting.close(closedByPeer);
  assert.equal(client.session.ending, undefined);
  const inode = await client.create("a");
  const granted = other.ask(inode, "exclusive", 0);
  open(6).close(closedByPeer);
  await harness.clock.advance(10);
  assert.equal(sessions.get(id), undefined);
  assert.equal((await granted).mode, "exclusive");
  assert.throws(
    () => sessions.lifeline({ session: other.session.id, number: 1, clientAddress: "" }, new FakePeer("client")),
    (error) => hasCode(error, "invalid"),
  );
});

test("a closed session ends at once, and closing again is no error", async () => {
  const { harness } = await cluster();
  const client = await harness.mount("one", "home");
  const { id } = client.session;
  await harness.parts.sessions.close(id, client.peer);
  assert.deepEqual(harness.leader.namespace.sessions(), []);
  await harness.parts.sessions.close(id, client.peer);
});
