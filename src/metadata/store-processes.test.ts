/** A store that two processes serve, from a data directory and its copy: the second one is let in when the first has ended. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
import { FakePeer } from "./testing/fake-peer.ts";
import { Harness } from "./testing/harness.ts";

const whole = {
  loss: "none" as const,
  lossReason: "",
  labels: [],
  knownGroups: [],
  roles: ["store"],
  totalBytes: 100,
  freeBytes: 60,
};

async function cluster() {
  const harness = await Harness.start();
  const a = await harness.addStore("a");
  const b = await harness.addStore("b");
  await harness.addVolume("home", 2);
  const session = await harness.mount("one", "home");
  const alive = { stores: [a, b], sessions: [session] };
  const register = (address: string, pid: number) =>
    harness.parts.stores.register(
      { ...whole, serverId: "b", address, pid },
      new FakePeer("store"),
      ({ store }) => store,
    );
  const states = () => {
    const members = harness.leader.namespace.groups().flatMap(({ members }) => members);
    return new Set(members.filter(({ store }) => store === b.store).map(({ state }) => state));
  };
  return { harness, b, alive, register, states };
}

const isServed = (error: unknown) => hasCode(error, "notServing") && /served by process 7 at b:1/.test(error.message);

test("a copy of a store's directory is refused while the store serves, whatever its address", async () => {
  const { harness, b, alive, register, states } = await cluster();
  await assert.rejects(register("elsewhere:1", 8), isServed);
  await assert.rejects(register("elsewhere:1", 7), isServed);
  await assert.rejects(register("b:1", 8), isServed);
  const problem = () => harness.parts.admin.status().problems.find((text) => /served, and process/.test(text));
  assert.match(problem() ?? "", /Store 2 \(b:1\) is served, and process 8 at b:1 asks to serve it too/);
  await harness.pass(4_000, alive);
  assert.notEqual(problem(), undefined);
  await harness.pass(6_000, alive);
  assert.equal(problem(), undefined, "it doesn't ask any more");
  assert.equal(b.peer.closed, false);
  assert.equal(harness.leader.namespace.stores().find(({ store }) => store === b.store)!.address, "b:1");
  assert.deepEqual(states(), new Set(["inSync"]));
});

test("of a store that isn't heard of, another process is let in when it can't be serving any more, and is behind then", async () => {
  const { harness, b, alive, register, states } = await cluster();
  b.peer.close("cable cut");
  await harness.pass(3_200, alive);
  await assert.rejects(register("elsewhere:1", 8), isServed);
  await harness.pass(300, alive);
  assert.equal(await register("elsewhere:1", 8), b.store);
  assert.ok(!states().has("inSync"));
});

test("a store that is started again, at its address or another one, is let in at once", async () => {
  const { harness, b, register } = await cluster();
  b.peer.close("its process has ended");
  assert.equal(await register("b:1", 8), b.store);
  harness.parts.stores.get(b.store)!.peer!.close("its process has ended");
  harness.refusing.add("b:1");
  await harness.clock.advance(200);
  assert.equal(await register("elsewhere:1", 9), b.store);
});
