/** Rates, percentiles and shares out of metrics. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { OperationMeter } from "../client/operation-meter.ts";
import { Waits } from "../client/waits.ts";
import { Metrics } from "../metrics/metrics.ts";
import { toWire } from "../wire/process-methods.ts";
import { testPlatform } from "../wire/testing/memory-network.ts";
import { operationTable, partTable, processTable, rateText, requestTable, timeText } from "./figure-tables.ts";
import { activities, between, operationRows, partRows, processRows, requestRows } from "./figures.ts";

function sample(metrics: Metrics, role: string, who: string, forMs: number) {
  return { role, who, session: 0, forMs, series: metrics.series().map(toWire) };
}

function observe(metrics: Metrics, name: string, labels: Record<string, string>, ms: number, times: number): void {
  for (let time = 0; time < times; time++) metrics.histogram(name, "", labels).observeMs(ms);
}

test("operations of all mounts between two samples, with shares of their time", () => {
  const [one, two] = [new Metrics(), new Metrics()];
  observe(one, "brine_operation_seconds", { operation: "read" }, 1, 50);
  const before = [sample(one, "client", "a", 10_000), sample(two, "client", "b", 10_000)];
  observe(one, "brine_operation_seconds", { operation: "read" }, 10, 60);
  observe(one, "brine_operation_part_seconds", { operation: "read", part: "store" }, 9, 60);
  observe(one, "brine_operation_part_seconds", { operation: "read", part: "client" }, 1, 60);
  observe(two, "brine_operation_seconds", { operation: "read" }, 20, 40);
  observe(two, "brine_operation_part_seconds", { operation: "read", part: "lease" }, 20, 40);
  const after = [sample(one, "client", "a", 12_000), sample(two, "client", "b", 12_000)];
  const all = between(before, after);
  const [row] = operationRows(all);
  assert.equal(row!.operation, "read");
  assert.equal(row!.perSecond, 50);
  assert.ok(Math.abs(row!.p50Ms! - 10) < 1 && Math.abs(row!.p99Ms! - 20) < 2);
  assert.ok(Math.abs(row!.shares.store - 540 / 1400) < 1e-6);
  assert.ok(Math.abs(row!.shares.lease - 800 / 1400) < 1e-6);
  assert.equal(row!.shares.ledger, 0);
  const lease = partRows(all).find(({ part }) => part === "lease")!;
  assert.equal(lease.perSecond, 20);
  assert.ok(Math.abs(lease.share - 800 / 1400) < 1e-6);
});

test("property: percentiles are those of the load, to within an eighth; the rate is exact", async () => {
  const latencies = fc.array(fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 5_000 })), {
    minLength: 1,
    maxLength: 60,
  });
  await fc.assert(
    fc.asyncProperty(latencies, async (load) => {
      const platform = testPlatform();
      const waits = new Waits(platform.clock, platform.logger, undefined, new OperationMeter(platform));
      for (const ms of load) await waits.run("read", 1, undefined, () => platform.clock.advance(ms));
      const [row] = operationRows(activities([sample(platform.metrics, "client", "a", 10_000)]));
      const sorted = [...load].sort((left, right) => left - right);
      assert.equal(row!.perSecond, load.length / 10);
      for (const [got, part] of [
        [row!.p50Ms!, 0.5],
        [row!.p99Ms!, 0.99],
      ] as const) {
        const exact = sorted[Math.ceil(sorted.length * part) - 1]!;
        assert.ok(Math.abs(got - exact) <= exact / 8, `${part}: ${got} for ${exact} of ${sorted}`);
      }
    }),
    { numRuns: 40 },
  );
});

test("a process that was started again counts from nothing", () => {
  const [old, fresh] = [new Metrics(), new Metrics()];
  observe(old, "brine_operation_seconds", { operation: "read" }, 1, 500);
  observe(fresh, "brine_operation_seconds", { operation: "read" }, 1, 5);
  const all = between([sample(old, "client", "a", 60_000)], [sample(fresh, "client", "a", 500)]);
  assert.equal(operationRows(all)[0]!.perSecond, 10);
});

test("requests by method: the round trip, the network's part, what the other side says", () => {
  const [client, server] = [new Metrics(), new Metrics()];
  const asked = { method: "leader.transact", peer: "l:1" };
  observe(client, "brine_request_seconds", asked, 4, 10);
  observe(client, "brine_request_network_seconds", asked, 1, 10);
  observe(server, "brine_served_seconds", { method: "leader.transact", by: "client" }, 3, 10);
  client.counter("brine_request_failures_total", "", asked).add(2);
  const all = activities([sample(client, "client", "a", 1000), sample(server, "leader", "l:1", 1000)]);
  const [row] = requestRows(all);
  assert.deepEqual([row!.method, row!.perSecond, row!.failuresPerSecond], ["leader.transact", 10, 2]);
  assert.ok(Math.abs(row!.p50Ms! - 4) < 0.5);
  assert.ok(Math.abs(row!.networkP99Ms! - 1) < 0.2);
  assert.ok(Math.abs(row!.servedP50Ms! - 3) < 0.4);
});

test("processes: processor, memory, network, commits of their logs", () => {
  const metrics = new Metrics();
  metrics.reading("process_cpu_seconds_total", "", {}, () => 0.5);
  metrics.gauge("process_resident_memory_bytes", "", {}, () => 1 << 20);
  metrics.counter("brine_network_bytes_total", "", { direction: "sent", peer: "a" }).add(1000);
  metrics.counter("brine_network_bytes_total", "", { direction: "sent", peer: "b" }).add(500);
  observe(metrics, "brine_log_commit_seconds", { log: "ledger" }, 2, 4);
  metrics.histogram("brine_log_commit_records", "", { log: "ledger" }).observe(8);
  const all = activities([sample(metrics, "leader", "l:1", 1000)]);
  const [row] = processRows(all);
  assert.deepEqual([row!.cpu, row!.memoryBytes, row!.sentPerSecond], [0.5, 1 << 20, 1500]);
  assert.equal(row!.commits.perSecond, 4);
  assert.equal(row!.recordsPerCommit, 8);
  assert.equal(processTable(all, 5)[1]![2], "50 %");
});

test("tables have a heading alone where nothing was done", () => {
  assert.equal(operationTable([]).length, 1);
  assert.equal(requestTable([], 5).length, 1);
  assert.deepEqual(partTable([])[1], ["client", "", "0/s", "", ""]);
});

test("times and rates are short", () => {
  assert.deepEqual([undefined, 0.0124, 3.44, 340, 1234, 65_000].map(timeText), [
    "",
    "12 µs",
    "3.4 ms",
    "340 ms",
    "1.2 s",
    "65 s",
  ]);
  assert.deepEqual([0, 0.24, 15.4, 12_345].map(rateText), ["0/s", "0.2/s", "15/s", "12.3k/s"]);
});
