/**
 * Zeros take no space: blocks of a write that are all zeros get a record without data (record.ts) and an extent without a
 * place (extents.ts). They keep their versions and checksums, so they are compared, copied and overwritten like any others.
 * Holes that are punched into a chunk come as zeros, too, and give their space back by that.
 */
import { isZeros } from "../codec/zeros.ts";
import { blockBytes } from "../namespace/model.ts";

/** Between data fewer of them are data as well: a record of its own for each would cost more than it saves. */
export const zeroBlocksMin = 4;

/** Blocks of a write, counted from its first one; `to` is exclusive. */
export interface Piece {
  readonly from: number;
  readonly to: number;
  readonly isZeros: boolean;
}

/** Cuts whole blocks where zeros begin and end; neighbours differ. */
export function cutAtZeros(blocks: Uint8Array): Piece[] {
  const count = blocks.byteLength / blockBytes;
  const pieces: Piece[] = [];
  let dataFrom = 0;
  for (let block = 0; block < count; block++) {
    const zeros = zerosFrom(blocks, block, count);
    if (zeros === 0) continue;
    const to = block + zeros;
    if (zeros >= zeroBlocksMin || zeros === count) {
      if (dataFrom < block) pieces.push({ from: dataFrom, to: block, isZeros: false });
      pieces.push({ from: block, to, isZeros: true });
      dataFrom = to;
    }
    block = to;
  }
  if (dataFrom < count) pieces.push({ from: dataFrom, to: count, isZeros: false });
  return pieces;
}

function zerosFrom(blocks: Uint8Array, block: number, count: number): number {
  let end = block;
  while (end < count && isZeros(blocks, end * blockBytes, blockBytes)) end++;
  return end - block;
}
