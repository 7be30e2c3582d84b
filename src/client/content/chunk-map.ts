/**
 * Where the chunks of a file lie, as known under its lease. The lease brings the beginning of the map; the rest is asked
 * for when it is needed. What isn't mapped is a hole.
 *
 * Most files have one chunk, and a client has many files: the first one has a place of its own.
 */
import type { Mapping } from "../../namespace/model.ts";

/** The answer for a file whose map is known whole. */
export const wholeMap = 2 ** 32 - 1;

/** Asks the leader for the map from an index on. */
export type MapFetcher = (from: number) => Promise<{ mappings: Mapping[]; mappedBelow: number }>;

export class ChunkMap {
  #first: number | undefined;
  /** Of the indexes above 0. */
  #others: Map<number, number> | undefined;
  /** The indexes of `#others` in order, if nothing has changed since they were sorted. */
  #sorted: number[] | undefined;
  readonly #fetch: MapFetcher;
  #knownBelow: number;
  #fetching: Promise<void> | undefined;

  /** @param mappings all mappings with an index below `knownBelow` */
  constructor(mappings: readonly Mapping[], knownBelow: number, fetch: MapFetcher) {
    this.#knownBelow = knownBelow;
    this.#fetch = fetch;
    for (const { index, chunk } of mappings) this.set(index, chunk);
  }

  /** True if `get` can speak of this index. */
  knows(index: number): boolean {
    return index < this.#knownBelow || this.#knownBelow === wholeMap;
  }

  /** Makes `get` able to speak of all indexes up to this one. */
  async load(index: number): Promise<void> {
    while (!this.knows(index)) {
      this.#fetching ??= this.#fetchMore().finally(() => {
        this.#fetching = undefined;
      });
      await this.#fetching;
    }
  }

  /** The chunk at an index; undefined for a hole. */
  get(index: number): number | undefined {
    if (!this.knows(index)) throw new Error(`the chunk map was not loaded up to index ${index}`);
    return index === 0 ? this.#first : this.#others?.get(index);
  }

  set(index: number, chunk: number): void {
    if (index === 0) this.#first = chunk;
    else {
      this.#others ??= new Map();
      if (!this.#others.has(index)) this.#sorted = undefined;
      this.#others.set(index, chunk);
    }
  }

  /** The index is a hole now. */
  delete(index: number): void {
    if (index === 0) this.#first = undefined;
    else if (this.#others?.delete(index) === true) this.#sorted = undefined;
  }

  /** Forgets the chunks from `index` on: they are holes now. */
  cut(index: number): void {
    if (index === 0) this.#first = undefined;
    if (this.#others !== undefined) {
      for (const known of [...this.#others.keys()]) if (known >= index) this.#others.delete(known);
      this.#sorted = undefined;
    }
    if (this.#knownBelow >= index) this.#knownBelow = wholeMap;
  }

  /** Mappings in the order of indexes, from `from` on, of those that are known. */
  mappings(from: number, limit: number): Mapping[] {
    const mappings: Mapping[] = [];
    if (from === 0 && this.#first !== undefined && limit > 0) mappings.push({ index: 0, chunk: this.#first });
    if (this.#others === undefined) return mappings;
    this.#sorted ??= [...this.#others.keys()].sort((left, right) => left - right);
    for (let at = lowerBound(this.#sorted, from); at < this.#sorted.length && mappings.length < limit; at++) {
      const index = this.#sorted[at]!;
      mappings.push({ index, chunk: this.#others.get(index)! });
    }
    return mappings;
  }

  async #fetchMore(): Promise<void> {
    const from = this.#knownBelow;
    const { mappings, mappedBelow } = await this.#fetch(from);
    if (mappedBelow <= from) throw new Error(`the chunk map from ${from} on ends at ${mappedBelow}`);
    for (const { index, chunk } of mappings) if (index < mappedBelow) this.set(index, chunk);
    this.#knownBelow = mappedBelow;
  }
}

/** Index of the first number that is not below `from`. */
function lowerBound(sorted: readonly number[], from: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < from) low = middle + 1;
    else high = middle;
  }
  return low;
}
