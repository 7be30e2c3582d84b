/** believe: of locks that can't be together the later one stands. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { believe } from "./believe.ts";
import { type LockMode, RangeLocks } from "./range-locks.ts";

function ranges(locks: RangeLocks<string>, owner: string): [number, number, LockMode][] {
  return locks.of(owner).map(({ start, end, mode }) => [start, end, mode]);
}

test("what nobody contradicts is believed", () => {
  const locks = new RangeLocks<string>();
  believe(locks, "a", { start: 0, end: 9, mode: "shared", grant: 5 });
  believe(locks, "b", { start: 5, end: 20, mode: "shared", grant: 4 });
  believe(locks, "b", { start: 30, end: 39, mode: "exclusive", grant: 6 });
  assert.deepEqual(ranges(locks, "a"), [[0, 9, "shared"]]);
  assert.deepEqual(ranges(locks, "b"), [
    [5, 20, "shared"],
    [30, 39, "exclusive"],
  ]);
});

test("an exclusive lock that was made shared or released unheard gives way, whoever speaks first", () => {
  for (const first of ["a", "b"]) {
    const locks = new RangeLocks<string>();
    const say = {
      a: () => believe(locks, "a", { start: 0, end: 99, mode: "exclusive", grant: 5 }),
      b: () => {
        believe(locks, "b", { start: 10, end: 19, mode: "shared", grant: 7 });
        believe(locks, "b", { start: 40, end: 49, mode: "exclusive", grant: 8 });
        believe(locks, "b", { start: 90, end: 120, mode: "exclusive", grant: 3 });
      },
    };
    if (first === "a") say.a();
    say.b();
    if (first === "b") say.a();
    assert.deepEqual(ranges(locks, "a"), [
      [0, 9, "exclusive"],
      [10, 19, "shared"],
      [20, 39, "exclusive"],
      [50, 99, "exclusive"],
    ]);
    assert.deepEqual(ranges(locks, "b"), [
      [10, 19, "shared"],
      [40, 49, "exclusive"],
      [100, 120, "exclusive"],
    ]);
  }
});
