/** RangeLocks against a model that knows of each byte who has it how. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { areOpposed, type LockedRange, type LockMode, RangeLocks } from "./range-locks.ts";

/** A fixed seed: a test run must not fail by chance. */
const seed = 20_080_617;
const bytes = 24;
const owners = ["a", "b", "c"] as const;
type Owner = (typeof owners)[number];

/** Where the bytes are: at the beginning, across the bounds of numbers that are exact, at the end of all files. */
const base = fc.constantFrom(0n, 2n ** 53n - 12n, 2n ** 63n - BigInt(bytes));
const place = fc.integer({ min: 0, max: bytes - 1 });
const step = fc.record({
  owner: fc.constantFrom(...owners),
  mode: fc.constantFrom("shared", "exclusive", undefined),
  from: place,
  to: place,
});

class Model {
  readonly #cells = Array.from({ length: bytes }, () => new Map<Owner, { mode: LockMode; grant: number }>());

  set(owner: Owner, start: number, end: number, mode: LockMode | undefined, grant: number): void {
    for (const cell of this.#cells.slice(start, end + 1)) {
      if (mode === undefined) cell.delete(owner);
      else cell.set(owner, { mode, grant });
    }
  }

  blockers(owner: Owner, start: number, end: number, mode: LockMode): Set<Owner> {
    const found = new Set<Owner>();
    for (const cell of this.#cells.slice(start, end + 1)) {
      for (const [other, has] of cell) if (other !== owner && areOpposed(has.mode, mode)) found.add(other);
    }
    return found;
  }

  /** The first byte is at `base`. */
  ranges(owner: Owner, base: bigint): LockedRange[] {
    const ranges: LockedRange[] = [];
    for (const [at, cell] of this.#cells.entries()) {
      const byte = base + BigInt(at);
      const has = cell.get(owner);
      if (has === undefined) continue;
      const last = ranges.at(-1);
      if (last?.mode === has.mode && last.end === byte - 1n) {
        ranges[ranges.length - 1] = { ...last, end: byte, grant: Math.max(last.grant, has.grant) };
      } else ranges.push({ start: byte, end: byte, ...has });
    }
    return ranges;
  }
}

/** Grants of single bytes differ from those of joined ranges, which know the last one only. */
function withoutGrants(ranges: readonly LockedRange[]) {
  return ranges.map(({ start, end, mode }) => ({ start, end, mode }));
}

test("sets, splits, joins and finds what is in the way as a table of single bytes does", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), base, (steps, first) => {
      const [locks, model] = [new RangeLocks<Owner>(), new Model()];
      for (const [number, { owner, mode, from, to }] of steps.entries()) {
        const [low, high] = [Math.min(from, to), Math.max(from, to)];
        const range = { start: first + BigInt(low), end: first + BigInt(high) };
        if (mode !== undefined) {
          const blockers = model.blockers(owner, low, high, mode);
          assert.deepEqual(new Set(locks.blockers(owner, range, mode)), blockers);
          const conflict = locks.conflict(owner, range, mode);
          assert.equal(conflict === undefined, blockers.size === 0);
          if (conflict !== undefined) assert.ok(blockers.has(conflict.owner));
          if (blockers.size > 0) continue;
        }
        locks.set(owner, range, mode, number);
        model.set(owner, low, high, mode, number);
        for (const one of owners) {
          const ranges = locks.of(one);
          assert.deepEqual(withoutGrants(ranges), withoutGrants(model.ranges(one, first)));
          // Never earlier than any of its bytes was set, and never later than now.
          for (const [at, { grant }] of model.ranges(one, first).entries()) {
            assert.ok(ranges[at]!.grant >= grant && ranges[at]!.grant <= number);
          }
        }
        assert.equal(
          locks.count,
          owners.reduce((sum, one) => sum + locks.of(one).length, 0),
        );
        assert.deepEqual(
          [...locks.owners()].sort(),
          owners.filter((one) => model.ranges(one, first).length > 0),
        );
      }
    }),
    { numRuns: 500, seed },
  );
});

test("the end of all files has no byte behind it", () => {
  const locks = new RangeLocks<string>();
  const end = 2n ** 63n - 1n;
  locks.set("a", { start: 0n, end }, "exclusive");
  locks.set("a", { start: 10n, end }, undefined);
  assert.deepEqual(withoutGrants(locks.of("a")), [{ start: 0n, end: 9n, mode: "exclusive" }]);
  locks.set("a", { start: 10n, end }, "exclusive");
  assert.deepEqual(withoutGrants(locks.of("a")), [{ start: 0n, end, mode: "exclusive" }]);
  assert.equal(locks.conflict("b", { start: end, end }, "shared")?.owner, "a");
});

test("the conflict that is told is the one that begins first", () => {
  const locks = new RangeLocks<string>();
  locks.set("a", { start: 20n, end: 29n }, "exclusive");
  locks.set("b", { start: 0n, end: 9n }, "exclusive");
  const conflict = locks.conflict("c", { start: 5n, end: 100n }, "shared");
  assert.deepEqual([conflict?.owner, conflict?.range.start], ["b", 0n]);
});

test("thousands of ranges cost next to nothing each", () => {
  const locks = new RangeLocks<number>();
  const count = 20_000;
  const from = (start: number, length: number) => ({ start: BigInt(start), end: BigInt(start + length - 1) });
  for (let at = 0; at < count; at++) locks.set(at % 10, from(at * 10, 5), "exclusive");
  assert.equal(locks.count, count);
  for (let at = 0; at < count; at++) {
    assert.equal(locks.conflict(10, from(at * 10, 10), "shared")?.owner, at % 10);
    assert.equal(locks.conflict(10, from(at * 10 + 5, 5), "shared"), undefined);
  }
  for (let owner = 0; owner < 10; owner++) locks.set(owner, from(0, count * 10), undefined);
  assert.equal(locks.count, 0);
});
