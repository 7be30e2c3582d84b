/** believe: of locks that can't be together the later one stands. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { believe } from "./believe.ts";
import { type LockMode, RangeLocks } from "./range-locks.ts";

function ranges(locks: RangeLocks<string>, owner: string): [bigint, bigint, LockMode][] {
  return locks.of(owner).map(({ start, end, mode }) => [start, end, mode]);
}

test("what nobody contradicts is believed", () => {
  const locks = new RangeLocks<string>();
  believe(locks, "a", { start: 0n, end: 9n, mode: "shared", grant: 5 });
  believe(locks, "b", { start: 5n, end: 20n, mode: "shared", grant: 4 });
  believe(locks, "b", { start: 30n, end: 39n, mode: "exclusive", grant: 6 });
  assert.deepEqual(ranges(locks, "a"), [[0n, 9n, "shared"]]);
  assert.deepEqual(ranges(locks, "b"), [
    [5n, 20n, "shared"],
    [30n, 39n, "exclusive"],
  ]);
});

test("an exclusive lock that was made shared or released unheard gives way, whoever speaks first", () => {
  for (const first of ["a", "b"]) {
    const locks = new RangeLocks<string>();
    const say = {
      a: () => believe(locks, "a", { start: 0n, end: 99n, mode: "exclusive", grant: 5 }),
      b: () => {
        believe(locks, "b", { start: 10n, end: 19n, mode: "shared", grant: 7 });
        believe(locks, "b", { start: 40n, end: 49n, mode: "exclusive", grant: 8 });
        believe(locks, "b", { start: 90n, end: 120n, mode: "exclusive", grant: 3 });
      },
    };
    if (first === "a") say.a();
    say.b();
    if (first === "b") say.a();
    assert.deepEqual(ranges(locks, "a"), [
      [0n, 9n, "exclusive"],
      [10n, 19n, "shared"],
      [20n, 39n, "exclusive"],
      [50n, 99n, "exclusive"],
    ]);
    assert.deepEqual(ranges(locks, "b"), [
      [10n, 19n, "shared"],
      [40n, 49n, "exclusive"],
      [100n, 120n, "exclusive"],
    ]);
  }
});
