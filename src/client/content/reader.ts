/**
 * Reads from a file, under its lease: what is here is taken from memory, dirty or clean; the rest from the stores in pieces
 * of at most 512 KiB, so that a large read is served by both members at once.
 *
 * A handle that is read from front to back has what comes next asked for before it needs it: the rest of the segment and the
 * next one at first, then twice as much each time, up to 4 MiB. A small file is asked for as a whole.
 *
 * The bytes that a handle reads are locked against this client's writers meanwhile; the lease keeps other clients' writers
 * away. So a read sees each write wholly or not at all.
 */
import { blockBytes, chunkBytes } from "../../namespace/model.ts";
import { Loan } from "../loan.ts";
import { afterwards, type Soon, whenThere } from "../soon.ts";
import { Operation } from "../waits.ts";
import { LostBlock } from "./block-reader.ts";
import type { Span } from "./buffer-pool.ts";
import type { ChunkView, Piece } from "./chunk-view.ts";
import type { Contents } from "./contents.ts";
import type { FileContent } from "./file-content.ts";
import type { Load } from "./load.ts";
import { ceilBlock, floorBlock } from "./offsets.ts";

/** A quarter of a second of a 10 Gbit/s link is far more; this is what a store answers in about a millisecond. */
export const segmentBytes = 512 * 1024;
const segmentBlocks = segmentBytes / blockBytes;
/** Most that is read ahead for one handle: some milliseconds of two stores at full speed. */
const windowBytesMax = 4 * 1024 * 1024;
/** Reads in a row after which a handle counts as sequential: a single header or the file's first block is no pattern. */
const sequentialReads = 2;
/** Whoever reads the beginning of a file that is no larger reads the rest, too; if not, little was brought in vain. */
export const smallFileBytesMax = 128 * 1024;
/** What can still change, or is used again, is copied for the reader up to here; beyond, it is given away for good. */
const copiedBytesMax = 128 * 1024;

/** What a handle's reads so far say of the next one. Kept by the handle. */
export class ReadPattern {
  nextOffset = 0;
  inRow = 0;
  windowBytes = 0;

  /** Notes a read of a file of `size` bytes; returns how far ahead of its end to read, in bytes. */
  note(from: number, to: number, size: number): number {
    if (from === this.nextOffset) this.inRow += 1;
    else [this.inRow, this.windowBytes] = [from === 0 ? 1 : 0, 0];
    this.nextOffset = to;
    if (from === 0 && size <= smallFileBytesMax) return size - to;
    if (this.inRow < sequentialReads) return 0;
    this.windowBytes = Math.min(Math.max(this.windowBytes * 2, segmentBytes), windowBytesMax);
    return this.windowBytes;
  }
}

export interface ReadRequest {
  readonly pattern: ReadPattern;
  readonly offset: number;
  readonly length: number;
  /** Bytes that are not copied are lent to it. Without, they are given away for good. */
  readonly loan?: Loan | undefined;
  /** The read may end before the first block of which no good copy is left. Without, it fails if there is one. */
  readonly mayBeShort?: boolean | undefined;
}

type Part = Uint8Array | Promise<Uint8Array>;

/** What a part is for. */
interface Reading {
  readonly loan: Loan | undefined;
  readonly operation: Operation;
  readonly mayBeShort?: boolean | undefined;
}

export class FileReader {
  readonly #contents: Contents;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  /** Up to `length` bytes at `offset`, fewer only at the end of the file, or if it may be short. Errors: EIO. */
  read(
    content: FileContent,
    { pattern, offset, length, loan, mayBeShort }: ReadRequest,
    operation: Operation,
  ): Soon<readonly Uint8Array[]> {
    const locking = content.lock.lock(offset, offset + length, false);
    if (locking instanceof Promise) operation.waitsFor = "writes to the same bytes";
    return whenThere(locking, (unlock) =>
      afterwards(() => {
        operation.check();
        const end = Math.min(offset + length, content.size);
        if (end <= offset) return [];
        const lastIndex = Math.floor((end - 1) / chunkBytes);
        const loading = content.map.knows(lastIndex) ? undefined : content.map.load(lastIndex);
        return whenThere<void, readonly Uint8Array[]>(loading, () =>
          this.#readLocked(content, pattern, offset, end, { loan, operation, mayBeShort }),
        );
      }, unlock),
    );
  }

