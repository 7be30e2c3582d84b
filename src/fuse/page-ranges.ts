/** A set of bytes of a file, as ranges in order that neither overlap nor touch. */

export interface ByteRange {
  readonly start: number;
  /** The first byte behind it. */
  readonly end: number;
}

/** Beyond so many they become one, from the first to the last byte: whoever asks is told too much, never too little. */
const rangesMax = 1_024;

export class PageRanges {
  #ranges: ByteRange[] = [];

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  add({ start, end }: ByteRange): void {
    if (start >= end) return;
    const before = this.#ranges.filter((one) => one.end < start);
    const behind = this.#ranges.filter((one) => one.start > end);
    const touching = this.#ranges.slice(before.length, this.#ranges.length - behind.length);
    const joined = {
      start: Math.min(start, touching[0]?.start ?? start),
      end: Math.max(end, touching.at(-1)?.end ?? end),
    };
    this.#ranges = [...before, joined, ...behind];
    if (this.#ranges.length > rangesMax)
      this.#ranges = [{ start: this.#ranges[0]!.start, end: this.#ranges.at(-1)!.end }];
  }

  /** Empties it, and returns what was in it. */
  take(): ByteRange[] {
    const taken = this.#ranges;
    this.#ranges = [];
    return taken;
  }
}

export function overlap(one: ByteRange, other: ByteRange): boolean {
  return one.start < other.end && other.start < one.end;
}

/** What is left of a range without these. */
export function without(range: ByteRange, holes: Iterable<ByteRange>): ByteRange[] {
  const left: ByteRange[] = [];
  let { start } = range;
  for (const hole of [...holes].filter((one) => overlap(one, range)).sort((a, b) => a.start - b.start)) {
    if (hole.start > start) left.push({ start, end: hole.start });
    start = Math.max(start, hole.end);
  }
  if (start < range.end) left.push({ start, end: range.end });
  return left;
}
