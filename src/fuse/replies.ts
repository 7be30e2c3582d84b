/**
 * Answers requests. Each is built in one buffer that all share and handed to the transport before the call returns, so
 * nothing is allocated for it. Every method returns false if the kernel no longer waits for the answer: what it would
 * have granted (an open handle) must then be taken back.
 */

import type { Attributes, DirectoryEntry, FileSystem, VolumeSpace } from "../client/file-system.ts";
import { type ErrnoName, errno } from "../errors/errno.ts";
import { nameBytesMax } from "../namespace/model.ts";
import {
  directoryEntryType,
  type NodeNumbers,
  putAbsent,
  putAttributesOut,
  putEntry,
  putNoEntry,
  putStatx,
  putU64,
} from "./layout.ts";
import {
  attrOut,
  dataBytesMax,
  directoryEntry,
  entryOut,
  openOut,
  openReply,
  outHeader,
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
/** Data is not kept in the kernel's page cache; writers of one file don't queue on its inode lock (Linux 6.2+). */
const openReplyFlags = openReply.DIRECT_IO | openReply.PARALLEL_DIRECT_WRITES;

/** A name in a directory listing; `.` and `..` have no attributes to give. */
export type ListedEntry = Pick<DirectoryEntry, "name" | "inode" | "type" | "attributes"> & {
  /** Where the listing goes on behind this entry. */
  readonly offset: number;
};

export class Replies {
  readonly #transport: FuseTransport;
  readonly #nodes: NodeNumbers;
  readonly #fileSystem: Pick<FileSystem, "nameValidMs" | "attributesValidMs">;
  /** The kernel can be told to forget names (INC_EPOCH); else it must not keep any. */
  keepsNames = false;
  /** The largest reply that is built here: a listing. */
  readonly #buffer = Buffer.alloc(outHeader.bytes + dataBytesMax);
  readonly #view = new DataView(this.#buffer.buffer, this.#buffer.byteOffset, this.#buffer.byteLength);

  constructor(
    transport: FuseTransport,
    nodes: NodeNumbers,
    fileSystem: Pick<FileSystem, "nameValidMs" | "attributesValidMs">,
  ) {
    this.#transport = transport;
    this.#nodes = nodes;
    this.#fileSystem = fileSystem;
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

  statx(request: Request, attributes: Attributes): boolean {
    putStatx(this.#view, outHeader.bytes, attributes, this.#fileSystem.attributesValidMs(attributes.inode));
    return this.#send(request, statxOut.bytes);
  }

  entry(request: Request, parent: number, attributes: Attributes): boolean {
    this.#putEntry(outHeader.bytes, parent, attributes);
    return this.#send(request, entryOut.bytes);
  }

  /** There is no such name. */
  absent(request: Request, parent: number): boolean {
    const nameMs = this.#nameMs(parent);
    if (nameMs === 0) return this.error(request, "ENOENT");
    putAbsent(this.#view, outHeader.bytes, nameMs);
    return this.#send(request, entryOut.bytes);
  }

  opened(request: Request, handle: number): boolean {
    this.#putOpened(outHeader.bytes, handle);
    return this.#send(request, openOut.bytes);
  }

  created(request: Request, parent: number, attributes: Attributes, handle: number): boolean {
    this.#putEntry(outHeader.bytes, parent, attributes);
    this.#putOpened(outHeader.bytes + entryOut.bytes, handle);
    return this.#send(request, entryOut.bytes + openOut.bytes);
  }

  written(request: Request, size: number): boolean {
    putU64(this.#view, outHeader.bytes + writeOut.size, size);
    return this.#send(request, writeOut.bytes);
  }

  /** Data of a READ, or a symlink's target. The parts go to the kernel without being joined. */
  data(request: Request, parts: readonly Uint8Array[]): boolean {
    let size = 0;
    for (const part of parts) size += part.byteLength;
    return this.#send(request, size, 0, parts);
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
    putU64(this.#view, at + statfsOut.files, space.inodeCount + freeInodeCount);
    putU64(this.#view, at + statfsOut.freeFiles, freeInodeCount);
    this.#view.setUint32(at + statfsOut.blockSize, statfsBlockBytes, true);
    this.#view.setUint32(at + statfsOut.nameLength, nameBytesMax, true);
    this.#view.setUint32(at + statfsOut.fragmentSize, statfsBlockBytes, true);
    return this.#send(request, statfsOut.bytes);
  }

  /**
   * As many of the entries, in order, as `sizeBytes` holds. With `plus` an entry brings its attributes and counts as a
   * lookup.
   */
  listing(
    request: Request,
    directory: number,
    entries: readonly ListedEntry[],
    sizeBytes: number,
    plus: boolean,
  ): boolean {
    const limit = Math.min(sizeBytes, dataBytesMax);
    let used = 0;
    for (const entry of entries) {
      const bytes = listedBytes(entry.name.length, plus);
      if (used + bytes > limit) break;
      this.#putListed(outHeader.bytes + used, directory, entry, plus);
      used += bytes;
    }
    if (used === 0 && entries.length > 0) return this.error(request, "EINVAL");
    return this.#send(request, used);
  }

  #putListed(start: number, directory: number, entry: ListedEntry, plus: boolean): void {
    let at = start;
    if (plus) {
      if (entry.attributes === undefined) putNoEntry(this.#view, at);
      else this.#putEntry(at, directory, entry.attributes);
      at += entryOut.bytes;
    }
    putU64(this.#view, at + directoryEntry.inode, entry.inode);
    putU64(this.#view, at + directoryEntry.offset, entry.offset);
    this.#view.setUint32(at + directoryEntry.nameLength, entry.name.length, true);
    this.#view.setUint32(at + directoryEntry.type, directoryEntryType(entry.type), true);
    const nameAt = at + directoryEntry.bytes;
    this.#buffer.write(entry.name, nameAt, entry.name.length, "latin1");
    this.#buffer.fill(0, nameAt + entry.name.length, start + listedBytes(entry.name.length, plus));
  }

  #putEntry(at: number, parent: number, attributes: Attributes): void {
    putEntry(this.#view, at, this.#nodes.nodeOf(attributes.inode), attributes, {
      nameMs: this.#nameMs(parent),
      attributesMs: this.#fileSystem.attributesValidMs(attributes.inode),
    });
  }

  #nameMs(parent: number): number {
    return this.keepsNames ? this.#fileSystem.nameValidMs(parent) : 0;
  }

  #putOpened(at: number, handle: number): void {
    putU64(this.#view, at + openOut.handle, handle);
    this.#view.setUint32(at + openOut.openFlags, openReplyFlags, true);
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

/** Bytes of an entry in a listing: its structures and name, rounded up to 8. */
export function listedBytes(nameBytes: number, plus: boolean): number {
  const head = (plus ? entryOut.bytes : 0) + directoryEntry.bytes;
  return Math.ceil((head + nameBytes) / 8) * 8;
}
