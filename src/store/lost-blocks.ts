/**
 * Blocks that had been written and that nobody has any more: the last store that had them is gone for good, and an operator has
 * accepted that. Without a mark they would be holes, and be read as zeros.
 *
 * A mark is an extent without data, with a version below that of every write: so whatever is written takes its place, and it
 * takes the place of nothing. It is cloned, compared and copied like any other extent. Readers get an error for it. Chunks that
 * got marks have a row in the index, so that the leader can be told of them; it is dropped when the last mark is gone.
 */
import { BrineError } from "../errors/brine-error.ts";
import type { KeyValue } from "../platform/key-value.ts";
import type { BadRange } from "../wire/catalogue/registration.ts";
import type { LostRange } from "../wire/catalogue/store.ts";
import { endBlock, isLost, lostVersion, overlay, type StoredExtent } from "./extents.ts";
import type { ExtentIndex } from "./index.ts";
import { lostKey, lostKeysEnd, lostKeysStart, numberOfKey } from "./keys.ts";

/** Its extents lie nowhere: the highest number that a row of the index has room for. */
const noSegment = 0xffff_ffff;
/** Looked at in one turn. */
const rowsAtOnce = 256;

/** The extents with marks where the range has holes. */
export function withLost(
  extents: readonly StoredExtent[],
  { firstBlock, blockCount }: Pick<LostRange, "firstBlock" | "blockCount">,
  generation: number,
): readonly StoredExtent[] {
  if (blockCount === 0) return extents;
  const mark: StoredExtent = {
    firstBlock,
    stamp: { version: lostVersion, generation, session: 0 },
    origin: 0,
    checksums: new Array(blockCount).fill(0),
    segment: noSegment,
    offset: 0,
  };
  return overlay(extents, mark, () => false).extents;
}

/** Errors: badChecksum. */
export function checkNotLost(chunk: number, extents: readonly StoredExtent[]): void {
  const lost = extents.find(({ stamp }) => isLost(stamp));
  if (lost === undefined) return;
  throw new BrineError(
    "badChecksum",
    `block ${lost.firstBlock} of chunk ${chunk} was lost with the last store that had it`,
  );
}

export class LostBlocks {
  readonly #keyValue: KeyValue;
  readonly #index: Pick<ExtentIndex, "peek">;

  constructor(keyValue: KeyValue, index: Pick<ExtentIndex, "peek">) {
    this.#keyValue = keyValue;
    this.#index = index;
  }

  /** The chunk may have got marks. */
  note(chunk: number, extents: readonly StoredExtent[]): void {
    if (extents.some(({ stamp }) => isLost(stamp))) this.#keyValue.put(lostKey(chunk), new Uint8Array(0));
  }

  /** Those that are lost now: the first ones. */
  now(limit: number): BadRange[] {
    const ranges: BadRange[] = [];
    for (const [key] of this.#keyValue.scan(lostKeysStart, lostKeysEnd, rowsAtOnce)) {
      const chunk = numberOfKey(key);
      const lost = (this.#index.peek(chunk)?.extents ?? []).filter(({ stamp }) => isLost(stamp));
      if (lost.length === 0) this.#keyValue.delete(key);
      for (const extent of lost) {
        if (ranges.length === limit) return ranges;
        ranges.push({ chunk, firstBlock: extent.firstBlock, blockCount: endBlock(extent) - extent.firstBlock });
      }
    }
    return ranges;
  }
}
