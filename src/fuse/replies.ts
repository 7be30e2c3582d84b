/**
 * Answers requests. Each is built in one buffer that all share and handed to the transport before the call returns, so
 * nothing is allocated for it. Every method returns false if the kernel no longer waits for the answer: what it would
 * have granted (an open handle) must then be taken back.
 *
 * How long the kernel may keep names and attributes is asked in the turn in which the answer is written. Answers that the
 * kernel takes without a look at the inode's version of attributes (SETATTR, and all that make a name) don't let it keep
 * attributes: if the lease went just after the answer, INVAL_INODE would come before the kernel has taken it, and it would
 * keep what is outdated. LOOKUP and GETATTR do. CREATE does for a moment, because open(2) looks at the attributes of what it has
 * just made: notifications.ts.
 */

import type { Attributes, DirectoryEntry, FileSystem, LockRange, VolumeSpace } from "../client/file-system.ts";
import { type ErrnoName, errno } from "../errors/errno.ts";
import { nameBytesMax } from "../namespace/model.ts";
import type { KernelNodes } from "./kernel-nodes.ts";
import {
  directoryEntryType,
  type NodeNumbers,
  putAbsent,
  putAttributesOut,
  putEntry,
  putStatx,
  putU64,
} from "./layout.ts";
import {
  attrOut,
  dataBytesMax,
  directoryEntry,
  entryOut,
  lockOut,
  lockType,
  openOut,
  openReply,
  outHeader,
  seekOut,
  statfsOut,
  statxOut,
  writeOut,
} from "./protocol.ts";
import type { Request } from "./request.ts";
import type { FuseTransport } from "./transport.ts";

/** The block that statfs counts in. */
const statfsBlockBytes = 4096;
/** Inodes are numbers below 2^53 and cost no table: `df -i` shows this many free ones. */
const freeInodeCount = 2 ** 32;
/**
 * Data is not kept in the kernel's page cache, but for mapped memory; writers of one file don't queue on its inode lock
 * (Linux 6.2+).
 */
const openReplyFlags = openReply.DIRECT_IO | openReply.PARALLEL_DIRECT_WRITES;

/** How long the kernel keeps the attributes of a file just made: the shortest that it can, up to two of its ticks. */
const newFileKeptMs = 1;
/** Not if the session ends so soon that it might keep them longer. */
const sessionLeftMs = 1_000;

/** A name in a directory listing. */
export type ListedEntry = Pick<DirectoryEntry, "name" | "inode" | "type"> & {
  /** Where the listing goes on behind this entry. */
  readonly offset: number;
};

export class Replies {
  readonly #transport: FuseTransport;
  readonly #nodes: NodeNumbers;
  readonly #fileSystem: Pick<FileSystem, "nameValidMs" | "attributesValidMs">;
  readonly #known: KernelNodes;
  /** The kernel can be told to forget names (INC_EPOCH); else it must not keep any. */
  keepsNames = false;
  /** The kernel keeps pages of mapped memory right: see `keepPagesMinor`. */
  keepsPages = false;
  /** The largest reply that is built here: a listing. */
  readonly #buffer = Buffer.alloc(outHeader.bytes + dataBytesMax);
  readonly #view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset, this.#buffer.byteLength);

  constructor(
    transport: FuseTransport,
    nodes: NodeNumbers,
    fileSystem: Pick<FileSystem, "nameValidMs" | "attributesValidMs">,
    known: KernelNodes,
  ) {
    this.#transport = transport;
    this.#nodes = nodes;
    this.#fileSystem = fileSystem;
    this.#known = known;
  }

  error(request: Request, name: ErrnoName): boolean {
    return this.#send(request, 0, -errno[name]);
  }

  /** A success that says nothing more. */
  done(request: Request): boolean {
    return this.#send(request, 0);
  }

