/**
 * What a process counts and measures, by name and labels. Made to be left on: to observe a value is a few array accesses,
 * allocates nothing and takes a few tens of nanoseconds; memory is fixed by the number of series.
 *
 *     const latency = metrics.histogram("brine_log_commit_seconds", "Write and sync of one commit.", { log: "LDGR" });
 *     latency.observeMs(clock.nowMs() - startedMs);
 *
 * Asked for again with the same name and labels, a counter or histogram is the same one. It knows no clock: times come from
 * its user, who has them from the platform.
 */
import { bucketCount, bucketOf, type SparseBuckets } from "./buckets.ts";
import type { History } from "./history.ts";

/** Series of one process; a defect that makes labels without end must not eat the memory. */
const seriesMax = 4096;

export type Labels = Readonly<Record<string, string>>;
export type SeriesKind = "counter" | "gauge" | "histogram";

/** One series as it is now, or (history.ts) what was added to it. */
export interface Series {
  readonly name: string;
  readonly labels: Labels;
  readonly kind: SeriesKind;
  /** Of a counter or gauge; of a histogram the sum of what was observed. In seconds where the name says so. */
  readonly value: number;
  /** Observations of a histogram; 0 for the others. */
  readonly count: number;
  /** In microseconds for seconds. */
  readonly buckets: SparseBuckets;
}

/** Only grows. */
export class Counter {
  value = 0;

  add(amount = 1): void {
    this.value += amount;
  }
}

export class Histogram {
  readonly #counts = new Float64Array(bucketCount);
  /** Values per unit of the name: 10^6 for seconds, which are kept as microseconds. */
  readonly scale: number;
  count = 0;
  #sum = 0;

  constructor(scale: number) {
    this.scale = scale;
  }

  /** A value in the unit that is kept: microseconds, bytes, a number. */
  observe(value: number): void {
    const bucket = bucketOf(value);
    this.#counts[bucket]! += 1;
    this.count += 1;
    this.#sum += value;
  }

  observeMs(ms: number): void {
    this.observe(ms * 1000);
  }

  /** In the unit of the name. */
  get sum(): number {
    return this.#sum / this.scale;
  }

  /** In milliseconds, of a histogram of seconds. */
  get sumMs(): number {
    return this.#sum / 1000;
  }

  buckets(): SparseBuckets {
    const found: { index: number; count: number }[] = [];
    if (this.count === 0) return found;
    for (let index = 0; index < bucketCount; index++) {
      const count = this.#counts[index]!;
      if (count > 0) found.push({ index, count });
    }
    return found;
  }
}

/** All series of one name. */
interface Family {
  readonly name: string;
  readonly help: string;
  readonly kind: SeriesKind;
  readonly members: Map<string, { readonly labels: Labels; readonly holds: Counter | Histogram | (() => number) }>;
}

export interface FamilyView {
  readonly name: string;
  readonly help: string;
  readonly kind: SeriesKind;
  /** Kept values per unit, for histograms. */
  readonly scale: number;
  readonly series: readonly Series[];
}

export class Metrics {
  readonly #families = new Map<string, Family>();
  #count = 0;
  /** What was added in the last minute, in processes that keep it. */
  history: History | undefined;

  counter(name: string, help: string, labels: Labels = {}): Counter {
    return this.#member(name, help, "counter", labels, () => new Counter()) as Counter;
  }

  /** Values in the unit that the name ends with: `_seconds`, `_bytes`, else a number of something. */
  histogram(name: string, help: string, labels: Labels = {}): Histogram {
    return this.#member(name, help, "histogram", labels, () => new Histogram(scaleOf(name))) as Histogram;
  }

  /** A value that is read when it is asked for. A later one of the same name and labels takes its place. */
  gauge(name: string, help: string, labels: Labels, read: () => number): void {
    this.#read(name, help, "gauge", labels, read);
  }

  /** A counter that somebody else keeps, read like a gauge. */
  reading(name: string, help: string, labels: Labels, read: () => number): void {
    this.#read(name, help, "counter", labels, read);
  }

  #read(name: string, help: string, kind: SeriesKind, labels: Labels, read: () => number): void {
    const family = this.#family(name, help, kind);
    const key = keyOf(labels);
    if (!family.members.has(key)) this.#count += 1;
    if (this.#count <= seriesMax) family.members.set(key, { labels, holds: read });
  }

  /** Everything as it is now, by name. */
  families(): FamilyView[] {
    return [...this.#families.values()].map(({ name, help, kind, members }) => {
      const series = [...members.values()].map(({ labels, holds }) => seriesOf(name, kind, labels, holds));
      return { name, help, kind, scale: scaleOf(name), series };
    });
  }

  series(): Series[] {
    return this.families().flatMap((family) => family.series);
  }

  #member(
    name: string,
    help: string,
    kind: SeriesKind,
    labels: Labels,
    make: () => Counter | Histogram,
  ): Counter | Histogram | (() => number) {
    const family = this.#family(name, help, kind);
    const key = keyOf(labels);
    const known = family.members.get(key);
    if (known !== undefined) return known.holds;
    const made = make();
    // Beyond the bound it counts for nobody: better than memory without end.
    if (this.#count >= seriesMax) return made;
    this.#count += 1;
    family.members.set(key, { labels, holds: made });
    return made;
  }

  #family(name: string, help: string, kind: SeriesKind): Family {
    const known = this.#families.get(name);
    if (known !== undefined) {
      if (known.kind !== kind) throw new Error(`${name} is a ${known.kind} already, now a ${kind}`);
      return known;
    }
    const family: Family = { name, help, kind, members: new Map() };
    this.#families.set(name, family);
    return family;
  }
}

function scaleOf(name: string): number {
  return name.endsWith("_seconds") ? 1_000_000 : 1;
}

function keyOf(labels: Labels): string {
  let key = "";
  for (const name in labels) key += `${name}=${labels[name]}\n`;
  return key;
}

function seriesOf(name: string, kind: SeriesKind, labels: Labels, holds: Counter | Histogram | (() => number)): Series {
  if (holds instanceof Histogram) {
    return { name, labels, kind, value: holds.sum, count: holds.count, buckets: holds.buckets() };
  }
  return { name, labels, kind, value: holds instanceof Counter ? holds.value : holds(), count: 0, buckets: [] };
}
