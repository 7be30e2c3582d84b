import assert from "node:assert/strict";
import { test } from "node:test";
import { SpaceGuard } from "./space-guard.ts";
import { type Client, Harness } from "./testing/harness.ts";
import { drain } from "./testing/manual-clock.ts";

const mebibyte = 1024 * 1024;

async function cluster(freeBytes: number) {
  const harness = await Harness.start();
  const stores = [await harness.addStore("a"), await harness.addStore("b")];
  await harness.addVolume("home", 2);
  const client = await harness.mount("client", "home");
  const report = (free: number) => {
    for (const { store } of stores) {
      Object.assign(harness.parts.stores.get(store)!, { totalBytes: 100_000 * mebibyte, freeBytes: free });
      harness.parts.spaceGrants.reported(store);
    }
  };
  report(freeBytes);
  const { group } = harness.leader.namespace.groups()[0]!;
  const ask = (bytes: number, asking: Client = client, { used = 0, returned = 0 } = {}): number => {
    const list = (amount: number) => (amount === 0 ? [] : [{ group, bytes: amount }]);
    const request = { used: list(used), returned: list(returned), wanted: list(bytes) };
    return harness.parts.spaceGrants.exchange(asking.session.id, request).granted[0]?.bytes ?? 0;
  };
  return { harness, stores, client, report, ask, group };
}

test("a grant is at most 64 MiB for a session and group, and counts at each member", async () => {
  const { harness, client, ask, group } = await cluster(50_000 * mebibyte);
  assert.equal(ask(10 * mebibyte), 10 * mebibyte);
  assert.equal(ask(100 * mebibyte), 54 * mebibyte);
  assert.equal(ask(mebibyte), 0);
  assert.equal(harness.parts.spaceGrants.of(client.session.id, group), 64 * mebibyte);
  assert.equal(ask(20 * mebibyte, client, { returned: 30 * mebibyte }), 20 * mebibyte);
  assert.equal(ask(0, client, { returned: 64 * mebibyte }), 0);
  assert.equal(harness.parts.spaceGrants.of(client.session.id, group), 0);
});

test("grants shrink as space falls, and there are none at the reserve", async () => {
  const { ask, client, report } = await cluster(64 * mebibyte + 80 * mebibyte);
  const granted = ask(100 * mebibyte);
  assert.equal(granted, 10 * mebibyte);
  report(64 * mebibyte + 8 * mebibyte);
  assert.equal(ask(100 * mebibyte, client, { returned: granted }), mebibyte);
  report(64 * mebibyte);
  assert.equal(ask(100 * mebibyte), 0);
});

test("what one session has another can't get", async () => {
  const { harness, ask } = await cluster(64 * mebibyte + 80 * mebibyte);
  const other = await harness.mount("other", "home");
  assert.equal(ask(100 * mebibyte), 10 * mebibyte);
  assert.equal(ask(100 * mebibyte, other), Math.floor((70 * mebibyte) / 8));
});

test("what was written counts until the store's next report but one", async () => {
  const { ask, client, report } = await cluster(64 * mebibyte + 80 * mebibyte);
  ask(10 * mebibyte);
  // Used, but the stores' last report is older.
  assert.equal(ask(100 * mebibyte, client, { used: 10 * mebibyte }), Math.floor((70 * mebibyte) / 8));
  ask(0, client, { returned: 100 * mebibyte });
  report(64 * mebibyte + 80 * mebibyte);
  assert.equal(ask(100 * mebibyte), Math.floor((70 * mebibyte) / 8));
  ask(0, client, { returned: 100 * mebibyte });
  report(64 * mebibyte + 70 * mebibyte);
  assert.equal(ask(100 * mebibyte), Math.floor((70 * mebibyte) / 8));
});

test("when little is left, grants are recalled, now and then", async () => {
  const { harness, client, ask, report } = await cluster(50_000 * mebibyte);
  ask(10 * mebibyte);
  const recalled = () => client.peer.bodies<{ space: boolean }>("client.recallLeases").filter(({ space }) => space);
  report(100 * mebibyte);
  await harness.clock.advance(0);
  assert.equal(recalled().length, 1);
  report(90 * mebibyte);
  await harness.clock.advance(100);
  assert.equal(recalled().length, 1);
  ask(0, client, { returned: 10 * mebibyte });
  await harness.clock.advance(2_000);
  report(80 * mebibyte);
  await harness.clock.advance(0);
  assert.equal(recalled().length, 1);
});

test("a session's grants return with its end, and a member that is behind doesn't count", async () => {
  const { harness, stores, client, ask, group } = await cluster(64 * mebibyte + 80 * mebibyte);
  assert.equal(ask(100 * mebibyte), 10 * mebibyte);
  const other = await harness.mount("other", "home");
  await harness.parts.sessions.close(client.session.id, client.peer);
  assert.equal(ask(100 * mebibyte, other), 10 * mebibyte);
  ask(0, other, { returned: 10 * mebibyte });
  Object.assign(harness.parts.stores.get(stores[1]!.store)!, { freeBytes: 0 });
  assert.equal(ask(mebibyte, other), 0);
  harness.refusing.add("b:1");
  stores[1]!.peer.close("the process has ended");
  await harness.pass(2_000, { stores: [stores[0]!], sessions: [other] });
  const { members } = harness.leader.namespace.groups().find((one) => one.group === group)!;
  assert.ok(members.some(({ store, state }) => store === stores[1]!.store && state === "behind"));
  Object.assign(harness.parts.stores.get(stores[0]!.store)!, { freeBytes: 64 * mebibyte + 80 * mebibyte });
  assert.equal(ask(mebibyte, other), mebibyte);
});

test("write-through begins while there is still room for what clients have acknowledged", async () => {
  const harness = await Harness.start();
  let freeBytes = 10_000 * mebibyte;
  const disk = { space: async () => ({ totalBytes: 100_000 * mebibyte, freeBytes }) };
  const { log, lifetime } = harness.leader;
  const guard = new SpaceGuard({ disk: disk as never, directory: "/", lifetime, log });
  assert.ok(!guard.mustWriteThrough(1));
  guard.start();
  await drain();
  assert.ok(!guard.mustWriteThrough(10));
  freeBytes = 300 * mebibyte;
  await harness.clock.advance(1_000);
  assert.ok(!guard.mustWriteThrough(1));
  assert.ok(guard.mustWriteThrough(10));
  assert.ok(!guard.isLow);
  freeBytes = 60 * mebibyte;
  await harness.clock.advance(1_000);
  assert.ok(guard.isLow && guard.mustWriteThrough(1));
});
