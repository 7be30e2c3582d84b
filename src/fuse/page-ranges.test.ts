/** Sets of byte ranges against a set of bytes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PageRanges, without } from "./page-ranges.ts";

const range = fc.tuple(fc.nat(40), fc.nat(10)).map(([start, length]) => ({ start, end: start + length }));
const bytesOf = (ranges: readonly { start: number; end: number }[]) =>
  ranges.flatMap(({ start, end }) => Array.from({ length: end - start }, (_, index) => start + index));
const sorted = (bytes: Iterable<number>) => [...new Set(bytes)].sort((a, b) => a - b);

test("ranges that are added are there once, in order", () => {
  fc.assert(
    fc.property(fc.array(range), (added) => {
      const ranges = new PageRanges();
      for (const one of added) ranges.add(one);
      const bytes = sorted(bytesOf(added));
      assert.equal(ranges.isEmpty, bytes.length === 0);
      const taken = ranges.take();
      assert.deepEqual(bytesOf(taken), bytes);
      for (const [index, one] of taken.slice(1).entries()) assert.ok(one.start > taken[index]!.end);
      assert.equal(ranges.isEmpty, true);
    }),
  );
});

test("a range without others", () => {
  fc.assert(
    fc.property(range, fc.array(range), (whole, holes) => {
      const gone = new Set(bytesOf(holes));
      assert.deepEqual(
        bytesOf(without(whole, holes)),
        bytesOf([whole]).filter((byte) => !gone.has(byte)),
      );
    }),
  );
});

test("very many ranges become one", () => {
  const ranges = new PageRanges();
  for (let index = 0; index < 1_100; index++) ranges.add({ start: index * 10, end: index * 10 + 1 });
  const [first] = ranges.take();
  assert.equal(first!.start, 0);
  assert.ok(first!.end > 10_000);
});
