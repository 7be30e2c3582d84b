/** Figures for people out of the metrics of many processes: rates, percentiles, and where the time goes. */
import { type Part, parts } from "../client/operation-meter.ts";
import { quantile, type SparseBuckets } from "../metrics/buckets.ts";
import { difference, seriesKey, sum } from "../metrics/history.ts";
import type { Series } from "../metrics/metrics.ts";
import type { ProcessMetrics } from "../wire/catalogue/admin.ts";
import { fromWire } from "../wire/process-methods.ts";

/** What one process did in a time. */
export interface Activity {
  readonly role: string;
  readonly who: string;
  readonly forMs: number;
  readonly series: readonly Series[];
}

/** Rate and latency. */
export interface Latency {
  readonly perSecond: number;
  /** Undefined if there was nothing. */
  readonly p50Ms: number | undefined;
  readonly p99Ms: number | undefined;
}

export interface OperationRow extends Latency {
  readonly operation: string;
  /** Of all the time of these operations, how much was spent where: 0 to 1 each. */
  readonly shares: Readonly<Record<Part, number>>;
}

export interface PartRow extends Latency {
  readonly part: Part;
  /** Of the time of all operations. */
  readonly share: number;
}

export interface RequestRow extends Latency {
  readonly method: string;
  readonly networkP50Ms: number | undefined;
  readonly networkP99Ms: number | undefined;
  /** What the other side worked on it. */
  readonly servedP50Ms: number | undefined;
  readonly servedP99Ms: number | undefined;
  readonly failuresPerSecond: number;
}

export interface ProcessRow {
  readonly role: string;
  readonly who: string;
  /** Of one processor. */
  readonly cpu: number;
  readonly memoryBytes: number;
  readonly sentPerSecond: number;
  readonly receivedPerSecond: number;
  /** Of its logs: syncs and what shares one. */
  readonly commits: Latency;
  readonly recordsPerCommit: number | undefined;
}

/** What the processes did between two samples; a process that is only in the second one has done all of it. */
export function between(before: readonly ProcessMetrics[], after: readonly ProcessMetrics[]): Activity[] {
  const earlier = new Map(before.map((sample) => [processKey(sample), sample]));
  return after.map((sample) => {
    const { role, who, forMs } = sample;
    const known = earlier.get(processKey(sample));
    const isSame = known !== undefined && known.forMs <= forMs;
    if (!isSame) return { role, who, forMs: Math.max(1, forMs), series: sample.series.map(fromWire) };
    const old = new Map(known.series.map(fromWire).map((series) => [seriesKey(series), series]));
    const series = sample.series.map(fromWire).map((now) => difference(now, old.get(seriesKey(now))));
    return { role, who, forMs: Math.max(1, forMs - known.forMs), series };
  });
}

/** A sample that already is what was done in a time: the last minute. */
export function activities(processes: readonly ProcessMetrics[]): Activity[] {
  return between([], processes);
}

function processKey({ role, who, session }: ProcessMetrics): string {
  return `${role} ${who} ${session}`;
}

/** File operations of all mounts, the one that takes the most time first. */
export function operationRows(all: readonly Activity[]): OperationRow[] {
  const seconds = secondsOf(all);
  const byOperation = merged(all, "brine_operation_seconds", ({ operation }) => operation!);
  const byPart = merged(all, "brine_operation_part_seconds", ({ operation, part }) => `${operation} ${part}`);
  const rows = [...byOperation].filter(([, { count }]) => count > 0);
  rows.sort(([, left], [, right]) => right.value - left.value);
  return rows.map(([operation, series]) => {
    const share = (part: Part): number => (byPart.get(`${operation} ${part}`)?.value ?? 0) / (series.value || 1);
    const shares = Object.fromEntries(parts.map((part) => [part, share(part)])) as Record<Part, number>;
    return { operation, ...latencyOf(series, seconds), shares };
  });
}

