/**
 * Blocks of this store that were found bad: counted, and remembered as rows of the index with the place where they lie. One is
 * bad as long as the index has it at that place; after it was repaired, overwritten, deleted or moved the row says nothing
 * any more, and is dropped when it is met.
 */
import { decode, encode, struct, u64 } from "../codec/schema.ts";
import { firstChunkOf } from "../namespace/model.ts";
import type { KeyValue } from "../platform/key-value.ts";
import { type BadRange, badRangesMax } from "../wire/catalogue/registration.ts";
import { type BadBlock, badBlocksMax } from "../wire/catalogue/store.ts";
import { overlapping, type StoredExtent } from "./extents.ts";
import type { ExtentIndex } from "./index.ts";
import { badBlockKey, badBlockOfKey, badKeysEnd, badKeysStart, repairedKey } from "./keys.ts";
import type { LostBlocks } from "./lost-blocks.ts";

const repairedRow = struct({ blocks: u64 });
/** What the index says of chunks. */
interface Known {
  readonly index: Pick<ExtentIndex, "peek">;
  readonly lost: Pick<LostBlocks, "now">;
}

interface Place {
  readonly segment: number;
  readonly offset: number;
}

export class BadBlocks {
  readonly #keyValue: KeyValue;
  readonly #known: Known;
  #found: number;
  #repaired: number;
  /** What is remembered has changed and should be saved. */
  onChange: () => void = () => {};

  /** @param found how many were found before */
  constructor(keyValue: KeyValue, known: Known, found: number) {
    this.#keyValue = keyValue;
    this.#known = known;
    this.#found = found;
    const row = keyValue.get(repairedKey);
    this.#repaired = row === undefined ? 0 : decode(repairedRow, row).blocks;
  }

  /** Since the store was made. */
  get found(): number {
    return this.#found;
  }

  /** Of those that were found: a good copy has taken their place. */
  get repaired(): number {
    return this.#repaired;
  }

  /** Whether the block still lies there. */
  isThere(chunk: number, block: number, place: Place): boolean {
    return this.#extentAt(chunk, block, placeText(place)) !== undefined;
  }

  /** False for one that is known already: it is not counted again, unless it was written anew. */
  add(chunk: number, block: number, place: Place): boolean {
    const key = badBlockKey(chunk, block);
    const value = Buffer.from(placeText(place), "latin1");
    const before = this.#keyValue.get(key);
    if (before !== undefined && value.equals(before)) return false;
    this.#keyValue.put(key, value);
    this.#found += 1;
    this.onChange();
    return true;
  }

  /** Two may have repaired it at the same time: it counts once. */
  addRepaired(chunk: number, block: number): void {
    const key = badBlockKey(chunk, block);
    if (this.#keyValue.get(key) === undefined) return;
    this.#keyValue.delete(key);
    this.#repaired += 1;
    this.#keyValue.put(repairedKey, encode(repairedRow, { blocks: this.#repaired }));
    this.onChange();
  }

  /** Those that are bad now, or lost, neighbours together: the first ones. */
  now(): BadRange[] {
    const ranges: BadRange[] = [];
    for (const [key, value] of this.#keyValue.scan(badKeysStart, badKeysEnd, badRangesMax)) {
      const { chunk, block } = badBlockOfKey(key);
      if (this.#extentAt(chunk, block, textOf(value)) === undefined) {
        this.#keyValue.delete(key);
        this.onChange();
        continue;
      }
      const last = ranges.at(-1);
      if (last?.chunk === chunk && last.firstBlock + last.blockCount === block) last.blockCount += 1;
      else ranges.push({ chunk, firstBlock: block, blockCount: 1 });
    }
    return [...ranges, ...this.#known.lost.now(badRangesMax - ranges.length)];
  }

  /** Those of a group that are bad now: the first ones. */
  ofGroup(group: number): BadBlock[] {
    const found: BadBlock[] = [];
    const [start, end] = [group, group + 1].map((one) => badBlockKey(firstChunkOf(one), 0)) as [Uint8Array, Uint8Array];
    for (const [key, value] of this.#keyValue.scan(start, end, badBlocksMax)) {
      const { chunk, block } = badBlockOfKey(key);
      const extent = this.#extentAt(chunk, block, textOf(value));
      if (extent !== undefined) found.push({ chunk, firstBlock: block, version: extent.stamp.version });
    }
    return found;
  }

  /** What the store has of the block, if that lies at this place. */
  #extentAt(chunk: number, block: number, place: string): StoredExtent | undefined {
    const [extent] = overlapping(this.#known.index.peek(chunk)?.extents ?? [], block, block + 1);
    return extent !== undefined && placeText(extent) === place ? extent : undefined;
  }
}

function placeText({ segment, offset }: Place): string {
  return `${segment}:${offset}`;
}

function textOf(value: Uint8Array): string {
  return Buffer.from(value).toString("latin1");
}