  #readLocked(
    content: FileContent,
    pattern: ReadPattern,
    offset: number,
    end: number,
    reading: Reading,
  ): Soon<Uint8Array[]> {
    const aheadBytes = pattern.note(offset, end, content.size);
    const read = this.#readRange(content, offset, end, reading);
    if (aheadBytes > 0) this.#readAhead(content, end, aheadBytes);
    return read;
  }

  #readRange(content: FileContent, offset: number, end: number, reading: Reading): Soon<Uint8Array[]> {
    const parts: Part[] = [];
    for (let from = offset; from < end; ) {
      const to = Math.min(end, (Math.floor(from / chunkBytes) + 1) * chunkBytes);
      this.#gather(content, from, to, parts, reading);
      from = to;
    }
    const isWhole = parts.every((part) => part instanceof Uint8Array);
    if (isWhole) return parts as Uint8Array[];
    return reading.mayBeShort === true ? this.#upToLost(content, offset, parts, reading) : Promise.all(parts);
  }

  /** The parts; or, if some block of them is lost, what is before the first one, read once more. Errors: EIO. */
  async #upToLost(content: FileContent, offset: number, parts: Part[], reading: Reading): Promise<Uint8Array[]> {
    // All of them: who is still on its way takes from the loan.
    const outcomes = await Promise.allSettled(parts);
    const failed = outcomes.filter((outcome) => outcome.status === "rejected").map(({ reason }) => reason);
    if (failed.length === 0) return Promise.all(parts);
    let lostFrom = Number.POSITIVE_INFINITY;
    for (const reason of failed) {
      if (!(reason instanceof LostBlock)) throw reason;
      lostFrom = Math.min(lostFrom, offsetOf(content, offset, reason));
    }
    if (lostFrom <= offset) throw failed[0];
    return this.#readRange(content, offset, lostFrom, reading);
  }

  /** Whole blocks of a chunk, as they are here or on the stores. The caller has them locked. */
  async blocks(content: FileContent, index: number, first: number, end: number, operation: Operation): Promise<Buffer> {
    const start = index * chunkBytes;
    const parts: Part[] = [];
    const loan = new Loan();
    this.#gather(content, start + first * blockBytes, start + end * blockBytes, parts, { loan, operation });
    try {
      return Buffer.concat(await Promise.all(parts));
    } finally {
      loan.end();
    }
  }

  /** Bytes that lie in one chunk. */
  #gather(content: FileContent, from: number, to: number, parts: Part[], reading: Reading): void {
    const index = Math.floor(from / chunkBytes);
    const view = content.view(index);
    if (view === undefined) {
      parts.push(Buffer.alloc(to - from));
      return;
    }
    const start = index * chunkBytes;
    const [first, end] = [floorBlock(from - start) / blockBytes, ceilBlock(to - start) / blockBytes];
    /** What of the blocks [block, stop) is asked for, as offsets in a buffer that begins at `base`. */
    const within = (block: number, stop: number, base: number) => [
      Math.max(from - start, block * blockBytes) - base * blockBytes,
      Math.min(to - start, stop * blockBytes) - base * blockBytes,
    ];
    let next = first;
    const gapUpTo = (stop: number) => {
      while (next < stop) next = this.#gatherGap(content, view, next, stop, within, parts, reading);
    };
    for (const piece of view.between(first, end)) {
      gapUpTo(Math.max(piece.first, first));
      const stop = Math.min(piece.end, end);
      const [low, high] = within(Math.max(piece.first, first), stop, piece.first);
      parts.push(this.#take(piece, low!, high!, reading));
      next = stop;
    }
    gapUpTo(end);
  }

  #take(piece: Piece, low: number, high: number, { loan }: Reading): Uint8Array {
    if (piece.dirt === undefined) this.#contents.cache.used(piece);
    return given({ bytes: piece.bytes.subarray(low, high), slab: piece.slab }, piece.dirt?.isOpen === true, loan);
  }

  /** Some of the blocks [block, stop), which are not here; returns the first block behind them. */
  #gatherGap(
    content: FileContent,
    view: ChunkView,
    block: number,
    stop: number,
    within: (block: number, stop: number, base: number) => number[],
    parts: Part[],
    { loan, operation }: Reading,
  ): number {
    if (!view.isStored) {
      const [low, high] = within(block, stop, block);
      parts.push(Buffer.alloc(high! - low!));
      return stop;
    }
    const under = content.loads.with(view, block);
    const segmentEnd = (Math.floor(block / segmentBlocks) + 1) * segmentBlocks;
    const endByte = () => content.size - view.index * chunkBytes;
    const load = under ?? content.loads.start(view, block, Math.min(stop, segmentEnd), endByte, operation);
    const to = Math.min(stop, load.to);
    const [low, high] = within(block, to, load.from);
    operation.waitsFor = under === undefined ? operation.waitsFor : "what is being read ahead";
    const own = () => {
      const again = content.loads.start(view, block, to, endByte, operation);
      const [from, upTo] = within(block, to, block);
      return taken(again, from!, upTo!, loan);
    };
    const bytes =
      under === undefined
        ? taken(load, low!, high!, loan)
        : // The reader of before has given up, or was not to wait: this one tries for itself.
          taken(load, low!, high!, loan).catch(own);
    bytes.catch(() => {});
    parts.push(bytes);
    return to;
  }

  #readAhead(content: FileContent, from: number, aheadBytes: number): void {
    const { cache } = this.#contents;
    const end = Math.min(from + aheadBytes, content.size);
    this.#dropReadThrough(content, from);
    for (let start = ceilBlock(from); start < end; ) {
      const stop = (Math.floor(start / segmentBytes) + 1) * segmentBytes;
      const index = Math.floor(start / chunkBytes);
      if (!content.map.knows(index) || cache.loadingBytes >= cache.bytesMax / 2) return;
      const chunkStart = index * chunkBytes;
      this.#loadAhead(content, index, (start - chunkStart) / blockBytes, (stop - chunkStart) / blockBytes);
      start = stop;
    }
  }

  /** What is not here of a file's first bytes, at most `bytes` of them, is asked for. They lie in one chunk. */
  readBeginning(content: FileContent, bytes: number): void {
    const { cache } = this.#contents;
    if (content.size === 0 || !content.map.knows(0) || cache.loadingBytes >= cache.bytesMax / 2) return;
    this.#loadAhead(content, 0, 0, ceilBlock(bytes) / blockBytes);
  }

  /** Blocks [first, stop) of a chunk, as far as they are in the file, on the stores, and not here or on their way. */
  #loadAhead(content: FileContent, index: number, first: number, stop: number): void {
    const view = content.view(index);
    if (view === undefined || !view.isStored) return;
    const endByte = () => content.size - index * chunkBytes;
    for (const gap of view.gaps(first, Math.min(stop, ceilBlock(endByte()) / blockBytes))) {
      if (content.loads.with(view, gap.from) !== undefined) continue;
      const operation = new Operation("readAhead", content.inode, this.#contents.platform.clock.nowMs());
      content.loads.start(view, gap.from, gap.to, endByte, operation).span.catch(() => {});
    }
  }

  /** The sequential reader of a file that is too large for the cache doesn't come back: others need the room more. */
  #dropReadThrough(content: FileContent, upTo: number): void {
    if (content.size < this.#contents.cache.bytesMax / 2) return;
    const end = Math.floor(upTo / segmentBytes) * segmentBytes;
    if (end === 0) return;
    const index = Math.floor((end - 1) / chunkBytes);
    const view = content.viewIfAny(index);
    if (view === undefined) return;
    const stop = (end - index * chunkBytes) / blockBytes;
    for (const piece of view.between(Math.max(0, stop - segmentBlocks), stop)) {
      if (piece.dirt === undefined && piece.end <= stop) this.#contents.cache.drop(piece);
    }
  }
}

