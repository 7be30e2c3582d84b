/**
 * Reads everything, so that a copy which rots is found while others are still good: each block within `scrubMs`.
 *
 * 1. A pass goes over all chunks in the order of their ids, a page of them at a time. It reads their blocks from the disk and
 *    compares each with its checksum. What is bad is counted, and replaced by another member's copy (repair.ts).
 * 2. A checksum says nothing of a write that the disk has lost whole. So each page is compared with the other members: one
 *    number for a chunk goes over the wire, and only chunks that differ are looked at (scrub-comparison.ts).
 * 3. The regular pass begins half of the time after the one before, and is fast enough to take no more than the other half;
 *    never slower than `bytesPerSecondMin`, so small stores are done soon. One that a person has ordered goes before it, as fast
 *    as the option allows, at a quarter of that while clients are at work. Both wait before each piece as long as the pace
 *    demands.
 * 4. Where a pass is stands in the index (scrub-passes.ts) after each page: after a restart it goes on from there.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { blockBytes, blocksPerChunk, firstChunkOf, groupOfChunk } from "../namespace/model.ts";
import type { Clock } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import { Sleeper } from "../platform/sleeper.ts";
import type { ScrubReport } from "../wire/catalogue/registration.ts";
import { isZeros, type StoredExtent } from "./extents.ts";
import { Pace } from "./pace.ts";
import type { Repair } from "./repair.ts";
import type { ScrubComparison } from "./scrub-comparison.ts";
import type { Pass, PassKind } from "./scrub-passes.ts";
import type { Store } from "./store.ts";

const dayMs = 24 * 3600 * 1000;
/** Rot is rare, and a copy that is bad for long meets another bad one sooner. */
export const defaultScrubMs = 14 * dayMs;
/** A person waits for it: what a good hard disk reads. */
export const defaultScrubBytesPerSecond = 200 * 1024 * 1024;
/** A hundredth of what a slow disk reads. */
const bytesPerSecondMin = 1024 * 1024;
/** Read at once: the usual size of a request. */
const pieceBlocks = 256;
/** A page ends after so much: what is done twice after a restart. */
const pageChunks = 256;
const pageBytes = 64 * 1024 * 1024;
/** Pieces at once: small ones cost the latency of the disk each. */
const piecesAtOnce = 4;
/** A start has other things to read; so has a benchmark. */
const firstPassMs = 10 * 60 * 1000;
/** Between two looks whether a pass is due, or whether the store serves again. */
const lookMs = 60 * 1000;

export interface ScrubParts {
  readonly store: Pick<
    Store,
    "chunksFrom" | "peek" | "isWhole" | "findBad" | "groups" | "liveBytes" | "scrubs" | "failure"
  >;
  readonly repair: Pick<Repair, "repair">;
  readonly comparison: Pick<ScrubComparison, "compare" | "stop" | "rest">;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Each block is read within this time. */
  readonly scrubMs: number;
  /** Of an ordered pass. */
  readonly bytesPerSecond: number;
  /** Whether clients are at work. */
  readonly isBusy: () => boolean;
}

interface Page {
  readonly group: number;
  readonly chunks: readonly number[];
  readonly bytes: number;
}

/** What is being added to a pass. */
type Found = { -readonly [K in "doneBytes" | "badBlocks" | "repairedBlocks" | "differingBlocks"]: number };

export class Scrub {
  readonly #parts: ScrubParts;
  readonly #sleeper: Sleeper;
  readonly #paces: Readonly<Record<PassKind, Pace>>;
  /** Of the page that is being read. */
  #found: Found = nothingFound();
  #running: Promise<void> = Promise.resolve();

