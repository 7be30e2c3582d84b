/**
 * What was read of a file ahead of its reader: segments of 512 KiB, kept until they were read through, the file is
 * written there, the lease goes, or others need the memory.
 *
 * A segment is the file's content at a moment after its reading began. Writers drop the segments they touch when they
 * begin and again when they are finished, so a segment that is still there has seen every write before.
 */

/** A quarter of a second of a 10 Gbit/s link is far more; this is what a store answers in about a millisecond. */
export const segmentBytes = 512 * 1024;
/** Of all files together. */
const budgetBytes = 64 * 1024 * 1024;

/** The data in order, in pieces. */
export type Pieces = readonly Uint8Array[];

interface Segment {
  readonly cache: ReadAheadCache;
  readonly index: number;
  readonly data: Promise<Pieces>;
}

/** Bounds the segments of all files; the oldest make room. */
export class ReadAheadBudget {
  readonly #segments = new Set<Segment>();
  readonly #segmentsMax: number;

  constructor(bytes: number = budgetBytes) {
    this.#segmentsMax = Math.floor(bytes / segmentBytes);
  }

  add(segment: Segment): void {
    if (this.#segments.size >= this.#segmentsMax) {
      const oldest = this.#segments.values().next().value!;
      oldest.cache.drop(oldest.index);
    }
    this.#segments.add(segment);
  }

  remove(segment: Segment): void {
    this.#segments.delete(segment);
  }

  get bytes(): number {
    return this.#segments.size * segmentBytes;
  }
}

export class ReadAheadCache {
  readonly #budget: ReadAheadBudget;
  readonly #segments = new Map<number, Segment>();

  constructor(budget: ReadAheadBudget) {
    this.#budget = budget;
  }

  /** The segment's data, there or on its way; undefined if nobody has asked for it. */
  get(index: number): Promise<Pieces> | undefined {
    return this.#segments.get(index)?.data;
  }

  /** Begins to read a segment; one that can't be read is forgotten. */
  start(index: number, load: () => Promise<Pieces>): void {
    if (this.#segments.has(index)) return;
    const segment: Segment = { cache: this, index, data: load() };
    segment.data.catch(() => {
      if (this.#segments.get(index) === segment) this.drop(index);
    });
    this.#segments.set(index, segment);
    this.#budget.add(segment);
  }

  drop(index: number): void {
    const segment = this.#segments.get(index);
    if (segment === undefined) return;
    this.#segments.delete(index);
    this.#budget.remove(segment);
  }

  /** Bytes from `from` up to `to` (exclusive) are going to change, or have changed. */
  invalidate(from: number, to: number): void {
    if (this.#segments.size === 0) return;
    const [first, last] = [Math.floor(from / segmentBytes), Math.ceil(to / segmentBytes)];
    for (const index of [...this.#segments.keys()]) if (index >= first && index < last) this.drop(index);
  }

  clear(): void {
    for (const index of [...this.#segments.keys()]) this.drop(index);
  }
}
