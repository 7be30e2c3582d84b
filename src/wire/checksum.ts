/**
 * Checksums of file data: CRC32C over a 4 KiB block and its identity.
 *
 * A checksum of the data alone would not notice a block that was written to or read from the wrong place, or an old
 * version of the right one. So 32 bytes of identity are summed after the data:
 *
 *     0        8            16             24                 32
 *     +--------+------------+--------------+------------------+   each a little-endian 64-bit integer
 *     | chunk  | block index| version.grant| version.sequence |
 *     +--------+------------+--------------+------------------+
 *
 * The writer makes it, stores keep it beside the data, and readers check it: end to end. A cloned block keeps the
 * chunk id (`origin`) and version that it was written with.
 */
import { shiftBy } from "../codec/crc32c-shift.ts";
import { blockBytes } from "../namespace/model.ts";
import type { Version } from "./catalogue/store.ts";
import { crc32c } from "./crc32c.ts";

const identityBytes = 32;
/** Used again for each block, so that a checksum allocates nothing. */
const identity = new Uint8Array(identityBytes);
const identityView = new DataView(identity.buffer);
const shiftByBlock = shiftBy(blockBytes);
const withoutIdentity = shiftBy(-identityBytes);

/**
 * @param block 4096 bytes
 * @param chunk id of the chunk that the block was written in first
 * @param blockIndex the block's place in the chunk, 0–1023
 */
export function blockChecksum(block: Uint8Array, chunk: number, blockIndex: number, version: Version): number {
  if (block.byteLength !== blockBytes) throw new RangeError(`a block of ${block.byteLength} bytes`);
  setIdentity(chunk, version);
  identityView.setUint32(8, blockIndex, true);
  return crc32c(identity, 0, identityBytes, crc32c(block));
}

/**
 * Checksums of blocks that lie one after the other in `data` (whole blocks) and are `firstBlock` and following in
 * their chunk, all of one version.
 */
export function blockChecksums(data: Uint8Array, chunk: number, firstBlock: number, version: Version): number[] {
  const count = wholeBlocks(data);
  setIdentity(chunk, version);
  const checksums: number[] = [];
  for (let index = 0; index < count; index++) checksums.push(nextChecksum(data, index, firstBlock));
  return checksums;
}

/**
 * Compares blocks with their checksums. Returns the position in `data` (counted in blocks) of the first one that
 * differs, or −1 if all are right.
 */
export function verifyBlocks(
  data: Uint8Array,
  chunk: number,
  firstBlock: number,
  version: Version,
  checksums: readonly number[],
): number {
  const count = wholeBlocks(data);
  if (checksums.length !== count) throw new RangeError(`${checksums.length} checksums for ${count} blocks`);
  setIdentity(chunk, version);
  for (let index = 0; index < count; index++) {
    if (nextChecksum(data, index, firstBlock) !== checksums[index]) return index;
  }
  return -1;
}

/**
 * CRC32C of the data of blocks that lie one after the other, all of one version, without looking at it: it follows from their
 * checksums. Only if these are right, as after `verifyBlocks`.
 */
export function dataChecksum(
  chunk: number,
  firstBlock: number,
  version: Version,
  checksums: readonly number[],
): number {
  setIdentity(chunk, version);
  let joined = 0;
  for (let index = 0; index < checksums.length; index++) {
    identityView.setUint32(8, firstBlock + index, true);
    // Without the identity's own part the checksum is that of the data, shifted by the identity's bytes: undone once, in the end.
    joined = shiftByBlock(joined) ^ checksums[index]! ^ crc32c(identity);
  }
  return withoutIdentity(joined);
}

function nextChecksum(data: Uint8Array, index: number, firstBlock: number): number {
  identityView.setUint32(8, firstBlock + index, true);
  const ofData = crc32c(data, index * blockBytes, (index + 1) * blockBytes);
  return crc32c(identity, 0, identityBytes, ofData);
}

function setIdentity(chunk: number, version: Version): void {
  setU64(0, chunk);
  setU64(16, version.grant);
  setU64(24, version.sequence);
}

function setU64(position: number, value: number): void {
  identityView.setUint32(position, value >>> 0, true);
  identityView.setUint32(position + 4, Math.floor(value / 0x1_0000_0000), true);
}

function wholeBlocks(data: Uint8Array): number {
  const count = data.byteLength / blockBytes;
  if (!Number.isInteger(count)) throw new RangeError(`${data.byteLength} bytes are not whole blocks`);
  return count;
}
