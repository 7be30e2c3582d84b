/** Reads blocks from the segments, and keeps count of the bad ones. */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { SegmentLog } from "../log/segment-log.ts";
import { blockBytes } from "../namespace/model.ts";
import type { KeyValue } from "../platform/key-value.ts";
import type { Logger } from "../platform/logger.ts";
import { verifyBlocks } from "../wire/checksum.ts";
import { endBlock, part, type StoredExtent } from "./extents.ts";
import { badBlockKey } from "./keys.ts";
import { ReadGate } from "./read-gate.ts";

export class BlockReader {
  /** What is dead is given back behind it. */
  readonly gate = new ReadGate();
  readonly #log: Pick<SegmentLog, "read">;
  readonly #keyValue: KeyValue;
  readonly #logger: Logger;
  readonly #onBad: () => void;
  #badBlocks: number;

  /** `onBad`: the count has changed and should be saved. */
  constructor(options: {
    log: Pick<SegmentLog, "read">;
    keyValue: KeyValue;
    logger: Logger;
    badBlocks: number;
    onBad: () => void;
  }) {
    this.#log = options.log;
    this.#keyValue = options.keyValue;
    this.#logger = options.logger;
    this.#badBlocks = options.badBlocks;
    this.#onBad = options.onBad;
  }

  /** Blocks found bad since the store was made. */
  get badBlocks(): number {
    return this.#badBlocks;
  }

  /** The data of extents that are live now, one after the other in one buffer. Errors: diskFailed. */
  async read(chunk: number, extents: readonly StoredExtent[]): Promise<Buffer> {
    let byteCount = 0;
    for (const extent of extents) byteCount += extent.checksums.length * blockBytes;
    const payload = Buffer.allocUnsafeSlow(byteCount);
    const phase = this.gate.enter();
    try {
      await this.#readRuns(chunk, extents, payload);
    } finally {
      this.gate.leave(phase);
    }
    return payload;
  }

  /**
   * Reads extents that are live now, block by block, and compares them with their checksums. Bad and unreadable blocks
   * are counted and logged. Returns them, each as an extent of its own.
   */
  async findBad(chunk: number, extents: readonly StoredExtent[]): Promise<StoredExtent[]> {
    const bad: StoredExtent[] = [];
    for (const extent of extents) {
      for (let block = extent.firstBlock; block < endBlock(extent); block++) {
        const one = part(extent, block, block + 1);
        if (!(await this.#isGood(chunk, one))) bad.push(one);
      }
    }
    return bad;
  }

  /** False if any block is bad or can't be read; `findBad` says which, and counts them. */
  async isWhole(
    chunk: number,
    extents: readonly StoredExtent[],
  ): Promise<{ readonly whole: boolean; readonly blockCount: number; readonly data?: Uint8Array }> {
    let blockCount = 0;
    for (const { checksums } of extents) blockCount += checksums.length;
    try {
      const data = await this.read(chunk, extents);
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
      this.#countBad({ chunk, block: firstBlock, segment, offset }, "wrong checksum");
    } catch (error) {
      if (!hasCode(error, "diskFailed")) throw error; // counted by `read`
    }
    return false;
  }

  /** Extents that lie behind each other in a segment are read with one call. */
  async #readRuns(chunk: number, extents: readonly StoredExtent[], payload: Buffer): Promise<void> {
    const reads: Promise<void>[] = [];
    let [start, position] = [0, 0];
    while (start < extents.length) {
      const first = extents[start]!;
      let length = 0;
      let next = start;
      for (; next < extents.length; next++) {
        const extent = extents[next]!;
        if (extent.segment !== first.segment || extent.offset !== first.offset + length) break;
        length += extent.checksums.length * blockBytes;
      }
      reads.push(this.#readRun(chunk, first, payload.subarray(position, position + length)));
      position += length;
      start = next;
    }
    if (reads.length === 1) return reads[0];
    // All must have ended before the gate opens, whatever became of them.
    for (const result of await Promise.allSettled(reads)) if (result.status === "rejected") throw result.reason;
  }

  async #readRun(chunk: number, extent: StoredExtent, buffer: Buffer): Promise<void> {
    try {
      await this.#log.read(extent.segment, extent.offset, buffer);
    } catch (error) {
      const reason = messageOf(error);
      const { firstBlock: block, segment, offset } = extent;
      this.#countBad({ chunk, block, segment, offset }, reason);
      throw new BrineError("diskFailed", `chunk ${chunk} can't be read from block ${block} on: ${reason}`, {
        cause: error,
      });
    }
  }

  /** A block that was found bad before is not counted again, unless it was written anew. */
  #countBad(where: { chunk: number; block: number; segment: number; offset: number }, reason: string): void {
    const key = badBlockKey(where.chunk, where.block);
    const place = Buffer.from(`${where.segment}:${where.offset}`, "latin1");
    const before = this.#keyValue.get(key);
    const known = before !== undefined && place.equals(before);
    this.#logger.error("bad block", { ...where, reason, known });
    if (known) return;
    this.#keyValue.put(key, place);
    this.#badBlocks += 1;
    this.#onBad();
  }
}

export function messageOf(error: unknown): string {
  if (hasCode(error, "diskFailed") && error.cause instanceof Error) return error.cause.message;
  return error instanceof Error ? error.message : String(error);
}