  attributes(request: Request, attributes: Attributes): boolean {
    const validMs = this.#fileSystem.attributesValidMs(attributes.inode);
    putAttributesOut(this.#view, outHeader.bytes, attributes, validMs);
    return this.#send(request, attrOut.bytes);
  }

  /** SETATTR has been done. */
  changed(request: Request, attributes: Attributes): boolean {
    putAttributesOut(this.#view, outHeader.bytes, attributes, 0);
    return this.#send(request, attrOut.bytes);
  }

  statx(request: Request, attributes: Attributes): boolean {
    putStatx(this.#view, outHeader.bytes, attributes, this.#fileSystem.attributesValidMs(attributes.inode));
    return this.#send(request, statxOut.bytes);
  }

  /** The name has been looked up. */
  found(request: Request, parent: number, attributes: Attributes): boolean {
    const attributesMs = this.#fileSystem.attributesValidMs(attributes.inode);
    return this.#entry(request, parent, attributes, attributesMs, entryOut.bytes);
  }

  /** The name has been made. */
  made(request: Request, parent: number, attributes: Attributes): boolean {
    return this.#entry(request, parent, attributes, 0, entryOut.bytes);
  }

  /** There is no such name. */
  absent(request: Request, parent: number): boolean {
    const nameMs = this.#nameMs(parent);
    if (nameMs === 0) return this.error(request, "ENOENT");
    putAbsent(this.#view, outHeader.bytes, nameMs);
    return this.#send(request, entryOut.bytes);
  }

  /** `keepPages`: pages of mapped memory that the kernel has may be used by this open, too. */
  opened(request: Request, handle: number, keepPages: boolean): boolean {
    this.#putOpened(outHeader.bytes, handle, keepPages && this.keepsPages);
    return this.#send(request, openOut.bytes);
  }

  /** `isNew`: the file was made, the kernel hasn't heard of it before. */
  created(request: Request, parent: number, attributes: Attributes, handle: number, isNew: boolean): boolean {
    this.#putOpened(outHeader.bytes + entryOut.bytes, handle, false);
    const mayKeep = isNew && this.#fileSystem.attributesValidMs(attributes.inode) > sessionLeftMs;
    const keptMs = mayKeep ? newFileKeptMs : 0;
    const delivered = this.#entry(request, parent, attributes, keptMs, entryOut.bytes + openOut.bytes);
    if (delivered && mayKeep) this.#known.setNew(this.#nodes.nodeOf(attributes.inode));
    return delivered;
  }

  written(request: Request, size: number): boolean {
    putU64(this.#view, outHeader.bytes + writeOut.size, size);
    return this.#send(request, writeOut.bytes);
  }

  sought(request: Request, offset: number): boolean {
    putU64(this.#view, outHeader.bytes + seekOut.offset, offset);
    return this.#send(request, seekOut.bytes);
  }

  /** Data of a READ, or a symlink's target. The parts go to the kernel without being joined. */
  data(request: Request, parts: readonly Uint8Array[]): boolean {
    let size = 0;
    for (const part of parts) size += part.byteLength;
    return this.#send(request, size, 0, parts);
  }

  /** A lock that is in the way, or that none is. */
  lock(request: Request, lock: LockRange | undefined): boolean {
    const at = outHeader.bytes;
    this.#buffer.fill(0, at, at + lockOut.bytes);
    if (lock === undefined) {
      this.#view.setUint32(at + lockOut.type, lockType.UNLOCK, true);
      return this.#send(request, lockOut.bytes);
    }
    this.#view.setBigInt64(at + lockOut.start, lock.start, true);
    this.#view.setBigInt64(at + lockOut.end, lock.end, true);
    this.#view.setUint32(at + lockOut.type, lock.mode === "shared" ? lockType.READ : lockType.WRITE, true);
    this.#view.setUint32(at + lockOut.pid, lock.pid, true);
    return this.#send(request, lockOut.bytes);
  }

  /** A copy of a short structure. */
  bytes(request: Request, structure: Uint8Array): boolean {
    this.#buffer.set(structure, outHeader.bytes);
    return this.#send(request, structure.byteLength);
  }

  space(request: Request, space: VolumeSpace): boolean {
    const at = outHeader.bytes;
    this.#buffer.fill(0, at, at + statfsOut.bytes);
    const freeBlocks = Math.floor(space.freeBytes / statfsBlockBytes);
    putU64(this.#view, at + statfsOut.blocks, Math.floor(space.totalBytes / statfsBlockBytes));
    putU64(this.#view, at + statfsOut.freeBlocks, freeBlocks);
    putU64(this.#view, at + statfsOut.availableBlocks, freeBlocks);
    const freeInodes = space.freeInodes ?? freeInodeCount;
    putU64(this.#view, at + statfsOut.files, space.inodeCount + freeInodes);
    putU64(this.#view, at + statfsOut.freeFiles, freeInodes);
    this.#view.setUint32(at + statfsOut.blockSize, statfsBlockBytes, true);
    this.#view.setUint32(at + statfsOut.nameLength, nameBytesMax, true);
    this.#view.setUint32(at + statfsOut.fragmentSize, statfsBlockBytes, true);
    return this.#send(request, statfsOut.bytes);
  }

  /** As many of the entries, in order, as `sizeBytes` holds. */
  listing(request: Request, entries: readonly ListedEntry[], sizeBytes: number): boolean {
    const limit = Math.min(sizeBytes, dataBytesMax);
    let used = 0;
    for (const entry of entries) {
      const bytes = listedBytes(entry.name.length);
      if (used + bytes > limit) break;
      this.#putListed(outHeader.bytes + used, entry);
      used += bytes;
    }
    if (used === 0 && entries.length > 0) return this.error(request, "EINVAL");
    return this.#send(request, used);
  }

  #putListed(at: number, entry: ListedEntry): void {
    putU64(this.#view, at + directoryEntry.inode, entry.inode);
    putU64(this.#view, at + directoryEntry.offset, entry.offset);
    this.#view.setUint32(at + directoryEntry.nameLength, entry.name.length, true);
    this.#view.setUint32(at + directoryEntry.type, directoryEntryType(entry.type), true);
    const nameAt = at + directoryEntry.bytes;
    this.#buffer.write(entry.name, nameAt, entry.name.length, "latin1");
    this.#buffer.fill(0, nameAt + entry.name.length, at + listedBytes(entry.name.length));
  }

  #entry(request: Request, parent: number, attributes: Attributes, attributesMs: number, bodyBytes: number): boolean {
    const node = this.#nodes.nodeOf(attributes.inode);
    putEntry(this.#view, outHeader.bytes, node, attributes, { nameMs: this.#nameMs(parent), attributesMs });
    const delivered = this.#send(request, bodyBytes);
    if (delivered) this.#known.give(node);
    return delivered;
  }

  #nameMs(parent: number): number {
    return this.keepsNames ? this.#fileSystem.nameValidMs(parent) : 0;
  }

  #putOpened(at: number, handle: number, keepPages: boolean): void {
    putU64(this.#view, at + openOut.handle, handle);
    this.#view.setUint32(at + openOut.openFlags, openReplyFlags | (keepPages ? openReply.KEEP_CACHE : 0), true);
    this.#view.setUint32(at + openOut.openFlags + 4, 0, true);
  }

  #send(request: Request, bodyBytes: number, error = 0, parts?: readonly Uint8Array[]): boolean {
    if (request.answered) return false;
    this.#view.setUint32(outHeader.length, outHeader.bytes + bodyBytes, true);
    this.#view.setInt32(outHeader.error, error, true);
    this.#view.setUint32(outHeader.unique, request.uniqueLow, true);
    this.#view.setUint32(outHeader.unique + 4, request.uniqueHigh, true);
    const delivered =
      parts === undefined
        ? this.#transport.reply([this.#buffer.subarray(0, outHeader.bytes + bodyBytes)])
        : this.#transport.reply([this.#buffer.subarray(0, outHeader.bytes), ...parts]);
    // Only now: a reply that the kernel refuses as malformed throws, and the request is then answered with an error.
    request.answered = true;
    return delivered;
  }
}

/** Bytes of an entry in a listing: its structure and name, rounded up to 8. */
export function listedBytes(nameBytes: number): number {
  return Math.ceil((directoryEntry.bytes + nameBytes) / 8) * 8;
}
