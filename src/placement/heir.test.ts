/** Who goes on with a group whose last good copy is gone. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { GroupRecord, MemberState } from "../namespace/model.ts";
import { type HeirFacts, withHeir } from "./heir.ts";

function groupOf(states: Record<number, MemberState>): GroupRecord {
  const members = Object.entries(states).map(([store, state]) => ({ store: Number(store), state }));
  const of = { volume: 1, pool: 0, labels: [], failureDomain: "host", replicas: 2 };
  return { ...of, group: 1, generation: 9, members, nextNumber: 0 };
}

const nobody: HeirFacts = { lastInSync: () => 0, isOnline: () => true, newStore: () => undefined };

test("the member that was in sync last is the heir, also if it is away; the others are behind", () => {
  const lastInSync = (store: number) => [0, 0, 3, 7, 0][store]!;
  const isOnline = (store: number) => store !== 3;
  const group = groupOf({ 1: "inSync", 2: "catchingUp", 3: "behind", 4: "catchingUp" });
  assert.deepEqual(withHeir(group, 1, { ...nobody, lastInSync, isOnline }), [
    { store: 3, state: "catchingUp" },
    { store: 2, state: "behind" },
    { store: 4, state: "behind" },
  ]);
});

test("of those that never were in sync one that has a part, of equals one that is online", () => {
  const heirOf = (group: GroupRecord, facts: Partial<HeirFacts> = {}) =>
    withHeir(group, 1, { ...nobody, ...facts })?.find(({ state }) => state === "catchingUp")?.store;
  assert.equal(heirOf(groupOf({ 1: "inSync", 2: "behind", 3: "catchingUp" })), 3);
  assert.equal(heirOf(groupOf({ 1: "inSync", 2: "behind", 3: "behind" }), { isOnline: (store) => store === 3 }), 3);
  assert.equal(heirOf(groupOf({ 1: "inSync" }), { newStore: () => 8 }), 8);
  assert.equal(heirOf(groupOf({ 1: "inSync" })), undefined);
});
