/** From whom members that are catching up copy: by turns from all who hold the group, but for slow stores. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { FakePeer } from "./testing/fake-peer.ts";
import { Harness } from "./testing/harness.ts";

/** Three copies of everything on a, b and c; c comes back to all groups. Addresses of the sources of its catch-ups. */
async function sourcesOf(
  prepare: (harness: Harness, names: Record<string, { store: number; peer: FakePeer }>) => unknown,
) {
  const harness = await Harness.start();
  const [a, b, c] = [await harness.addStore("a"), await harness.addStore("b"), await harness.addStore("c")];
  await harness.addVolume("home", 3);
  const client = await harness.mount("one", "home");
  harness.refusing.add("c:1");
  c.peer.close("the process has ended");
  await harness.pass(200, { stores: [a, b], sessions: [client] });
  await prepare(harness, { a, b });
  const back = await harness.addStore("c");
  await harness.clock.advance(0);
  await harness.parts.groups.settled();
  const begun = back.peer.bodies<{ source: string }>("store.catchUp");
  return [...Map.groupBy(begun, ({ source }) => source)].map(([source, { length }]) => `${source} ${length}`).sort();
}

test("all who hold the groups are sources, by turns", async () => {
  assert.deepEqual(await sourcesOf(() => {}), ["a:1 16", "b:1 16"]);
});

test("a store that is called slow, or measured so, is no source where another is in sync", async () => {
  const called = sourcesOf((harness) => harness.parts.storeChanges.change({ store: "a:1", change: "slow" }));
  assert.deepEqual(await called, ["b:1 32"]);
  const measured = sourcesOf((harness, { a, b }) => {
    harness.beat(a!.store, a!.peer, { diskLatencyMs: 2 });
    harness.beat(b!.store, b!.peer, { diskLatencyMs: 400 });
  });
  assert.deepEqual(await measured, ["a:1 32"]);
});

test("where all that are in sync are slow, they are the sources", async () => {
  const all = sourcesOf(async (harness) => {
    for (const store of ["a:1", "b:1"]) await harness.parts.storeChanges.change({ store, change: "slow" });
  });
  assert.deepEqual(await all, ["a:1 16", "b:1 16"]);
});
