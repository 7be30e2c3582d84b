/** Blocks of a chunk that come to be written, and which ranges of blocks there can be. */
import { BrineError } from "../errors/brine-error.ts";
import { blockBytes, blocksPerChunk } from "../namespace/model.ts";
import type { Version } from "../wire/catalogue/store.ts";
import { dataChecksum } from "../wire/checksum.ts";
import type { RecordOf } from "./record.ts";

export interface BlockWrite {
  readonly chunk: number;
  readonly firstBlock: number;
  readonly version: Version;
  readonly checksums: number[];
  readonly generation: number;
  readonly session: number;
  /** It was acknowledged already, or makes members equal again: it finds room where others don't (DiskRoom.takesRestored). */
  readonly restores?: boolean;
}

/** For the log, of blocks that have the checksums they should: they aren't summed a second time. */
export function checksumOfData(blocks: Omit<RecordOf<"write">, "kind">): number {
  const { origin, firstBlock, stamp, checksums } = blocks;
  return dataChecksum(origin, firstBlock, stamp.version, checksums);
}

/** Errors: invalid. */
export function checkRange(firstBlock: number, blockCount: number, byteCount: number): void {
  if (blockCount >= 1 && firstBlock + blockCount <= blocksPerChunk && byteCount === blockCount * blockBytes) return;
  throw new BrineError("invalid", `${blockCount} blocks from ${firstBlock} on with ${byteCount} bytes`);
}
