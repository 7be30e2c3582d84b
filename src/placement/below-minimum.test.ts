import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { MemberState } from "../namespace/model.ts";
import { minimumProblems } from "./below-minimum.ts";

function group(volume: number, replicas: number, ...states: MemberState[]) {
  return { volume, replicas, members: states.map((state, index) => ({ store: index + 1, state })) };
}

function volume(number: number, inSyncMin: number) {
  return { volume: number, name: `v${number}`, inSyncMin };
}

test("nothing is said where as many are in sync as the volume wants", () => {
  const groups = [group(1, 3, "inSync", "inSync", "behind"), group(2, 2, "inSync", "behind"), group(0, 2, "inSync")];
  assert.deepEqual(minimumProblems(groups, [volume(1, 2), volume(2, 1)]), []);
});

test("one sentence a volume: how many groups, how few copies, whose are missing", () => {
  const groups = [
    group(1, 3, "inSync", "inSync", "behind"),
    group(1, 3, "inSync", "catchingUp", "behind"),
    group(1, 3, "inSync", "inSync", "inSync"),
    group(2, 2, "inSync"),
  ];
  const [first, second, ...more] = minimumProblems(groups, [volume(1, 3), volume(2, 2)]);
  assert.match(
    first!,
    /^Volume v1 takes writes with 3 .* 2 of its groups have fewer, down to 1 \(not in sync: stores 2, 3\)/,
  );
  assert.match(second!, /^Volume v2 .* 1 of its groups .*\(copies are still to be made\)/);
  assert.match(first!, /writes to them wait, reads go on/);
  assert.deepEqual(more, []);
  const [none] = minimumProblems([group(1, 2, "catchingUp", "behind")], [volume(1, 1)]);
  assert.match(none!, /down to 0 .*writes to them wait, and reads, where no copy is in sync/);
});

test("a group that is to have fewer copies than the volume wants in sync wants all of them", () => {
  assert.deepEqual(minimumProblems([group(1, 1, "inSync")], [volume(1, 2)]), []);
});
