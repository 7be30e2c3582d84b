/** Reads blocks from the segments, and keeps count of the bad ones. */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { messageOf } from "../errors/message.ts";
import type { SegmentLog } from "../log/segment-log.ts";
import { blockBytes } from "../namespace/model.ts";
import type { Logger } from "../platform/logger.ts";
import { verifyBlocks } from "../wire/checksum.ts";
import { responsePayloads } from "../wire/payload-pool.ts";
import type { BadBlocks } from "./bad-blocks.ts";
import { endBlock, isLost, isZeros, part, type StoredExtent } from "./extents.ts";
import { checkNotLost } from "./lost-blocks.ts";
import { ReadGate } from "./read-gate.ts";

export class BlockReader {
  /** What is dead is given back behind it. */
  readonly gate = new ReadGate();
  readonly #log: Pick<SegmentLog, "read">;
  readonly #bad: BadBlocks;
  readonly #logger: Logger;

  constructor(options: { log: Pick<SegmentLog, "read">; bad: BadBlocks; logger: Logger }) {
    this.#log = options.log;
    this.#bad = options.bad;
    this.#logger = options.logger;
  }

  /**
   * The data of extents that are live now, one after the other in one buffer of `responsePayloads`. `fromDisk`: even if it
   * is in memory.
   * Errors: diskFailed, badChecksum (some of it is lost).
   */
  async read(chunk: number, extents: readonly StoredExtent[], fromDisk = false): Promise<Buffer> {
    checkNotLost(chunk, extents);
    let byteCount = 0;
    for (const extent of extents) byteCount += extent.checksums.length * blockBytes;
    const payload = responsePayloads.take(byteCount);
    const phase = this.gate.enter();
    try {
      await this.#readRuns(chunk, extents, payload, fromDisk);
    } finally {
      this.gate.leave(phase);
    }
    return payload;
  }

  /**
   * Reads extents that are live now, block by block, and compares them with their checksums. Bad and unreadable blocks
   * are counted and logged. Returns them, each as an extent of its own. Not what is lost: that is known.
   */
  async findBad(chunk: number, extents: readonly StoredExtent[]): Promise<StoredExtent[]> {
    const bad: StoredExtent[] = [];
    for (const extent of stored(extents)) {
      for (let block = extent.firstBlock; block < endBlock(extent); block++) {
        const one = part(extent, block, block + 1);
        if (!(await this.#isGood(chunk, one))) bad.push(one);
      }
    }
    return bad;
  }

  /** Reads from the disk. False if any block is bad or can't be read; `findBad` says which, and counts them. */
  async isWhole(
    chunk: number,
    all: readonly StoredExtent[],
  ): Promise<{ readonly whole: boolean; readonly blockCount: number; readonly data?: Uint8Array }> {
    const extents = stored(all);
    let blockCount = 0;
    for (const { checksums } of extents) blockCount += checksums.length;
    try {
      const data = await this.read(chunk, extents, true);
      let at = 0;
      const whole = extents.every(({ firstBlock, origin, stamp, checksums }) => {
        const blocks = data.subarray(at, at + checksums.length * blockBytes);
        at += blocks.byteLength;
        return verifyBlocks(blocks, origin, firstBlock, stamp.version, checksums) === -1;
      });
      return { whole, blockCount, data };
    } catch (error) {
      if (!hasCode(error, "diskFailed")) throw error;
      return { whole: false, blockCount };
    }
  }

  async #isGood(chunk: number, block: StoredExtent): Promise<boolean> {
    const { firstBlock, origin, stamp, checksums, segment, offset } = block;
    try {
      const data = await this.read(chunk, [block]);
      if (verifyBlocks(data, origin, firstBlock, stamp.version, checksums) === -1) return true;
      // Overwritten or deleted since it was looked up: what was there may have been given back.
      if (!this.#bad.isThere(chunk, firstBlock, block)) return true;
      this.#countBad({ chunk, block: firstBlock, segment, offset }, "wrong checksum");
    } catch (error) {
      if (!hasCode(error, "diskFailed")) throw error; // counted by `read`
    }
    return false;
  }

  /** Extents that lie behind each other in a segment are read with one call. */
  async #readRuns(chunk: number, extents: readonly StoredExtent[], payload: Buffer, fromDisk: boolean): Promise<void> {
    const reads: Promise<void>[] = [];
    let [start, position] = [0, 0];
    while (start < extents.length) {
      const first = extents[start]!;
      let length = first.checksums.length * blockBytes;
      let next = start + 1;
      for (; next < extents.length && !isZeros(first); next++) {
        const extent = extents[next]!;
        if (extent.segment !== first.segment || extent.offset !== first.offset + length) break;
        length += extent.checksums.length * blockBytes;
      }
      const buffer = payload.subarray(position, position + length);
      if (isZeros(first)) buffer.fill(0);
      else reads.push(this.#readRun(chunk, extents.slice(start, next), buffer, fromDisk));
      position += length;
      start = next;
    }
    if (reads.length === 1) return reads[0];
    // All must have ended before the gate opens, whatever became of them.
    for (const result of await Promise.allSettled(reads)) if (result.status === "rejected") throw result.reason;
  }

  /** Extents that lie behind each other. If the disk doesn't give them all, it is found out which block is the first. */
  async #readRun(chunk: number, run: readonly StoredExtent[], buffer: Buffer, fromDisk: boolean): Promise<void> {
    const { segment, offset } = run[0]!;
    try {
      await this.#log.read(segment, offset, buffer, fromDisk);
    } catch (error) {
      if (buffer.byteLength === blockBytes) this.#failBlock(chunk, run[0]!, error);
      let at = 0;
      for (const extent of run) {
        for (let block = extent.firstBlock; block < endBlock(extent); block++, at += blockBytes) {
          const one = part(extent, block, block + 1);
          await this.#readRun(chunk, [one], buffer.subarray(at, at + blockBytes), fromDisk);
        }
      }
    }
  }

  #failBlock(chunk: number, { firstBlock: block, segment, offset }: StoredExtent, error: unknown): never {
    const reason = diskMessageOf(error);
    this.#countBad({ chunk, block, segment, offset }, reason);
    throw new BrineError("diskFailed", `chunk ${chunk} can't be read from block ${block} on: ${reason}`, {
      cause: error,
    });
  }

  #countBad(where: { chunk: number; block: number; segment: number; offset: number }, reason: string): void {
    const isNew = this.#bad.add(where.chunk, where.block, where);
    this.#logger.error("bad block", { ...where, reason, known: !isNew });
  }
}

/** What has data. */
function stored(extents: readonly StoredExtent[]): StoredExtent[] {
  return extents.filter(({ stamp }) => !isLost(stamp));
}

export function diskMessageOf(error: unknown): string {
  if (hasCode(error, "diskFailed") && error.cause instanceof Error) return error.cause.message;
  return messageOf(error);
}
