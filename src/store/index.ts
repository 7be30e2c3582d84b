/**
 * Which extents a chunk has: rows of the KeyValue, with the chunks used last kept decoded in memory. A change stays in
 * memory, marked dirty, until `save`; all dirty chunks go into the same commit as the position in the log up to which
 * they are true, so the KeyValue's commits are always exact states of the log.
 *
 * Owned by state.ts, which is the only one to change it; everyone may read. States and extents are never changed in
 * place: who holds one has a snapshot.
 */
import { DiskError } from "../platform/disk.ts";
import type { KeyValue } from "../platform/key-value.ts";
import { type ChunkState, decodeChunk, encodeChunk } from "./chunk-row.ts";
import { endBlock } from "./extents.ts";
import { chunkKey, numberOfKey } from "./keys.ts";

/**
 * Decoded chunks that are kept, weighed in extents (a block's checksum counts an eighth): about 200 bytes each, so 40 MB.
 * Of files written in one piece that is 1,500 chunks (6 GiB); of ones overwritten block by block 200 chunks.
 */
const cleanWeightMax = 200_000;
/** What is forgotten when there is too much. */
const forgottenWeight = cleanWeightMax / 16;
/** Dirty ones above this should be saved soon. */
const dirtyWeightMax = 300_000;

export class ExtentIndex {
  readonly #keyValue: KeyValue;
  readonly #onDamage: (reason: string) => void;
  /** Least recently used first. */
  readonly #clean = new Map<number, ChunkState>();
  #cleanWeight = 0;
  /** undefined: deleted. */
  readonly #dirty = new Map<number, ChunkState | undefined>();
  #dirtyWeight = 0;

  /** @param onDamage gets what is wrong with a row that makes no sense */
  constructor(keyValue: KeyValue, onDamage: (reason: string) => void) {
    this.#keyValue = keyValue;
    this.#onDamage = onDamage;
  }

  get(chunk: number): ChunkState | undefined {
    const changed = this.#dirty.get(chunk);
    if (changed !== undefined || this.#dirty.has(chunk)) return changed;
    const known = this.#clean.get(chunk);
    if (known !== undefined) {
      this.#clean.delete(chunk);
      this.#clean.set(chunk, known);
      return known;
    }
    const row = this.#keyValue.get(chunkKey(chunk));
    if (row === undefined) return undefined;
    const state = this.#decode(chunk, row);
    this.#keepClean(chunk, state);
    return state;
  }

  /** Like `get`, for those who go through all chunks: what is used often isn't forgotten for it. */
  peek(chunk: number): ChunkState | undefined {
    const changed = this.#dirty.get(chunk);
    if (changed !== undefined || this.#dirty.has(chunk)) return changed;
    const known = this.#clean.get(chunk);
    if (known !== undefined) return known;
    const row = this.#keyValue.get(chunkKey(chunk));
    return row === undefined ? undefined : this.#decode(chunk, row);
  }

  set(chunk: number, state: ChunkState | undefined): void {
    const known = this.#clean.get(chunk);
    if (known !== undefined) {
      this.#clean.delete(chunk);
      this.#cleanWeight -= weightOf(known);
    }
    this.#dirtyWeight += weightOf(state) - weightOf(this.#dirty.get(chunk));
    this.#dirty.set(chunk, state);
  }

  /** Numbers of the chunks in [from, to), in order, at most `limit` (≤ 1,000). */
  list(from: number, to: number, limit: number): number[] {
    const changed = [...this.#dirty.keys()].filter((chunk) => chunk >= from && chunk < to);
    const numbers = changed.filter((chunk) => this.#dirty.get(chunk) !== undefined);
    for (let next = from; ; ) {
      const rows = this.#keyValue.scan(chunkKey(next), chunkKey(to), limit);
      const stored = rows.map(([key]) => numberOfKey(key));
      for (const chunk of stored) if (!this.#dirty.has(chunk)) numbers.push(chunk);
      const last = stored.at(-1);
      if (last === undefined || stored.length < limit) break;
      // Enough that none which is missing could come before the last one wanted.
      if (numbers.filter((chunk) => chunk <= last).length >= limit) break;
      next = last + 1;
    }
    return numbers.sort((left, right) => left - right).slice(0, limit);
  }

  /** True if so much is dirty that it should be saved. */
  get isHeavy(): boolean {
    return this.#dirtyWeight > dirtyWeightMax;
  }

  /** Puts the dirty chunks into the KeyValue; the caller commits. */
  save(): void {
    for (const [chunk, state] of this.#dirty) {
      if (state === undefined) this.#keyValue.delete(chunkKey(chunk));
      else {
        this.#keyValue.put(chunkKey(chunk), encodeChunk(state));
        this.#keepClean(chunk, state);
      }
    }
    this.#dirty.clear();
    this.#dirtyWeight = 0;
  }

  /** Errors: DiskError EUCLEAN. */
  #decode(chunk: number, row: Uint8Array): ChunkState {
    try {
      return decodeChunk(row);
    } catch (error) {
      const reason = `the row of chunk ${chunk} is damaged: ${(error as Error).message}`;
      this.#onDamage(reason);
      throw new DiskError("EUCLEAN", "decode", reason, error);
    }
  }

  #keepClean(chunk: number, state: ChunkState): void {
    this.#clean.set(chunk, state);
    this.#cleanWeight += weightOf(state);
    if (this.#cleanWeight <= cleanWeightMax) return;
    // Many at once: a Map's iterator walks over all that was deleted at its front before.
    for (const [oldest, forgotten] of this.#clean) {
      if (this.#cleanWeight <= cleanWeightMax - forgottenWeight || this.#clean.size === 1) break;
      this.#clean.delete(oldest);
      this.#cleanWeight -= weightOf(forgotten);
    }
  }
}

function weightOf(state: ChunkState | undefined): number {
  if (state === undefined) return 1;
  const { extents } = state;
  // Each write asks for it, so it must not go through all extents: counts the blocks from the first to the last one.
  const blocks = extents.length === 0 ? 0 : endBlock(extents.at(-1)!) - extents[0]!.firstBlock;
  return 2 + extents.length + blocks / 8;
}
