/**
 * A file's chunks in the groups of another pool, or out of a group that has no room for a write, chunk by chunk, while it is in use.
 * A chunk is bound to its group by its id: so it is copied into a new one, and that takes its place.
 *
 * 1. Under the file's exclusive lease, and with all of it locked, everything that was written is on the stores. Nobody else reads or
 *    writes it until the lease is given back.
 * 2. The blocks are copied into a new chunk of the pool. Zeros stay holes, and bytes behind the end of the file, which are
 *    undefined, become zeros.
 * 3. One transaction maps the new chunk instead of the old one, which is then to be deleted. It changes no time and no
 *    attribute. Others learn of it with their next lease, which brings the new map.
 *
 * Who dies before 3 leaves a chunk that was granted to its session and is deleted with it; after 3 the move is made. There is
 * nothing in between, so nothing is to be taken up again: what is to be moved is seen from the map.
 */
import { FileError, isFull } from "../../errors/file-error.ts";
import { blockBytes, chunkBytes, groupOfChunk } from "../../namespace/model.ts";
import type { Operation } from "../waits.ts";
import type { Contents } from "./contents.ts";
import type { FileContent } from "./file-content.ts";
import { endOfRange } from "./range-lock.ts";
import { grantBytesOf } from "./run.ts";

/** Copied with one request: 1 MiB, as the largest write. */
const copiedBlocksMax = 256;

/** Groups that are asked for room for a chunk. */
const groupsTriedMax = 4;

/** A new chunk, and what is granted for it. */
interface Target {
  readonly chunk: number;
  readonly bytes: number;
}

interface Moving {
  readonly index: number;
  readonly pool: number;
  readonly isInPlace: (chunk: number) => boolean;
  readonly take: () => Promise<Target>;
}

export class Relocation {
  readonly #contents: Contents;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  /**
   * The exclusive lease is pinned. Returns the bytes that were copied; undefined, and nothing has changed, if there is no chunk at
   * `index`, or it `isInPlace`. Errors: ENOSPC, EIO.
   */
  move(
    content: FileContent,
    index: number,
    pool: number,
    isInPlace: (chunk: number) => boolean,
    operation: Operation,
  ): Promise<number | undefined> {
    const take = async () => ({ chunk: await this.#contents.ids.takeChunk(operation, index === 0, pool), bytes: 0 });
    return this.#moveTo(content, { index, pool, isInPlace, take }, operation);
  }

  /**
   * Out of a group that is full, unless that has room again: then what didn't fit may be written. The exclusive lease is pinned.
   * False if no group of the file's pool has room. Errors: EIO.
   */
  async leaveFullGroup(content: FileContent, index: number, operation: Operation): Promise<boolean> {
    const { pool } = content;
    const isInPlace = (chunk: number): boolean => this.#contents.space.roomIn(groupOfChunk(chunk)) !== "none";
    const take = () => this.#takeGranted(content, index, operation);
    try {
      await this.#moveTo(content, { index, pool, isInPlace, take }, operation);
      return true;
    } catch (error) {
      if (isFull(error)) return false;
      throw error;
    }
  }

  /** For which the leader has granted room: a copy that doesn't fit would only fill up what is left. Error: ENOSPC. */
  async #takeGranted(content: FileContent, index: number, operation: Operation): Promise<Target> {
    const { ids, space } = this.#contents;
    const bytes = grantBytesOf(Math.ceil(bytesIn(content, index) / blockBytes));
    const refused: number[] = [];
    try {
      while (refused.length < groupsTriedMax) {
        const chunk = await ids.takeChunk(operation, false, content.pool);
        operation.waitsFor = "the leader, to grant space";
        if (await space.obtain(groupOfChunk(chunk), bytes)) return { chunk, bytes };
        refused.push(chunk);
      }
    } finally {
      for (const chunk of refused) ids.giveBackChunk(chunk, content.pool);
    }
    throw new FileError("ENOSPC", `no group of pool ${content.pool} has room for a chunk`);
  }

  async #moveTo(
    content: FileContent,
    { index, pool, isInPlace, take }: Moving,
    operation: Operation,
  ): Promise<number | undefined> {
    operation.waitsFor = "other reads and writes of the file";
    const unlock = await content.lock.lock(0, endOfRange, true);
    try {
      operation.check();
      if (!content.map.knows(index)) await content.map.load(index);
      const source = content.map.get(index);
      if (source === undefined || isInPlace(source)) return undefined;
      const { journal, ids, space } = this.#contents;
      await journal.committed(content.node.lastPosition, operation);
      const target = await take();
      try {
        const bytes = await this.#copy(content, index, source, target.chunk, operation);
        operation.check();
        this.#map(content, index, target.chunk, pool);
        return bytes;
      } catch (error) {
        if (content.map.get(index) !== target.chunk) ids.discardChunk(target.chunk);
        throw error;
      } finally {
        if (target.bytes > 0) space.used(groupOfChunk(target.chunk), target.bytes);
      }
    } finally {
      unlock();
    }
  }

  /** New chunks of the file come from the pool. The exclusive lease is pinned. */
  place(content: FileContent, pool: number): void {
    this.#execute(content, pool, []);
  }

  #map(content: FileContent, index: number, chunk: number, pool: number): void {
    content.replaceChunk(index, chunk, this.#execute(content, pool, [{ index, chunk }]));
  }

  #execute(content: FileContent, pool: number, mappings: { index: number; chunk: number }[]): number {
    const { inode, size } = content;
    const position = this.#contents.execute(content.node, { kind: "place", inode, pool, mappings }, undefined);
    content.changedBy(position, size);
    return position;
  }

  async #copy(
    content: FileContent,
    index: number,
    source: number,
    chunk: number,
    operation: Operation,
  ): Promise<number> {
    const { blockReader, blockWriter } = this.#contents;
    const bytes = bytesIn(content, index);
    const blockCount = Math.ceil(bytes / blockBytes);
    // A chunk that no write has reached is unknown to stores: one block of zeros makes it known.
    let isWritten = false;
    for (let first = 0; first < blockCount; first += copiedBlocksMax) {
      const count = Math.min(copiedBlocksMax, blockCount - first);
      operation.waitsFor = "the stores, to move a chunk";
      const copied = Buffer.concat(await blockReader.read(source, first, count, operation));
      copied.fill(0, Math.min(copied.byteLength, bytes - first * blockBytes));
      const isLast = first + count === blockCount;
      if (isZero(copied) && (isWritten || !isLast)) continue;
      await blockWriter.write(content, chunk, first, [copied], operation);
      isWritten = true;
    }
    return bytes;
  }
}

function bytesIn({ size }: FileContent, index: number): number {
  return Math.min(chunkBytes, size - index * chunkBytes);
}

function isZero(bytes: Buffer): boolean {
  return bytes[0] === 0 && bytes.subarray(1).equals(bytes.subarray(0, -1));
}
