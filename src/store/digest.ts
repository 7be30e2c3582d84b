/** A number that two members compare instead of the extents of a chunk. */
import { blocksPerChunk } from "../namespace/model.ts";
import { crc32c } from "../wire/crc32c.ts";
import type { StoredExtent } from "./extents.ts";

const bytesPerBlock = 30;
const scratch = new Uint8Array(blocksPerChunk * bytesPerBlock);
const view = new DataView(scratch.buffer);

/**
 * CRC32C over each block's number, version, origin and checksum: the same for the same blocks, however they are cut into
 * extents and whatever session or generation brought them here.
 */
export function digestOf(extents: readonly StoredExtent[]): number {
  let at = 0;
  for (const { firstBlock, stamp, origin, checksums } of extents) {
    for (let index = 0; index < checksums.length; index++) {
      view.setUint16(at, firstBlock + index, true);
      setU64(at + 2, stamp.version.grant);
      setU64(at + 10, stamp.version.sequence);
      setU64(at + 18, origin);
      view.setUint32(at + 26, checksums[index]!, true);
      at += bytesPerBlock;
    }
  }
  return crc32c(scratch, 0, at);
}

function setU64(position: number, value: number): void {
  view.setUint32(position, value >>> 0, true);
  view.setUint32(position + 4, Math.floor(value / 0x1_0000_0000), true);
}
