/**
 * Reads everything, so that a copy which rots is found while others are still good: each block within `scrubDays`.
 *
 * 1. A pass goes over all chunks in the order of their ids, reads them and compares each block with its checksum. What is bad
 *    is counted, and replaced by another member's copy (repair.ts).
 * 2. A pass begins half of the time after the one before, and is fast enough to take no more than the other half; never
 *    slower than `bytesPerSecondMin`, so small stores are done soon. It waits after each piece as long as the pace demands.
 * 3. Where it is stands in the index, and goes to disk with the index's checkpoints: after a restart a pass goes on from there.
 *    What it reads twice then does no harm.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { blockBytes, blocksPerChunk, groupOfChunk } from "../namespace/model.ts";
import type { Clock, Timer } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import type { Repair } from "./repair.ts";
import type { Store } from "./store.ts";

const dayMs = 24 * 3600 * 1000;
/** Rot is rare, and a copy that is bad for long meets another bad one sooner. */
export const defaultScrubMs = 14 * dayMs;
/** A hundredth of what a slow disk reads. */
const bytesPerSecondMin = 1024 * 1024;
/** Read at once: the usual size of a request. */
const pieceBlocks = 256;
/** A start has other things to read; so has a benchmark. */
const firstPassMs = 10 * 60 * 1000;
/** Between two looks whether a pass is due, or whether the store serves again. */
const lookMs = 60 * 1000;

export interface ScrubParts {
  readonly store: Pick<
    Store,
    "chunksFrom" | "chunk" | "isWhole" | "findBad" | "groups" | "liveBytes" | "scrubbed" | "failure"
  >;
  readonly repair: Pick<Repair, "repair">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Each block is read within this time. */
  readonly scrubMs: number;
}

export class Scrub {
  readonly #parts: ScrubParts;
  #timer: Timer | undefined;
  #wake: (() => void) | undefined;
  #stopped = false;
  #running: Promise<void> = Promise.resolve();

  constructor(parts: ScrubParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#wake?.();
    await this.#running;
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    await this.#sleep(firstPassMs);
    while (!this.#over) {
      try {
        if (this.#isDue()) await this.#pass();
      } catch (error) {
        this.#parts.logger.warn("scrub stops for a while", { reason: String(error) });
      }
      await this.#sleep(lookMs);
    }
  }

  get #over(): boolean {
    return this.#stopped || this.#parts.store.failure !== undefined;
  }

  #isDue(): boolean {
    const { store, scrubMs } = this.#parts;
    const { done, beganMs } = store.scrubbed;
    return !done || beganMs === 0 || this.#nowMs() >= beganMs + scrubMs / 2;
  }

  /** Goes on with the pass that was under way, or begins one. */
  async #pass(): Promise<void> {
    const { store, logger, scrubMs } = this.#parts;
    if (store.scrubbed.done) store.scrubbed = { chunk: 0, beganMs: this.#nowMs(), done: false };
    const { beganMs } = store.scrubbed;
    let [readBytes, badBlocks] = [0, 0];
    for (;;) {
      const [chunk] = store.chunksFrom(store.scrubbed.chunk + 1);
      if (chunk === undefined || this.#over) break;
      for (let block = 0; block < blocksPerChunk && !this.#over; block += pieceBlocks) {
        const piece = await this.#readPiece(chunk, block);
        readBytes += piece.readBytes;
        badBlocks += piece.badBlocks;
        const pace = Math.max(bytesPerSecondMin, store.liveBytes / (scrubMs / 2 / 1000));
        if (piece.readBytes > 0) await this.#sleep((piece.readBytes / pace) * 1000);
      }
      if (!this.#over) store.scrubbed = { chunk, beganMs, done: false };
    }
    if (this.#over) return;
    store.scrubbed = { chunk: 0, beganMs, done: true };
    logger.info("scrub pass done", { readBytes, badBlocks });
  }

  async #readPiece(chunk: number, firstBlock: number): Promise<{ readBytes: number; badBlocks: number }> {
    const { store, repair } = this.#parts;
    try {
      const { whole, blockCount } = await store.isWhole(chunk, firstBlock, pieceBlocks);
      if (whole) return { readBytes: blockCount * blockBytes, badBlocks: 0 };
      const bad = await store.findBad(chunk, firstBlock, pieceBlocks);
      const group = groupOfChunk(chunk);
      const generation = store.groups.get(group)?.generation;
      if (bad.length > 0 && generation !== undefined) {
        await repair.repair({ session: 0, group, generation, chunk }, bad);
      }
      return { readBytes: blockCount * blockBytes, badBlocks: bad.length };
    } catch (error) {
      // Deleted meanwhile.
      if (error instanceof BrineError && hasCode(error, "unknownChunk")) return { readBytes: 0, badBlocks: 0 };
      throw error;
    }
  }

  #nowMs(): number {
    return Number(this.#parts.clock.wallNs() / 1_000_000n);
  }

  #sleep(delayMs: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#timer = this.#parts.clock.startTimer(delayMs, resolve);
    });
  }
}