  constructor(parts: ScrubParts) {
    this.#parts = parts;
    const { clock, bytesPerSecond, isBusy } = parts;
    this.#sleeper = new Sleeper(clock);
    this.#paces = {
      regular: new Pace(
        clock,
        () => this.#regularRate,
        () => false,
      ),
      ordered: new Pace(clock, () => bytesPerSecond, isBusy),
    };
  }

  start(): void {
    this.#running = this.#run();
  }

  async stop(): Promise<void> {
    this.#sleeper.stop();
    this.#parts.comparison.stop();
    await this.#running;
  }

  /** Begins a pass over these groups, all if there are none; one that is under way and has them goes on. */
  order(groups: readonly number[]): void {
    const { scrubs } = this.#parts.store;
    const before = scrubs.get("ordered");
    if (before?.endedMs === 0) {
      const isIn =
        before.groups.length === 0 || (groups.length > 0 && groups.every((one) => before.groups.includes(one)));
      if (isIn) return;
      if (groups.length > 0) groups = [...new Set([...before.groups, ...groups])].sort((left, right) => left - right);
    }
    this.#begin("ordered", groups);
    this.#sleeper.wake();
  }

  /** Of the pass that runs, or of the one that ended last. */
  report(): ScrubReport | undefined {
    const { scrubs } = this.#parts.store;
    const [ordered, regular] = [scrubs.get("ordered"), scrubs.get("regular")];
    const isOrdered =
      ordered !== undefined && (ordered.endedMs === 0 || regular === undefined || wasLater(ordered, regular));
    const pass = isOrdered ? ordered : regular;
    if (pass === undefined) return undefined;
    const { groups: _groups, chunk: _chunk, ...report } = pass.endedMs === 0 ? added(pass, this.#found) : pass;
    const doneBytes = Math.min(report.doneBytes, report.totalBytes);
    const perMs = this.#paces[isOrdered ? "ordered" : "regular"].bytesPerSecond / 1000;
    return { ...report, isOrdered, doneBytes, leftMs: Math.round((report.totalBytes - doneBytes) / perMs) };
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    if (!this.#isOrdered) await this.#sleeper.sleep(firstPassMs);
    while (!this.#over) {
      try {
        if (this.#isOrdered) await this.#pass("ordered");
        else if (this.#isDue()) await this.#pass("regular");
        if (this.#isOrdered) continue;
      } catch (error) {
        this.#parts.logger.warn("scrub stops for a while", { reason: String(error) });
      }
      await this.#sleeper.sleep(lookMs);
    }
  }

  get #over(): boolean {
    return this.#sleeper.stopped || this.#parts.store.failure !== undefined;
  }

  get #isOrdered(): boolean {
    return this.#parts.store.scrubs.get("ordered")?.endedMs === 0;
  }

  get #regularRate(): number {
    return Math.max(bytesPerSecondMin, this.#parts.store.liveBytes / (this.#parts.scrubMs / 2 / 1000));
  }

  #isDue(): boolean {
    const { store, scrubMs } = this.#parts;
    const pass = store.scrubs.get("regular");
    if (pass === undefined || pass.endedMs === 0) return true;
    const sinceMs = this.#nowMs() - pass.beganMs;
    // Negative: the clock was ahead, so nobody knows when that was.
    return sinceMs < 0 || sinceMs >= scrubMs / 2;
  }

  #begin(kind: PassKind, groups: readonly number[]): void {
    const pass = {
      beganMs: this.#nowMs(),
      endedMs: 0,
      chunk: 0,
      groups: [...groups],
      totalBytes: 0,
      ...nothingFound(),
    };
    this.#found = nothingFound();
    this.#parts.store.scrubs.set(kind, pass);
  }

  /** What a pass will read: the rows of the index say it, and are a thousandth of that. */
  async #measure(groups: readonly number[], isOver: () => boolean): Promise<number> {
    let bytes = 0;
    for (let chunk = 0; !isOver(); ) {
      const page = this.#nextPage(chunk, groups);
      if (page === undefined) break;
      bytes += page.bytes;
      chunk = page.chunks.at(-1)!;
      await this.#sleeper.sleep(0);
    }
    return bytes;
  }

  /** Goes on with the pass that was under way, or begins one. A regular one ends early when another is ordered. */
  async #pass(kind: PassKind): Promise<void> {
    const { store, logger, comparison } = this.#parts;
    if (store.scrubs.get(kind)?.endedMs !== 0) this.#begin(kind, []);
    const isOver = () => this.#over || (kind === "regular" && this.#isOrdered);
    const begun = store.scrubs.get(kind)!;
    if (begun.totalBytes === 0) {
      const totalBytes = await this.#measure(begun.groups, isOver);
      const now = store.scrubs.get(kind)!;
      if (now.beganMs === begun.beganMs) store.scrubs.set(kind, { ...now, totalBytes });
    }
    try {
      for (;;) {
        const { beganMs, chunk, groups } = store.scrubs.get(kind)!;
        const page = this.#nextPage(chunk, groups);
        if (page === undefined) {
          await this.#compareEmpty(kind, isOver);
          if (isOver()) return;
          if (store.scrubs.get(kind)!.beganMs === beganMs) break;
          continue;
        }
        this.#found = nothingFound();
        await this.#readPage(kind, page, isOver);
        if (isOver()) return;
        this.#found.differingBlocks += await comparison.compare(page.group, chunk, page.chunks.at(-1)!);
        if (isOver()) return;
        const now = store.scrubs.get(kind)!;
        // Another one was ordered meanwhile, with more groups: it begins at the beginning.
        if (now.beganMs !== beganMs || now.chunk !== chunk) continue;
        store.scrubs.set(kind, { ...added(now, this.#found), chunk: page.chunks.at(-1)! });
      }
    } finally {
      this.#found = nothingFound();
      comparison.rest();
    }
    const done = { ...store.scrubs.get(kind)!, endedMs: this.#nowMs() };
    store.scrubs.set(kind, done);
    // Who has read everything needs no regular pass for a while.
    if (kind === "ordered" && done.groups.length === 0) store.scrubs.set("regular", done);
    const { doneBytes, badBlocks, repairedBlocks, differingBlocks } = done;
    logger.info("scrub pass done", { kind, readBytes: doneBytes, badBlocks, repairedBlocks, differingBlocks });
  }

  /** Groups of which nothing is here, while others may have something. */
  async #compareEmpty(kind: PassKind, isOver: () => boolean): Promise<void> {
    const { store, comparison } = this.#parts;
    const { groups } = store.scrubs.get(kind)!;
    this.#found = nothingFound();
    for (const group of [...store.groups.keys()]) {
      const isIn = groups.length === 0 || groups.includes(group);
      const [first] = store.chunksFrom(firstChunkOf(group), 1);
      if (isOver() || !isIn || (first !== undefined && groupOfChunk(first) === group)) continue;
      const start = Math.max(0, firstChunkOf(group) - 1);
      this.#found.differingBlocks += await comparison.compare(group, start, start);
    }
    store.scrubs.set(kind, added(store.scrubs.get(kind)!, this.#found));
  }

  /** Chunks behind `after`, all of one group. */
  #nextPage(after: number, groups: readonly number[]): Page | undefined {
    const { store } = this.#parts;
    for (let from = after + 1; ; ) {
      const [first] = store.chunksFrom(from, 1);
      if (first === undefined) return undefined;
      const group = groupOfChunk(first);
      if (groups.length > 0 && !groups.includes(group)) {
        const next = groups.find((one) => one > group);
        if (next === undefined) return undefined;
        from = firstChunkOf(next);
        continue;
      }
      const chunks: number[] = [];
      let bytes = 0;
      for (const chunk of store.chunksFrom(first, pageChunks)) {
        if (groupOfChunk(chunk) !== group || bytes >= pageBytes) break;
        chunks.push(chunk);
        for (const { checksums } of this.#readable(chunk)) bytes += checksums.length * blockBytes;
      }
      return { group, chunks, bytes };
    }
  }

  /** Zeros are on no disk. */
  #readable(chunk: number): readonly StoredExtent[] {
    return (this.#parts.store.peek(chunk)?.extents ?? []).filter((extent) => !isZeros(extent));
  }

  async #readPage(kind: PassKind, { chunks }: Page, isOver: () => boolean): Promise<void> {
    const pieces = this.#piecesOf(chunks);
    const worker = async () => {
      for (const { chunk, firstBlock, bytes } of pieces) {
        if (isOver()) return;
        const delayMs = this.#paces[kind].waitMs(bytes);
        if (delayMs > 0) await this.#sleeper.sleep(delayMs);
        if (isOver()) return;
        await this.#readPiece(chunk, firstBlock);
      }
    };
    const results = await Promise.allSettled(Array.from({ length: piecesAtOnce }, worker));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  *#piecesOf(chunks: readonly number[]): Generator<{ chunk: number; firstBlock: number; bytes: number }> {
    for (const chunk of chunks) {
      const bytes = new Array<number>(blocksPerChunk / pieceBlocks).fill(0);
      for (const { firstBlock, checksums } of this.#readable(chunk)) {
        for (let block = firstBlock; block < firstBlock + checksums.length; block++) {
          bytes[Math.floor(block / pieceBlocks)]! += blockBytes;
        }
      }
      for (const [piece, count] of bytes.entries()) {
        if (count > 0) yield { chunk, firstBlock: piece * pieceBlocks, bytes: count };
      }
    }
  }

  async #readPiece(chunk: number, firstBlock: number): Promise<void> {
    const { store, repair } = this.#parts;
    try {
      const { whole, blockCount } = await store.isWhole(chunk, firstBlock, pieceBlocks);
      this.#found.doneBytes += blockCount * blockBytes;
      if (whole) return;
      const bad = await store.findBad(chunk, firstBlock, pieceBlocks);
      this.#found.badBlocks += bad.length;
      const group = groupOfChunk(chunk);
      const generation = store.groups.get(group)?.generation;
      if (bad.length === 0 || generation === undefined) return;
      const repaired = await repair.repair({ session: 0, group, generation, chunk }, bad);
      // Not in one expression: other pieces are counted meanwhile.
      this.#found.repairedBlocks += repaired;
    } catch (error) {
      // Deleted meanwhile.
      if (!(error instanceof BrineError && hasCode(error, "unknownChunk"))) throw error;
    }
  }

  #nowMs(): number {
    return Number(this.#parts.clock.wallNs() / 1_000_000n);
  }
}

function nothingFound(): Found {
  return { doneBytes: 0, badBlocks: 0, repairedBlocks: 0, differingBlocks: 0 };
}

function added(pass: Pass, found: Found): Pass {
  return {
    ...pass,
    doneBytes: pass.doneBytes + found.doneBytes,
    badBlocks: pass.badBlocks + found.badBlocks,
    repairedBlocks: pass.repairedBlocks + found.repairedBlocks,
    differingBlocks: pass.differingBlocks + found.differingBlocks,
  };
}

/** The one that runs; of two that have ended, the one that ended later. */
function wasLater(ordered: Pass, regular: Pass): boolean {
  return regular.endedMs !== 0 && ordered.endedMs >= regular.endedMs;
}
