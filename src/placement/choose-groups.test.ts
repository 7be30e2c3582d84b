/** The groups of a rule: balanced, distinct, the same each time. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { hasCode } from "../errors/brine-error.ts";
import type { GroupMember } from "../namespace/model.ts";
import { chooseGroups, groupsPerVolume } from "./choose-groups.ts";

function countBy<K>(items: readonly K[]): Map<K, number> {
  const counts = new Map<K, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

function spread(counts: Map<unknown, number>): number {
  return Math.max(...counts.values()) - Math.min(...counts.values());
}

function pairsOf(members: readonly GroupMember[]): string[] {
  const stores = members.map((member) => member.store).sort((left, right) => left - right);
  return stores.flatMap((store, at) => stores.slice(at + 1).map((other) => `${store} ${other}`));
}

test("two stores and two replicas: both are in every group and take turns at the first place", () => {
  const groups = chooseGroups([1, 2], 2, groupsPerVolume);
  assert.equal(groups.length, 32);
  assert.equal(groups.filter((members) => members[0]!.store === 1).length, 16);
  for (const members of groups) assert.deepEqual(members.map((member) => member.store).sort(), [1, 2]);
});

test("fewer stores than replicas is refused with advice", () => {
  assert.throws(
    () => chooseGroups([7], 2, 32),
    (error) => hasCode(error, "invalid") && /there are 1/.test(error.message) && error.advice !== undefined,
  );
});

test("pairs are nearly even: a lost store is rebuilt from all others", () => {
  const groups = chooseGroups([1, 2, 3, 4], 2, groupsPerVolume);
  const pairs = countBy(groups.flatMap(pairsOf));
  assert.equal(pairs.size, 6);
  assert.ok(spread(pairs) <= 3, `pairs: ${[...pairs.values()]}`);
});

test("any number of stores: groups of distinct stores, balanced, whatever the order they come in", () => {
  const input = fc
    .record({
      stores: fc.uniqueArray(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 20 }),
      replicas: fc.integer({ min: 1, max: 5 }),
      count: fc.integer({ min: 1, max: 64 }),
    })
    .filter(({ stores, replicas }) => stores.length >= replicas);
  fc.assert(
    fc.property(input, ({ stores, replicas, count }) => {
      const groups = chooseGroups(stores, replicas, count);
      assert.equal(groups.length, count);
      for (const members of groups) {
        assert.equal(new Set(members.map((member) => member.store)).size, replicas);
        assert.ok(members.every((member) => member.state === "inSync" && stores.includes(member.store)));
      }
      const uses = countBy(groups.flat().map((member) => member.store));
      for (const store of stores) if (!uses.has(store)) uses.set(store, 0);
      assert.ok(spread(uses) <= 1, `uses: ${[...uses.values()]}`);
      assert.deepEqual(chooseGroups([...stores].reverse(), replicas, count), groups);
    }),
  );
});
