/**
 * Leases on the chunks of a file that several clients work on at once (under the inode's *split* lease). Each has a number
 * like an inode's, so that they are asked for, recalled and given back like leases on inodes:
 *
 *     2^52 + inode · 2^22 + index of the chunk in its file
 *
 * They are above all inodes: who waits for one holds only inodes and chunks with lower numbers.
 */
import { chunkBytes, fileBytesMax } from "./model.ts";

const base = 2 ** 52;
const chunksPerFile = fileBytesMax / chunkBytes;
/** Files with a higher number are never split. A volume has made a thousand million inodes by then. */
const inodesMax = (Number.MAX_SAFE_INTEGER + 1 - base) / chunksPerFile;

/** Whether chunks of this file can have leases. */
export function maySplit(inode: number): boolean {
  return inode < inodesMax;
}

export function chunkKey(inode: number, index: number): number {
  return base + inode * chunksPerFile + index;
}

export function isChunkKey(key: number): boolean {
  return key >= base;
}

/** The file of a chunk's key. */
export function fileOfKey(key: number): number {
  return Math.floor((key - base) / chunksPerFile);
}

/** Index of the chunk in its file. */
export function indexOfKey(key: number): number {
  return (key - base) % chunksPerFile;
}

/** An inode, or a chunk of one, for people. */
export function keyText(key: number): string {
  return isChunkKey(key) ? `chunk ${indexOfKey(key)} of inode ${fileOfKey(key)}` : `inode ${key}`;
}
