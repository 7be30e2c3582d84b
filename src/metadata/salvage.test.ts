/** A store that is gone for good with the last good copy of groups is given up. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
import type { LostRange } from "../wire/catalogue/store.ts";
import { FakePeer } from "./testing/fake-peer.ts";
import { type Client, Harness } from "./testing/harness.ts";
import { drain } from "./testing/manual-clock.ts";

type TestStore = Awaited<ReturnType<Harness["addStore"]>>;

async function cluster(...names: readonly string[]) {
  const harness = await Harness.start();
  const stores: TestStore[] = [];
  for (const name of names) stores.push(await harness.addStore(name));
  await harness.addVolume("home", 2);
  return { harness, stores, client: await harness.mount("one", "home") };
}

/** Its process ends; time passes for the others. */
async function kill(harness: Harness, name: string, store: TestStore, alive: TestStore[], client: Client) {
  harness.refusing.add(`${name}:1`);
  store.peer.close("the process has ended");
  await harness.pass(200, { stores: alive, sessions: [client] });
}

function statesOf(harness: Harness): string[] {
  const groups = harness.leader.namespace.groups();
  return [
    ...new Set(
      groups.map(({ members }) =>
        members
          .map(({ store, state }) => `${store} ${state}`)
          .sort()
          .join(),
      ),
    ),
  ];
}

async function settled(harness: Harness): Promise<void> {
  await harness.clock.advance(0);
  await drain();
  await harness.parts.groups.settled();
}

test("the copy that was in sync last goes on, when its store knows what is lost; the old store is refused for good", async () => {
  const { harness, stores, client } = await cluster("a", "b");
  const [a, b] = stores as [TestStore, TestStore];
  const { storeChanges } = harness.parts;
  const chunk = await client.write(await client.create("file"));
  await kill(harness, "b", b, [a], client);
  await kill(harness, "a", a, [], client);
  assert.deepEqual(statesOf(harness), ["1 inSync,2 behind"]);
  const again = new FakePeer("store", (method) => (method === "store.lose" ? new Promise(() => {}) : {}));
  await harness.registerStore("b", again);
  await assert.rejects(storeChanges.change({ store: "2", change: "giveUp" }), (error) => hasCode(error, "refused"));
  await assert.rejects(storeChanges.change({ store: "1", change: "remove" }), /last good copy of 32 groups/);

  const given = await storeChanges.change({ store: "1", change: "giveUp" });
  assert.deepEqual(given, { store: 1, groups: 32, heirs: [{ store: 2, isOnline: true, groups: 32, empty: 0 }] });
  await settled(harness);
  assert.deepEqual(statesOf(harness), ["2 catchingUp"]);
  const { problems } = harness.parts.admin.status();
  assert.ok(!problems.some((problem) => /Store 1 /.test(problem)), problems.join("\n"));
  const back = harness.registerStore("a", new FakePeer("store"));
  await assert.rejects(back, (error) => hasCode(error, "refused") && /was removed/.test(error.message));

  // Its process dies before it has answered, and the metadata server, too: it is told again.
  again.close("the process has ended");
  await harness.restart();
  const last = new FakePeer("store");
  await harness.registerStore("b", last);
  await settled(harness);
  assert.deepEqual(statesOf(harness), ["2 inSync"]);
  const ranges = last.bodies<{ ranges: LostRange[] }>("store.lose").flatMap((body) => body.ranges);
  assert.deepEqual(ranges, [{ chunk, firstBlock: 0, blockCount: 1 }]);
});

test("an heir that is away is waited for, and can be given up in turn: then a store that has nothing begins anew", async () => {
  const { harness, stores, client } = await cluster("a", "b");
  const [a, b] = stores as [TestStore, TestStore];
  const { storeChanges } = harness.parts;
  await kill(harness, "b", b, [a], client);
  await kill(harness, "a", a, [], client);
  const refused = storeChanges.change({ store: "2", change: "giveUp" });
  assert.deepEqual((await refused).heirs, []); // the other one has everything
  assert.deepEqual(statesOf(harness), ["1 inSync"]);
  await assert.rejects(storeChanges.change({ store: "1", change: "giveUp" }), /no store is online/);
  assert.deepEqual(statesOf(harness), ["1 inSync"]);
  const c = await harness.addStore("c");
  const { heirs } = await storeChanges.change({ store: "1", change: "giveUp" });
  assert.deepEqual(heirs, [{ store: 3, isOnline: true, groups: 32, empty: 32 }]);
  await settled(harness);
  assert.deepEqual(statesOf(harness), ["3 inSync"]);
  assert.equal(c.peer.bodies("store.lose").length, 0);
});

test("the copy of a store that is away goes on rather than an older one, and its groups wait for it", async () => {
  const { harness, stores, client } = await cluster("a", "b", "c");
  const [a, b, c] = stores as [TestStore, TestStore, TestStore];
  const { storeChanges } = harness.parts;
  const ofAll = (await storeChanges.change({ store: "3", change: "add" })).groups;
  assert.ok(ofAll > 0);
  await kill(harness, "c", c, [a, b], client);
  await kill(harness, "b", b, [a], client);
  await kill(harness, "a", a, [], client);
  await storeChanges.change({ store: "1", change: "giveUp" });
  const states = statesOf(harness).sort();
  assert.deepEqual(states, ["2 catchingUp", "2 inSync,3 behind", "3 catchingUp"]);
  const { problems } = harness.parts.admin.status();
  assert.ok(
    problems.some((problem) => /Store 2 .*offline.*last good copy.*brine store remove 2 --accept-loss/.test(problem)),
    problems.join("\n"),
  );
});

test("a session ends while the heir is away: there is nothing to be made equal", async () => {
  const { harness, stores, client } = await cluster("a", "b");
  const [a, b] = stores as [TestStore, TestStore];
  await client.write(await client.create("file"));
  await kill(harness, "b", b, [a], client);
  await kill(harness, "a", a, [], client);
  await harness.parts.storeChanges.change({ store: "1", change: "giveUp" });
  assert.deepEqual(statesOf(harness), ["2 catchingUp"]);
  client.peer.close("its process has ended");
  await harness.pass(15_000);
  assert.equal(harness.parts.sessions.count, 0);
});
