/**
 * What was added to the series in the last minute: snapshots every ten seconds, of which the oldest is subtracted from the
 * present. Kept by processes that serve people (mounts and servers), because `brine why` comes after what was slow.
 */
import type { Metrics, Series } from "./metrics.ts";

/** Six of them are the last minute, or up to ten seconds more. */
const intervalMs = 10_000;
const snapshotsMax = 7;

/** What it needs of the platform's clock. */
interface HistoryClock {
  nowMs(): number;
  startTimer(delayMs: number, callback: () => void): unknown;
}

interface Snapshot {
  readonly atMs: number;
  readonly series: Map<string, Series>;
}

export class History {
  readonly #clock: HistoryClock;
  readonly #metrics: Metrics;
  /** The oldest first. */
  #snapshots: Snapshot[] = [];
  /** How late the timer was: an event loop that is busy makes everything late. */
  lateMs = 0;

  private constructor(clock: HistoryClock, metrics: Metrics) {
    this.#clock = clock;
    this.#metrics = metrics;
  }

  /** Keeps the last minute from now on, as long as the process lives. */
  static keep(clock: HistoryClock, metrics: Metrics): void {
    const history = new History(clock, metrics);
    metrics.history = history;
    history.#take();
  }

  /** What was added since the oldest snapshot; gauges as they are now. */
  lastMinute(): { forMs: number; series: Series[] } {
    const from = this.#snapshots[0]!;
    const series = this.#metrics.series().map((now) => difference(now, from.series.get(seriesKey(now))));
    return { forMs: this.#clock.nowMs() - from.atMs, series };
  }

  #take(): void {
    const series = new Map(this.#metrics.series().map((one) => [seriesKey(one), one]));
    const nowMs = this.#clock.nowMs();
    this.#snapshots.push({ atMs: nowMs, series });
    if (this.#snapshots.length > snapshotsMax) this.#snapshots.shift();
    this.#clock.startTimer(intervalMs, () => {
      this.lateMs = Math.max(0, this.#clock.nowMs() - nowMs - intervalMs);
      this.#take();
    });
  }
}

/** Names a series among those of one process. */
export function seriesKey({ name, labels }: Series): string {
  const pairs = Object.entries(labels).sort(([left], [right]) => (left < right ? -1 : 1));
  return `${name}{${pairs.map(([label, value]) => `${label}=${value}`).join(",")}}`;
}

/** What `now` has more than `before`; all of it if there was nothing, or the process was started again. */
export function difference(now: Series, before: Series | undefined): Series {
  if (now.kind === "gauge" || before === undefined || before.count > now.count || before.value > now.value) return now;
  const counts = new Map(before.buckets.map(({ index, count }) => [index, count]));
  const buckets = now.buckets
    .map(({ index, count }) => ({ index, count: count - (counts.get(index) ?? 0) }))
    .filter(({ count }) => count > 0);
  return { ...now, value: now.value - before.value, count: now.count - before.count, buckets };
}

/** Two series as one: of two processes, or of two labels that need not be told apart. */
export function sum(left: Series, right: Series): Series {
  const counts = new Map(left.buckets.map(({ index, count }) => [index, count]));
  for (const { index, count } of right.buckets) counts.set(index, (counts.get(index) ?? 0) + count);
  const buckets = [...counts].map(([index, count]) => ({ index, count })).sort((one, other) => one.index - other.index);
  return { ...left, value: left.value + right.value, count: left.count + right.count, buckets };
}
