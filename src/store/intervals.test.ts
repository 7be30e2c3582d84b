import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addInterval, type Interval, removeInterval, type SharedInterval, share, unshare } from "./intervals.ts";

const size = 30;

function checkOrder(intervals: readonly Interval[]): void {
  let before = -1;
  for (const { from, to } of intervals) {
    assert.ok(from >= before && from < to);
    before = to;
  }
}

test("shared intervals count holders like an array of counters", () => {
  const step = fc.record({ add: fc.boolean(), from: fc.nat(size - 1), count: fc.integer({ min: 1, max: size }) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const intervals: SharedInterval[] = [];
      const extra = new Array<number>(size).fill(0);
      for (const { add, from, count } of steps) {
        const to = Math.min(size, from + count);
        const unheld = new Array<boolean>(size).fill(false);
        if (add) share(intervals, from, to);
        else for (const gone of unshare(intervals, from, to)) unheld.fill(true, gone.from, gone.to);
        for (let at = from; at < to; at++) {
          if (!add) assert.equal(unheld[at], extra[at] === 0);
          extra[at] = Math.max(0, extra[at]! + (add ? 1 : -1));
        }
        checkOrder(intervals);
        const seen = new Array<number>(size).fill(0);
        for (const interval of intervals) seen.fill(interval.extra, interval.from, interval.to);
        assert.deepEqual(seen, extra);
      }
    }),
  );
});

test("dead intervals join their neighbours", () => {
  fc.assert(
    fc.property(fc.shuffledSubarray(Array.from({ length: size }, (_, index) => index)), (places) => {
      const intervals: Interval[] = [];
      for (const place of places) addInterval(intervals, place, place + 1);
      checkOrder(intervals);
      const covered = intervals.flatMap(({ from, to }) =>
        Array.from({ length: to - from }, (_, index) => from + index),
      );
      assert.deepEqual(
        covered,
        [...places].sort((left, right) => left - right),
      );
      for (let index = 1; index < intervals.length; index++)
        assert.ok(intervals[index]!.from > intervals[index - 1]!.to);
      if (places.length > 0) assert.throws(() => addInterval(intervals, places[0]!, places[0]! + 1), RangeError);
      for (const { from, to } of [...intervals]) assert.ok(removeInterval(intervals, from, to));
      assert.equal(removeInterval(intervals, 0, 1), false);
    }),
  );
});
