/** Writes brinefs' attributes into the kernel's structures. All functions write at `at` and return nothing. */
import { type Attributes, blockBytes, type FileType } from "../namespace/model.ts";
import { allocatedBytes } from "../namespace/usage.ts";
import { attr, attrOut, entryOut, rootNode, statxMask, statxOut, typeBits, typeMask } from "./protocol.ts";

/**
 * st_blksize: the size of request that tools use. With direct I/O each read(2) is a request, so large is good, but some
 * programs allocate it for each open file. coreutils' own choice is the same.
 */
export const preferredBytes = 256 * 1024;

const sectorBytes = 512;

const typesByBits = new Map<number, FileType>(Object.entries(typeBits).map(([type, bits]) => [bits, type as FileType]));

/** The type in an st_mode, or undefined if it has none that is known. */
export function typeOfMode(mode: number): FileType | undefined {
  return typesByBits.get(mode & typeMask);
}

/** d_type of a directory entry, readdir(3): the type bits of st_mode, moved down. */
export function directoryEntryType(type: FileType): number {
  return typeBits[type] >>> 12;
}

/** Node ids and inode numbers are the same, but for the root: the kernel calls it 1. */
export class NodeNumbers {
  readonly #root: number;

  constructor(root: number) {
    this.#root = root;
  }

  nodeOf(inode: number): number {
    if (inode === this.#root) return rootNode;
    if (inode === rootNode) throw new Error(`inode ${rootNode} is not the root, but the kernel would take it for that`);
    return inode;
  }

  inodeOf(node: number): number {
    return node === rootNode ? this.#root : node;
  }
}

/**
 * 512-byte sectors that the file takes: all up to its end, but no more than its mapped chunks have. If there are holes within
 * chunks, nobody knows how many: at least one block is missing then, so that cp(1) and tar(1) look where they are. Never none,
 * which they would take for a file without data.
 */
export function sectorsOf(attributes: Attributes): number {
  const bytes = allocatedBytes(attributes);
  if (!attributes.hasHoles) return bytes / sectorBytes;
  const blocks = Math.ceil(attributes.size / blockBytes);
  return Math.min(bytes, Math.max(1, blocks - 1) * blockBytes) / sectorBytes;
}

export function putU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value >>> 0, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

/** struct fuse_attr. */
export function putAttributes(view: DataView, at: number, attributes: Attributes): void {
  putU64(view, at + attr.inode, attributes.inode);
  putU64(view, at + attr.size, attributes.size);
  putU64(view, at + attr.blocks, sectorsOf(attributes));
  putTime(view, at + attr.atime, at + attr.atimeNs, attributes.atimeNs);
  putTime(view, at + attr.mtime, at + attr.mtimeNs, attributes.mtimeNs);
  putTime(view, at + attr.ctime, at + attr.ctimeNs, attributes.ctimeNs);
  view.setUint32(at + attr.mode, typeBits[attributes.type] | attributes.mode, true);
  view.setUint32(at + attr.linkCount, attributes.linkCount, true);
  view.setUint32(at + attr.uid, attributes.uid, true);
  view.setUint32(at + attr.gid, attributes.gid, true);
  view.setUint32(at + attr.device, attributes.device, true);
  view.setUint32(at + attr.blockSize, preferredBytes, true);
  view.setUint32(at + attr.bytes - 4, 0, true);
}

/** struct fuse_attr_out. */
export function putAttributesOut(view: DataView, at: number, attributes: Attributes, validMs: number): void {
  zero(view, at, attrOut.attr);
  putDuration(view, at + attrOut.validSeconds, at + attrOut.validNs, validMs);
  putAttributes(view, at + attrOut.attr, attributes);
}

/** struct fuse_entry_out. The generation is always 0: inode numbers are never used twice. */
export function putEntry(
  view: DataView,
  at: number,
  node: number,
  attributes: Attributes,
  valid: { readonly nameMs: number; readonly attributesMs: number },
): void {
  zero(view, at, entryOut.attr);
  putU64(view, at + entryOut.node, node);
  putDuration(view, at + entryOut.nameValidSeconds, at + entryOut.nameValidNs, valid.nameMs);
  putDuration(view, at + entryOut.attributesValidSeconds, at + entryOut.attributesValidNs, valid.attributesMs);
  putAttributes(view, at + entryOut.attr, attributes);
}

/** struct fuse_entry_out that says "no such name", and for how long. */
export function putAbsent(view: DataView, at: number, nameMs: number): void {
  zero(view, at, entryOut.bytes);
  putDuration(view, at + entryOut.nameValidSeconds, at + entryOut.nameValidNs, nameMs);
}

/** struct fuse_statx_out. */
export function putStatx(view: DataView, at: number, attributes: Attributes, validMs: number): void {
  zero(view, at, statxOut.bytes);
  putDuration(view, at + statxOut.validSeconds, at + statxOut.validNs, validMs);
  view.setUint32(at + statxOut.mask, statxMask, true);
  view.setUint32(at + statxOut.blockSize, preferredBytes, true);
  view.setUint32(at + statxOut.linkCount, attributes.linkCount, true);
  view.setUint32(at + statxOut.uid, attributes.uid, true);
  view.setUint32(at + statxOut.gid, attributes.gid, true);
  view.setUint16(at + statxOut.mode, typeBits[attributes.type] | attributes.mode, true);
  putU64(view, at + statxOut.inode, attributes.inode);
  putU64(view, at + statxOut.size, attributes.size);
  putU64(view, at + statxOut.blocks, sectorsOf(attributes));
  putTime(view, at + statxOut.atime, at + statxOut.atime + 8, attributes.atimeNs);
  putTime(view, at + statxOut.btime, at + statxOut.btime + 8, attributes.btimeNs);
  putTime(view, at + statxOut.ctime, at + statxOut.ctime + 8, attributes.ctimeNs);
  putTime(view, at + statxOut.mtime, at + statxOut.mtime + 8, attributes.mtimeNs);
  // new_encode_dev, linux/kdev_t.h: 12 bits of major between the two parts of minor.
  view.setUint32(at + statxOut.deviceMajor, (attributes.device >>> 8) & 0xfff, true);
  view.setUint32(at + statxOut.deviceMinor, (attributes.device & 0xff) | ((attributes.device >>> 12) & 0xfff00), true);
}

const second = 1_000_000_000n;

/** Seconds are signed and rounded down, so that nanoseconds are never negative. */
function putTime(view: DataView, secondsAt: number, nanosecondsAt: number, ns: bigint): void {
  let seconds = ns / second;
  let rest = ns % second;
  if (rest < 0n) {
    seconds -= 1n;
    rest += second;
  }
  view.setBigInt64(secondsAt, seconds, true);
  view.setUint32(nanosecondsAt, Number(rest), true);
}

function putDuration(view: DataView, secondsAt: number, nanosecondsAt: number, ms: number): void {
  const seconds = Math.floor(ms / 1000);
  putU64(view, secondsAt, seconds);
  view.setUint32(nanosecondsAt, Math.floor((ms - seconds * 1000) * 1e6), true);
}

function zero(view: DataView, at: number, bytes: number): void {
  for (let offset = 0; offset < bytes; offset += 4) view.setUint32(at + offset, 0, true);
}
