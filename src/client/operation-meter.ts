/**
 * Where the time of file operations goes: rate and latency of each, and the parts of it.
 *
 *     ┌──────────────────────────── brine_operation_seconds{operation="fsync"} ────────────────────────────┐
 *     client ─ waits for a lease ─ client ─ waits for the leader ───────────── client ─ waits for stores ──┘
 *                   lease                   network · leader · ledger                   network · store
 *
 * An operation says what it waits for (waits.ts); its words tell the kind of wait. A wait may have taken several requests
 * of others, too (a journal's batch, blocks of many files). It is shared out in the proportions that the requests of that
 * kind had which were answered meanwhile.
 */
import type { Counter, Histogram, Metrics } from "../metrics/metrics.ts";
import type { Platform } from "../platform/platform.ts";
import { RequestMetrics, type RequestTotals } from "../wire/request-metrics.ts";

/** Whose time it was. */
export type Part = "client" | "lease" | "network" | "leader" | "ledger" | "store";

export const parts: readonly Part[] = ["client", "lease", "network", "leader", "ledger", "store"];

/** commit: data to the stores, then a transaction to the leader. */
export type WaitKind = "client" | "lease" | "leader" | "store" | "commit";

/** The beginnings of what operations say that they wait for; anything else is inside of the client. */
const kinds: readonly (readonly [string, WaitKind])[] = [
  ["lease ", "lease"],
  ["leader.acquire", "lease"],
  ["advisory lock", "lease"],
  ["leader", "leader"],
  ["the leader, to commit", "commit"],
  ["the leader", "leader"],
  ["earlier changes", "commit"],
  ["earlier writes to reach", "store"],
  ["connection to", "leader"],
  ["a new session", "leader"],
  ["store", "store"],
  ["space on store", "store"],
  ["volume ", "store"],
  ["what is being read ahead", "store"],
];

export function kindOfWait(waitsFor: string): WaitKind {
  for (const [beginning, kind] of kinds) if (waitsFor.startsWith(beginning)) return kind;
  return "client";
}

/** One operation's time, taken along while it runs. */
export class OperationTime {
  readonly #meter: OperationMeter;
  readonly #startedMs: number;
  #kind: WaitKind = "client";
  #sinceMs: number;
  #leaderBefore: RequestTotals = nothingYet;
  #storeBefore: RequestTotals = nothingYet;
  /** Milliseconds of each part but the client's own, which is the rest. */
  #spent: Partial<Record<Part, number>> | undefined;

  constructor(meter: OperationMeter, startedMs: number) {
    this.#meter = meter;
    this.#startedMs = startedMs;
    this.#sinceMs = startedMs;
  }

  /** The operation waits for something else from now on. */
  waits(kind: WaitKind): void {
    if (kind === "client" && this.#kind === "client") return;
    const nowMs = this.#meter.nowMs();
    this.#close(nowMs);
    this.#kind = kind;
    this.#sinceMs = nowMs;
    if (kind === "leader" || kind === "store" || kind === "commit") {
      this.#leaderBefore = { ...this.#meter.totals("leader") };
      this.#storeBefore = { ...this.#meter.totals("store") };
    }
  }

  ended(name: string, failed: boolean): void {
    const nowMs = this.#meter.nowMs();
    this.#close(nowMs);
    this.#meter.ended(name, nowMs - this.#startedMs, this.#spent, failed);
  }

  #close(nowMs: number): void {
    const ms = nowMs - this.#sinceMs;
    if (this.#kind === "client" || ms <= 0) return;
    if (this.#kind === "lease") {
      this.#add("lease", ms);
      return;
    }
    const leader = grown(this.#meter.totals("leader"), this.#leaderBefore, this.#kind !== "store");
    const store = grown(this.#meter.totals("store"), this.#storeBefore, this.#kind !== "leader");
    const total = leader.networkMs + leader.workMs + store.networkMs + store.workMs;
    if (total === 0) {
      this.#add(this.#kind === "store" ? "store" : "leader", ms);
      return;
    }
    const share = ms / total;
    this.#add("network", (leader.networkMs + store.networkMs) * share);
    this.#add("leader", Math.max(0, leader.workMs - leader.diskMs) * share);
    this.#add("ledger", leader.diskMs * share);
    this.#add("store", store.workMs * share);
  }

  #add(part: Part, ms: number): void {
    if (ms === 0) return;
    this.#spent ??= {};
    this.#spent[part] = (this.#spent[part] ?? 0) + ms;
  }
}

const nothingYet: RequestTotals = { networkMs: 0, workMs: 0, diskMs: 0 };

function grown(now: RequestTotals, before: RequestTotals, isWanted: boolean): RequestTotals {
  if (!isWanted) return nothingYet;
  return {
    networkMs: now.networkMs - before.networkMs,
    workMs: now.workMs - before.workMs,
    diskMs: now.diskMs - before.diskMs,
  };
}

/** The series of one operation. */
interface OperationSeries {
  readonly total: Histogram;
  readonly failures: Counter;
  readonly parts: Map<Part, Histogram>;
}

export class OperationMeter {
  readonly #platform: Platform;
  readonly #requests: RequestMetrics;
  readonly #metrics: Metrics;
  readonly #series = new Map<string, OperationSeries>();

  constructor(platform: Platform) {
    this.#platform = platform;
    this.#metrics = platform.metrics;
    this.#requests = RequestMetrics.of(platform.metrics);
  }

  begin(startedMs: number): OperationTime {
    return new OperationTime(this, startedMs);
  }

  nowMs(): number {
    return this.#platform.clock.nowMs();
  }

  totals(kind: "leader" | "store"): Readonly<RequestTotals> {
    return this.#requests.totals(kind);
  }

  /** @param spent milliseconds of the parts; what is missing was the client's own */
  ended(name: string, ms: number, spent: Partial<Record<Part, number>> | undefined, failed: boolean): void {
    const series = this.#seriesOf(name);
    series.total.observeMs(ms);
    if (failed) series.failures.add();
    let ownMs = ms;
    for (const part in spent) {
      const partMs = spent[part as Part]!;
      ownMs -= partMs;
      this.#part(name, series, part as Part).observeMs(partMs);
    }
    this.#part(name, series, "client").observeMs(Math.max(0, ownMs));
  }

  #seriesOf(operation: string): OperationSeries {
    let series = this.#series.get(operation);
    if (series === undefined) {
      const help = "File operations, from the call to the answer.";
      const failed = "File operations that were answered with an error; a name that isn't there is none.";
      series = {
        total: this.#metrics.histogram("brine_operation_seconds", help, { operation }),
        failures: this.#metrics.counter("brine_operation_failures_total", failed, { operation }),
        parts: new Map(),
      };
      this.#series.set(operation, series);
    }
    return series;
  }

  #part(operation: string, { parts: known }: OperationSeries, part: Part): Histogram {
    let histogram = known.get(part);
    if (histogram === undefined) {
      const help = "The part of brine_operation_seconds that was spent there, by operations that spent any there.";
      histogram = this.#metrics.histogram("brine_operation_part_seconds", help, { operation, part });
      known.set(part, histogram);
    }
    return histogram;
  }
}
