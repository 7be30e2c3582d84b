/** The counters of the namespace, in memory; written with each batch. */
import { encode } from "../../codec/schema.ts";
import { table, tableKey } from "../keys.ts";
import { decodeRow, type Header, headerRow } from "../rows.ts";
import type { CountedState } from "../state.ts";

export type Counter = "nextInode" | "nextSession" | "nextVolume" | "nextStore" | "nextGroup";

export class HeaderRow {
  readonly #state: CountedState;
  readonly #header: Header;

  constructor(state: CountedState) {
    this.#state = state;
    const key = tableKey(table.header);
    const row = state.get(key);
    this.#header = row === undefined ? { ...initial } : decodeRow(headerRow, row, key);
  }

  get appliedIndex(): number {
    return this.#header.appliedIndex;
  }

  set appliedIndex(index: number) {
    this.#header.appliedIndex = index;
  }

  get chunksToDelete(): number {
    return this.#header.chunksToDelete;
  }

  addChunksToDelete(count: number): void {
    this.#state.changeCount += 1;
    this.#header.chunksToDelete += count;
  }

  /** The number that `take` would give. */
  peek(counter: Counter): number {
    return this.#header[counter];
  }

  /** The first of `count` new numbers. */
  take(counter: Counter, count = 1): number {
    const first = this.#header[counter];
    this.#state.changeCount += 1;
    this.#header[counter] = first + count;
    return first;
  }

  /** Numbers below are not given any more. */
  skipTo(counter: Counter, next: number): void {
    if (next <= this.#header[counter]) return;
    this.take(counter, next - this.#header[counter]);
  }

  flush(): void {
    this.#state.put(tableKey(table.header), encode(headerRow, this.#header));
  }
}

/** All numbers begin at 1: 0 stands for "none", and session 0 for the leader. */
const initial: Header = {
  appliedIndex: 0,
  nextInode: 1,
  nextSession: 1,
  nextVolume: 1,
  nextStore: 1,
  nextGroup: 1,
  chunksToDelete: 0,
};
