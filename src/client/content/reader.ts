/**
 * Reads from a file, under its lease: what is read ahead already is taken from memory, the rest from the stores in pieces
 * of at most 512 KiB, so that a large read is served by both members at once.
 *
 * A handle that is read from front to back has the next segments asked for before it needs them: one at first, then twice
 * as many each time, up to 4 MiB. The bytes it reads are locked against this client's writers meanwhile; the lease keeps
 * other clients' writers away. So a read sees each write wholly or not at all.
 */
import { blockBytes, chunkBytes } from "../../namespace/model.ts";
import type { Clock } from "../../platform/clock.ts";
import type { BlockReader } from "./block-reader.ts";
import type { InodeData } from "./inode-data.ts";
import { slicePieces } from "./pieces.ts";
import { type Pieces, segmentBytes } from "./read-ahead-cache.ts";
import { Operation } from "../waits.ts";

/** Most that is read ahead for one handle: some milliseconds of two stores at full speed. */
const windowBytesMax = 4 * 1024 * 1024;
/** Reads in a row after which a handle counts as sequential: a single header or the file's first block is no pattern. */
const sequentialReads = 2;

/** What a handle's reads so far say of the next one. Kept by the handle. */
export class ReadPattern {
  nextOffset = 0;
  inRow = 0;
  windowBytes = 0;

  /** Notes a read; returns how far ahead of its end to read, in bytes. */
  note(from: number, to: number): number {
    if (from === this.nextOffset) this.inRow += 1;
    else [this.inRow, this.windowBytes] = [from === 0 ? 1 : 0, 0];
    this.nextOffset = to;
    if (this.inRow < sequentialReads) return 0;
    this.windowBytes = Math.min(Math.max(this.windowBytes * 2, segmentBytes), windowBytesMax);
    return this.windowBytes;
  }
}

export class FileReader {
  readonly #clock: Clock;
  readonly #reader: BlockReader;

  constructor(clock: Clock, reader: BlockReader) {
    this.#clock = clock;
    this.#reader = reader;
  }

  /** Up to `length` bytes at `offset`, fewer only at the end of the file. Errors: EIO. */
  async read(
    data: InodeData,
    pattern: ReadPattern,
    offset: number,
    length: number,
    operation: Operation,
  ): Promise<Uint8Array[]> {
    operation.waitsFor = "writes to the same bytes";
    const unlock = await data.lock.lock(offset, offset + length, false);
    try {
      operation.check();
      const end = Math.min(offset + length, data.size);
      if (end <= offset) return [];
      await data.map.load(Math.floor((end - 1) / chunkBytes));
      const aheadBytes = pattern.note(offset, end);
      const parts: Promise<Pieces>[] = [];
      for (let from = offset; from < end; ) {
        const to = Math.min(end, (Math.floor(from / segmentBytes) + 1) * segmentBytes);
        parts.push(this.#readPart(data, from, to, operation));
        from = to;
      }
      if (aheadBytes > 0) this.#readAhead(data, end, aheadBytes, operation);
      return (await Promise.all(parts)).flat();
    } finally {
      unlock();
    }
  }

  /** Bytes that lie in one segment. */
  async #readPart(data: InodeData, from: number, to: number, operation: Operation): Promise<Pieces> {
    const index = Math.floor(from / segmentBytes);
    const start = index * segmentBytes;
    const ahead = data.readAhead.get(index);
    if (ahead !== undefined) {
      operation.waitsFor = "what is being read ahead";
      const pieces = await ahead.catch(() => undefined);
      if (pieces !== undefined) {
        // Read through: a sequential reader doesn't come back.
        if (to === Math.min(start + segmentBytes, data.size)) data.readAhead.drop(index);
        return slicePieces(pieces, from - start, to - start);
      }
    }
    const firstByte = Math.floor(from / blockBytes) * blockBytes;
    const pieces = await this.#readBytes(data, firstByte, to, operation);
    return slicePieces(pieces, from - firstByte, to - firstByte);
  }

  /** Whole blocks from `from` (at a block's start) to behind `to`, within a chunk. */
  async #readBytes(data: InodeData, from: number, to: number, operation: Operation): Promise<Uint8Array[]> {
    const chunk = data.map.get(Math.floor(from / chunkBytes));
    const blockCount = Math.ceil((to - from) / blockBytes);
    if (chunk === undefined) return [Buffer.alloc(blockCount * blockBytes)];
    return this.#reader.read(chunk, (from % chunkBytes) / blockBytes, blockCount, operation);
  }

  #readAhead(data: InodeData, from: number, aheadBytes: number, reading: Operation): void {
    const lastByte = Math.min(from + aheadBytes, data.size) - 1;
    for (let index = Math.ceil(from / segmentBytes); index <= Math.floor(lastByte / segmentBytes); index++) {
      const start = index * segmentBytes;
      if (!data.map.knows(Math.floor(start / chunkBytes))) return;
      if (data.map.get(Math.floor(start / chunkBytes)) === undefined) continue;
      const end = Math.min(start + segmentBytes, data.size);
      const operation = new Operation("readAhead", reading.inode, this.#clock.nowMs());
      data.readAhead.start(index, () => this.#readBytes(data, start, end, operation));
    }
  }
}
