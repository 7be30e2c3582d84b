/**
 * Where the chunks of a file lie, as known under its lease. The lease brings the beginning of the map; the rest is asked
 * for when it is needed. What isn't mapped is a hole.
 */
import type { Mapping } from "../../namespace/model.ts";

/** The answer for a file whose map is known whole. */
export const wholeMap = 2 ** 32 - 1;

export class ChunkMap {
  readonly #chunks = new Map<number, number>();
  readonly #fetch: (from: number) => Promise<{ mappings: Mapping[]; mappedBelow: number }>;
  #knownBelow: number;
  #fetching: Promise<void> | undefined;

  /**
   * @param mappings all mappings with an index below `knownBelow`
   * @param fetch asks the leader for the map from an index on
   */
  constructor(
    mappings: readonly Mapping[],
    knownBelow: number,
    fetch: (from: number) => Promise<{ mappings: Mapping[]; mappedBelow: number }>,
  ) {
    for (const { index, chunk } of mappings) this.#chunks.set(index, chunk);
    this.#knownBelow = knownBelow;
    this.#fetch = fetch;
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
    return this.#chunks.get(index);
  }

  set(index: number, chunk: number): void {
    this.#chunks.set(index, chunk);
  }

  /** Forgets the chunks from `index` on: they are holes now. */
  cut(index: number): void {
    for (const known of [...this.#chunks.keys()]) if (known >= index) this.#chunks.delete(known);
    if (this.#knownBelow >= index) this.#knownBelow = wholeMap;
  }

  async #fetchMore(): Promise<void> {
    const from = this.#knownBelow;
    const { mappings, mappedBelow } = await this.#fetch(from);
    if (mappedBelow <= from) throw new Error(`the chunk map from ${from} on ends at ${mappedBelow}`);
    for (const { index, chunk } of mappings) if (index < mappedBelow) this.#chunks.set(index, chunk);
    this.#knownBelow = mappedBelow;
  }
}
