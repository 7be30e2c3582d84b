import assert from "node:assert/strict";
import { test } from "node:test";
import { groupOfChunk } from "../namespace/model.ts";
import type { Client } from "./testing/harness.ts";
import { Harness } from "./testing/harness.ts";

const gibibyte = 1024 ** 3;

async function cluster(freeGibibytes: readonly number[]) {
  const harness = await Harness.start();
  const stores: number[] = [];
  for (const name of freeGibibytes.keys()) stores.push((await harness.addStore(`store-${name}`)).store);
  await harness.addVolume("home", 2);
  const client = await harness.mount("client", "home");
  const report = (free: readonly number[]): void => {
    for (const [at, store] of stores.entries()) {
      const bytes = { totalBytes: 1000 * gibibyte, freeBytes: free[at]! * gibibyte };
      Object.assign(harness.parts.stores.get(store)!, bytes);
      for (let round = 0; round < 2; round++) harness.parts.spaceGrants.reported(store);
    }
  };
  report(freeGibibytes);
  const membersOf = (chunk: number): number[] => {
    const group = harness.leader.namespace.groups().find((one) => one.group === groupOfChunk(chunk))!;
    return group.members.map(({ store }) => stores.indexOf(store));
  };
  /** How many of so many grants each store gets a copy of, and the groups in their order. */
  const grant = async (count: number, by: Client = client) => {
    const copies = stores.map(() => 0);
    const groups: number[] = [];
    for (let round = 0; round < count; round++) {
      const granted = await by.transact({ kind: "grantChunks", count: 1, pool: 0 });
      assert.equal(granted.kind, "granted");
      if (granted.kind !== "granted") continue;
      groups.push(groupOfChunk(granted.range.first));
      for (const store of membersOf(granted.range.first)) copies[store]! += 1;
    }
    return { copies, groups };
  };
  return { harness, report, grant };
}

test("stores with the same room: each group has its turn, evenly", async () => {
  const { grant } = await cluster([500, 500, 500]);
  const { copies, groups } = await grant(64);
  assert.equal(new Set(groups.slice(0, 32)).size, 32);
  assert.deepEqual(groups.slice(0, 32).sort(), groups.slice(32).sort());
  assert.ok(Math.max(...copies) - Math.min(...copies) <= 4, String(copies));
});

test("a store with less room gets less, one without any nothing, and more when it has room again", async () => {
  const { grant, report } = await cluster([800, 800, 200]);
  const few = (await grant(300)).copies;
  assert.ok(few[2]! > 60 && few[2]! < 150, `a third of the pairs is worth two thirds of the turns: ${few}`);
  report([800, 800, 0]);
  assert.deepEqual((await grant(100)).copies, [100, 100, 0]);
  report([0.01, 800, 0.05]);
  assert.ok((await grant(100)).copies[1]! > 50, "the most that is left");
  report([500, 500, 500]);
  assert.ok((await grant(90)).copies[2]! > 40);
});

test("while nothing is known of the stores' room, or nobody has any, groups take turns", async () => {
  const { grant, report } = await cluster([0, 0, 0]);
  assert.equal(new Set((await grant(32)).groups).size, 32);
  report([0, 0, 0]);
  assert.equal(new Set((await grant(32)).groups).size, 32);
});