/** Where the time of all operations goes. */
export function partRows(all: readonly Activity[]): PartRow[] {
  const seconds = secondsOf(all);
  const byPart = merged(all, "brine_operation_part_seconds", ({ part }) => part!);
  let total = 0;
  for (const { value } of byPart.values()) total += value;
  return parts.map((part) => {
    const series = byPart.get(part);
    return { part, share: total === 0 ? 0 : (series?.value ?? 0) / total, ...latencyOf(series, seconds) };
  });
}

/** Requests between processes by method, as those see them who ask; the one that takes the most time first. */
export function requestRows(all: readonly Activity[]): RequestRow[] {
  const seconds = secondsOf(all);
  const byMethod = ({ method }: Series["labels"]) => method!;
  const network = merged(all, "brine_request_network_seconds", byMethod);
  const served = merged(all, "brine_served_seconds", byMethod);
  const failures = merged(all, "brine_request_failures_total", byMethod);
  const rows = [...merged(all, "brine_request_seconds", byMethod)].filter(([, { count }]) => count > 0);
  rows.sort(([, left], [, right]) => right.value - left.value);
  return rows.map(([method, series]) => ({
    method,
    ...latencyOf(series, seconds),
    networkP50Ms: quantileMs(network.get(method)?.buckets, 0.5),
    networkP99Ms: quantileMs(network.get(method)?.buckets, 0.99),
    servedP50Ms: quantileMs(served.get(method)?.buckets, 0.5),
    servedP99Ms: quantileMs(served.get(method)?.buckets, 0.99),
    failuresPerSecond: (failures.get(method)?.value ?? 0) / seconds,
  }));
}

export function processRows(all: readonly Activity[]): ProcessRow[] {
  return all.map((activity) => {
    const { role, who, forMs } = activity;
    const seconds = forMs / 1000;
    const single = [activity];
    const value = (name: string, key: (labels: Series["labels"]) => string, wanted: string) =>
      merged(single, name, key).get(wanted)?.value ?? 0;
    const bytes = (direction: string) =>
      value("brine_network_bytes_total", ({ direction: found }) => found!, direction) / seconds;
    const one = (name: string) => merged(single, name, () => "").get("");
    const commits = one("brine_log_commit_seconds");
    const records = one("brine_log_commit_records");
    return {
      role,
      who,
      cpu: (one("process_cpu_seconds_total")?.value ?? 0) / seconds,
      memoryBytes: one("process_resident_memory_bytes")?.value ?? 0,
      sentPerSecond: bytes("sent"),
      receivedPerSecond: bytes("received"),
      commits: latencyOf(commits, seconds),
      recordsPerCommit: records === undefined || records.count === 0 ? undefined : records.value / records.count,
    };
  });
}

/** Series of one name in all processes, added up by a key. */
function merged(
  all: readonly Activity[],
  name: string,
  key: (labels: Series["labels"]) => string,
): Map<string, Series> {
  const found = new Map<string, Series>();
  for (const { series } of all) {
    for (const one of series) {
      if (one.name !== name) continue;
      const known = found.get(key(one.labels));
      found.set(key(one.labels), known === undefined ? one : sum(known, one));
    }
  }
  return found;
}

function latencyOf(series: Series | undefined, seconds: number): Latency {
  return {
    perSecond: (series?.count ?? 0) / seconds,
    p50Ms: quantileMs(series?.buckets, 0.5),
    p99Ms: quantileMs(series?.buckets, 0.99),
  };
}

/** Series of seconds are kept in microseconds. */
function quantileMs(buckets: SparseBuckets | undefined, part: number): number | undefined {
  const found = buckets === undefined ? undefined : quantile(buckets, part);
  return found === undefined ? undefined : found / 1000;
}

/** All processes were asked at the same moments, but for those that came in between. */
function secondsOf(all: readonly Activity[]): number {
  let longestMs = 1;
  for (const { forMs } of all) longestMs = Math.max(longestMs, forMs);
  return longestMs / 1000;
}
