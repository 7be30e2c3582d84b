import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { bucketCount, bucketOf, bucketStart, quantile } from "./buckets.ts";
import { expose } from "./exposition.ts";
import { difference, History, sum } from "./history.ts";
import { Metrics } from "./metrics.ts";

test("a bucket holds what begins in it and ends before the next, within an eighth", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), (value) => {
      const bucket = bucketOf(value);
      assert.ok(bucket < bucketCount);
      assert.ok(bucketStart(bucket) <= value && value < bucketStart(bucket + 1));
      assert.ok(bucketStart(bucket + 1) - bucketStart(bucket) <= Math.max(1, value / 8));
    }),
  );
  assert.equal(bucketOf(-3), 0);
  assert.equal(bucketOf(Number.NaN), 0);
  assert.equal(bucketOf(1e15), bucketCount - 1);
});

test("buckets follow each other without a gap", () => {
  for (let bucket = 0; bucket < bucketCount; bucket++) {
    assert.equal(bucketOf(bucketStart(bucket)), bucket);
    if (bucket > 0) assert.ok(bucketStart(bucket) > bucketStart(bucket - 1));
  }
});

test("percentiles are within an eighth of the exact ones", () => {
  const values = fc.array(fc.integer({ min: 0, max: 10_000_000 }), { minLength: 1, maxLength: 300 });
  fc.assert(
    fc.property(values, fc.constantFrom(0.5, 0.9, 0.99, 1), (observed, part) => {
      const histogram = new Metrics().histogram("x_bytes", "");
      for (const value of observed) histogram.observe(value);
      const sorted = [...observed].sort((left, right) => left - right);
      const exact = sorted[Math.max(0, Math.ceil(observed.length * part) - 1)]!;
      const found = quantile(histogram.buckets(), part)!;
      assert.ok(Math.abs(found - exact) <= Math.max(1, exact / 8), `${found} for ${exact}`);
    }),
  );
  assert.equal(quantile([], 0.5), undefined);
});

test("the same name and labels are the same series; a name keeps its kind", () => {
  const metrics = new Metrics();
  metrics.counter("c", "help", { a: "1" }).add();
  metrics.counter("c", "help", { a: "1" }).add(2);
  metrics.counter("c", "help", { a: "2" }).add(5);
  assert.deepEqual(
    metrics.series().map(({ labels, value }) => [labels.a, value]),
    [
      ["1", 3],
      ["2", 5],
    ],
  );
  assert.throws(() => metrics.histogram("c", "help"), /is a counter already/);
});

test("labels without end don't eat the memory", () => {
  const metrics = new Metrics();
  for (let number = 0; number < 10_000; number++) metrics.counter("c", "", { number: String(number) }).add();
  assert.equal(metrics.series().length, 4096);
});

test("the text format: names, help, escaped labels, cumulated buckets in seconds", () => {
  const metrics = new Metrics();
  metrics.counter("brine_frames_total", "Frames.\nAll.", { peer: 'a"b\\c\n' }).add(3);
  metrics.gauge("brine_leases", "Leases.", {}, () => 7);
  const latency = metrics.histogram("brine_request_seconds", "Round trip.", { method: "m" });
  latency.observeMs(0.003);
  latency.observeMs(1.5);
  latency.observeMs(90_000);
  const text = expose(metrics.families());
  assert.match(text, /^# HELP brine_frames_total Frames\.\\nAll\.\n# TYPE brine_frames_total counter\n/);
  assert.match(text, /brine_frames_total\{peer="a\\"b\\\\c\\n"\} 3\n/);
  assert.match(text, /\nbrine_leases 7\n/);
  assert.match(text, /brine_request_seconds_bucket\{method="m",le="0.000002"\} 0\n/);
  assert.match(text, /brine_request_seconds_bucket\{method="m",le="0.000004"\} 1\n/);
  assert.match(text, /brine_request_seconds_bucket\{method="m",le="0.002048"\} 2\n/);
  assert.match(text, /brine_request_seconds_bucket\{method="m",le="\+Inf"\} 3\n/);
  assert.match(text, /brine_request_seconds_count\{method="m"\} 3\n$/);
  assert.match(text, /brine_request_seconds_sum\{method="m"\} 90\.0015/);
});

test("the last minute has what was added in it", () => {
  const metrics = new Metrics();
  let nowMs = 0;
  let due: (() => void) | undefined;
  const clock = {
    nowMs: () => nowMs,
    startTimer: (_: number, callback: () => void) => {
      due = callback;
    },
  };
  metrics.counter("before", "").add(100);
  History.keep(clock, metrics);
  const pass = (ms: number) => {
    nowMs += ms;
    due!();
  };
  metrics.histogram("h_seconds", "").observeMs(1);
  for (let step = 0; step < 3; step++) pass(10_000);
  metrics.histogram("h_seconds", "").observeMs(4);
  metrics.counter("before", "").add(1);
  const { forMs, series } = metrics.history!.lastMinute();
  assert.equal(forMs, 30_000);
  assert.deepEqual(
    series.map(({ name, value, count }) => [name, value, count]),
    [
      ["before", 1, 0],
      ["h_seconds", 0.005, 2],
    ],
  );
  for (let step = 0; step < 6; step++) pass(10_000);
  const later = metrics.history!.lastMinute();
  assert.equal(later.forMs, 60_000);
  assert.equal(later.series.find(({ name }) => name === "h_seconds")!.count, 1);
});

test("series are subtracted and added", () => {
  const metrics = new Metrics();
  const histogram = metrics.histogram("h", "");
  histogram.observe(1);
  histogram.observe(100);
  const before = metrics.series()[0]!;
  histogram.observe(100);
  const now = metrics.series()[0]!;
  assert.deepEqual(difference(now, before).buckets, [{ index: bucketOf(100), count: 1 }]);
  assert.equal(difference(before, now), before, "a process that was started again begins at nothing");
  assert.equal(sum(now, before).count, 5);
  assert.deepEqual(sum(now, before).buckets, [
    { index: 1, count: 2 },
    { index: bucketOf(100), count: 3 },
  ]);
});
