/**
 * The blocks of one chunk as a sorted list of extents that do not overlap, and what writing and removing do to it.
 * Pure: lists and extents are never changed, so a reader that holds a list has a snapshot.
 *
 *     before      ├──── a ────┤      ├─ b ─┤        (b has a higher version than the new one)
 *     new              ├───────── n ─────────┤
 *     after       ├─ a ┤├──── n ─────┤├─ b ─┤├n┤     released: the right half of a; refused: n under b
 */
import { blockBytes } from "../namespace/model.ts";
import { compareVersions, type Version } from "../wire/catalogue/store.ts";
import type { Stamp } from "./record.ts";

/** Blocks that were written together and lie together in a segment. */
export interface StoredExtent {
  readonly firstBlock: number;
  readonly stamp: Stamp;
  /** Chunk that the checksums were made for. */
  readonly origin: number;
  /** One a block, so its length is the number of blocks. */
  readonly checksums: readonly number[];
  readonly segment: number;
  /** Byte offset of the first block in the segment; 0, where its header is: the blocks are zeros, which the segment's log says. */
  readonly offset: number;
}

/** A stretch of a segment. From offset 0 on: so many bytes of zeros, without a place of their own. */
export interface Place {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
}

/** Below every version that a write can have. */
export const lostVersion: Version = { grant: 0, sequence: 0 };

/** Blocks of zeros that were written and take no space: see zeros.ts. */
export function isZeros({ offset, stamp }: Pick<StoredExtent, "offset" | "stamp">): boolean {
  return offset === 0 && !isLost(stamp);
}

/** Blocks that had been written and that nobody has any more: see lost-blocks.ts. */
export function isLost({ version }: { readonly version: Version }): boolean {
  return version.grant === 0;
}

export interface Overlay {
  readonly extents: readonly StoredExtent[];
  /** What the chunk held before and holds no longer. */
  readonly released: readonly StoredExtent[];
  /** What of the new extent did not get in. */
  readonly refused: readonly StoredExtent[];
}

export function endBlock(extent: StoredExtent): number {
  return extent.firstBlock + extent.checksums.length;
}

export function placeOf(extent: StoredExtent): Place {
  const length = isLost(extent.stamp) ? 0 : extent.checksums.length * blockBytes;
  return { segment: extent.segment, offset: extent.offset, length };
}

export function sameStamp(left: Stamp, right: Stamp): boolean {
  return (
    left.generation === right.generation &&
    left.session === right.session &&
    compareVersions(left.version, right.version) === 0
  );
}

/** The same bytes of the same writing: extents that differ in nothing but their places and their cut. */
export function sameBlocks(left: StoredExtent, right: StoredExtent): boolean {
  return left.origin === right.origin && sameStamp(left.stamp, right.stamp);
}

/** The part of an extent from block `from` to block `to` (exclusive), both of the chunk. */
export function part(extent: StoredExtent, from: number, to: number): StoredExtent {
  if (from === extent.firstBlock && to === endBlock(extent)) return extent;
  const skip = from - extent.firstBlock;
  return {
    firstBlock: from,
    stamp: extent.stamp,
    origin: extent.origin,
    checksums: extent.checksums.slice(skip, to - extent.firstBlock),
    segment: extent.segment,
    offset: extent.offset === 0 ? 0 : extent.offset + skip * blockBytes,
  };
}

/** Index of the first extent that ends behind `block`. */
function indexOf(extents: readonly StoredExtent[], block: number): number {
  let low = 0;
  let high = extents.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (endBlock(extents[middle]!) > block) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Parts of the extents that lie in [from, to). */
export function overlapping(extents: readonly StoredExtent[], from: number, to: number): StoredExtent[] {
  const found: StoredExtent[] = [];
  for (let index = indexOf(extents, from); index < extents.length; index++) {
    const extent = extents[index]!;
    if (extent.firstBlock >= to) break;
    found.push(part(extent, Math.max(from, extent.firstBlock), Math.min(to, endBlock(extent))));
  }
  return found;
}

/** Lays `added` over the extents: it takes holes, and the blocks of those extents over which it `wins`. */
export function overlay(
  extents: readonly StoredExtent[],
  added: StoredExtent,
  wins: (present: StoredExtent) => boolean,
): Overlay {
  const from = added.firstBlock;
  const to = endBlock(added);
  const start = indexOf(extents, from);
  const middle: StoredExtent[] = [];
  const released: StoredExtent[] = [];
  const refused: StoredExtent[] = [];
  let rest: StoredExtent | undefined;
  // Blocks of `added` from here on are its own as far as has been looked, and not yet in `middle`.
  let wonFrom = from;
  let index = start;
  for (; index < extents.length; index++) {
    const present = extents[index]!;
    if (present.firstBlock >= to) break;
    const low = Math.max(from, present.firstBlock);
    const high = Math.min(to, endBlock(present));
    if (wins(present)) {
      if (present.firstBlock < from) middle.push(part(present, present.firstBlock, from));
      released.push(part(present, low, high));
      if (endBlock(present) > to) rest = part(present, to, endBlock(present));
    } else {
      if (wonFrom < low) middle.push(part(added, wonFrom, low));
      middle.push(present);
      refused.push(part(added, low, high));
      wonFrom = high;
    }
  }
  if (wonFrom < to) middle.push(part(added, wonFrom, to));
  if (rest !== undefined) middle.push(rest);
  return { extents: extents.toSpliced(start, index - start, ...middle), released, refused };
}

/** Makes holes of the blocks in [from, to) that belong to extents which are `doomed`. */
export function remove(
  extents: readonly StoredExtent[],
  from: number,
  to: number,
  doomed: (present: StoredExtent) => boolean,
): Overlay {
  const start = indexOf(extents, from);
  const middle: StoredExtent[] = [];
  const released: StoredExtent[] = [];
  let index = start;
  for (; index < extents.length; index++) {
    const present = extents[index]!;
    if (present.firstBlock >= to) break;
    if (!doomed(present)) {
      middle.push(present);
      continue;
    }
    const end = endBlock(present);
    if (present.firstBlock < from) middle.push(part(present, present.firstBlock, from));
    released.push(part(present, Math.max(from, present.firstBlock), Math.min(to, end)));
    if (end > to) middle.push(part(present, to, end));
  }
  return { extents: extents.toSpliced(start, index - start, ...middle), released, refused: [] };
}

/** How a client's write fares against what is there: see `writeBlocks` in the catalogue. */
export type Standing = "lower" | "same" | "laterOfGrant" | "superseded";

export function standing(present: Version, written: Version): Standing {
  const order = compareVersions(present, written);
  if (order < 0) return "lower";
  if (order === 0) return "same";
  return present.grant === written.grant ? "laterOfGrant" : "superseded";
}