/** Bytes as a reader may have them. @param isOpen they may still be changed here */
function given({ bytes, slab }: Span, isOpen: boolean, loan: Loan | undefined): Uint8Array {
  if (slab.isLent || (!isOpen && !slab.isPooled)) return bytes;
  const isSmallPart = bytes.byteLength < slab.memory.byteLength / 4;
  if (bytes.byteLength <= copiedBytesMax && (isSmallPart || isOpen)) return Buffer.from(bytes);
  if (isOpen || loan === undefined) slab.isLent = true;
  else loan.add(slab);
  return bytes;
}

/** Where a block lies in the file, at `offset` or in one of the chunks behind it; 0 if its chunk is mapped there no more. */
function offsetOf(content: FileContent, offset: number, { chunk, block }: LostBlock): number {
  for (let index = Math.floor(offset / chunkBytes); index * chunkBytes < content.size; index++) {
    if (content.view(index)?.chunk === chunk) return index * chunkBytes + block * blockBytes;
  }
  return 0;
}

/** Some of the bytes that a load brings. */
async function taken(load: Load, low: number, high: number, loan: Loan | undefined): Promise<Uint8Array> {
  const { bytes, slab } = await load.take();
  const part = given({ bytes: bytes.subarray(low, high), slab }, false, loan);
  slab.release();
  return part;
}
