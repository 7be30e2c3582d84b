/**
 * Moves live data out of segments that are mostly dead, so that they can be removed whole. Punching holes (reclaim.ts) gives
 * back dead data, but not what lies between: the descriptions of commits (4 KiB with each small write), small ranges, and
 * anything on file systems without holes; and a segment with one live block stays a file for ever.
 *
 * 1. Now and then the segments are looked at. One is a victim if at least half of what it takes on the disk is not live data:
 *    so moving it frees more than it writes. While the disk is nearly full, a quarter is enough.
 * 2. If the victims are worth it, all chunks of the index are gone through once: nothing else says who has data in a segment,
 *    and the rows are a thousandth of the data. Rows that point into a victim give the extents to move.
 * 3. Extents are read, checked against their checksums and appended anew, with a `move` record each, many in one commit. What
 *    is bad stays where it is, for the scrub. The record takes effect (state.ts) only on blocks that still are exactly the ones
 *    that were read: what has been overwritten or deleted meanwhile stays so.
 * 4. Data that several chunks share is moved once; the other holders get a `share` record, which makes them hold the new place.
 * 5. A victim without live data is removed like any other dead segment: after a checkpoint of the index that knows so is
 *    durable. So a kill at any point leaves the old place, the new one, or both, and the log says which is meant.
 *
 * After each step it rests, so long that it takes no more than its share of the time. That bounds what it takes of the disk.
 */
import type { SegmentLog } from "../log/segment-log.ts";
import type { Clock } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import { Sleeper } from "../platform/sleeper.ts";
import { responsePayloads } from "../wire/payload-pool.ts";
import type { BlockReader } from "./block-reader.ts";
import type { DiskRoom } from "./disk-room.ts";
import { endBlock, isZeros, overlapping, placeOf, type StoredExtent, sameBlocks } from "./extents.ts";
import { isNoSpace } from "./journal.ts";
import type { StoreRecord } from "./record.ts";
import type { State } from "./state.ts";

/** Between two looks at the segments. Dead space is given back in minutes, not at once. */
const lookMs = 30 * 1000;
/** Of the time: a tenth is hardly felt by writers, and still moves 50 MB a second on a good disk. */
const defaultShare = 0.1;
/** While the disk is nearly full: writers wait for the space. */
const tightShare = 0.5;
/** Of what a segment takes, that is not live data. */
const deadFraction = 0.5;
const deadFractionTight = 0.25;
/** So much is to be freed, of all live data, before the index is gone through: its rows are read in return. */
const worthFraction = 0.01;
/** Segments of one round: bounds what is written before anything is freed. */
const victimsMax = 64;
/** Moved with one commit: the size of a large write. */
const batchBytes = 1024 * 1024;
const batchRecordsMax = 256;
/** Rows decoded in one turn. */
const rowsAtOnce = 32;
/** A victim that couldn't be emptied (bad blocks, the disk was full) is left alone for so long. */
const stuckMs = 3600 * 1000;
/** Chunks that are remembered as holders of moved data, and how many for one origin. */
const sharedOriginsMax = 50_000;
const sharersMax = 8;

export interface CompactionParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly log: SegmentLog;
  readonly state: State;
  readonly room: DiskRoom;
  readonly reader: BlockReader;
  /** Resolves when the record is applied. Errors: noSpace, diskFailed. */
  readonly append: (record: StoreRecord, payload?: Uint8Array) => Promise<unknown>;
  /** Resolves when the log's queue is short. */
  readonly readyToWrite: () => Promise<void>;
  /** Segments are dead now that were not. */
  readonly onFreed: () => void;
}

/** What rounds have done since the start. */
export interface CompactionTotals {
  readonly segments: number;
  readonly movedBytes: number;
}

interface Move {
  readonly chunk: number;
  readonly extent: StoredExtent;
}

export class Compaction {
  readonly #parts: CompactionParts;
  /** What segments took when they were looked at last: they only shrink. */
  readonly #allocated = new Map<number, number>();
  /** Segments to be left alone, with the time until when. */
  readonly #stuck = new Map<number, number>();
  #totals = { segments: 0, movedBytes: 0 };
  readonly #sleeper: Sleeper;
  #running: Promise<void> = Promise.resolve();
  /** Two at once would tear apart what chunks share. */
  #rounds: Promise<void> = Promise.resolve();
  /** When the present step began. */
  #workingSinceMs = 0;

  constructor(parts: CompactionParts) {
    this.#parts = parts;
    this.#sleeper = new Sleeper(parts.clock);
  }

  get totals(): CompactionTotals {
    return this.#totals;
  }

  start(): void {
    this.#running = this.#run();
  }

  /** Resolves when nothing of it is under way. */
  async stop(): Promise<void> {
    this.#sleeper.stop();
    await this.#running;
    await this.#rounds.catch(() => {});
  }

  /** One look, and a round if it is worth it; one at a time. Errors: noSpace, diskFailed. */
  round(): Promise<void> {
    this.#rounds = this.#rounds.catch(() => {}).then(() => this.#round());
    return this.#rounds;
  }

  async #round(): Promise<void> {
    this.#workingSinceMs = this.#parts.clock.nowMs();
    const victims = await this.#victims();
    if (victims.size === 0 || this.#sleeper.stopped) return;
    const { clock, logger, state } = this.#parts;
    const beganMs = clock.nowMs();
    const before = this.#totals.movedBytes;
    await new Sweep(this.#parts, victims, {
      rest: () => this.#rest(),
      isStopped: () => this.#sleeper.stopped,
      moved: (bytes) => {
        this.#totals = { ...this.#totals, movedBytes: this.#totals.movedBytes + bytes };
      },
    }).run();
    const stuck = [...victims].filter((segment) => state.space.isHeld(segment));
    for (const segment of stuck) this.#stuck.set(segment, clock.nowMs() + stuckMs);
    const freed = victims.size - stuck.length;
    const movedBytes = this.#totals.movedBytes - before;
    this.#totals = { ...this.#totals, segments: this.#totals.segments + freed };
    logger.info("segments compacted", {
      of: victims.size,
      freed,
      movedBytes,
      tookMs: Math.round(clock.nowMs() - beganMs),
    });
    if (freed > 0) this.#parts.onFreed();
  }

  /** Never rejects. */
  async #run(): Promise<void> {
    for (;;) {
      await this.#sleeper.sleep(lookMs);
      if (this.#sleeper.stopped) return;
      try {
        await this.round();
      } catch (error) {
        if (!isNoSpace(error)) this.#parts.logger.warn("compaction stops for a while", { reason: String(error) });
      }
    }
  }

  /** Segments that are worth it, the deadest first; none if all of them together are not. */
  async #victims(): Promise<Set<number>> {
    const { clock, log, state, room } = this.#parts;
    const fraction = room.isTight ? deadFractionTight : deadFraction;
    const candidates: { segment: number; liveBytes: number; deadBytes: number }[] = [];
    const segments = log.segments().slice(0, -1);
    const known = new Set(segments);
    for (const segment of this.#allocated.keys()) if (!known.has(segment)) this.#allocated.delete(segment);
    const nowMs = clock.nowMs();
    for (const [segment, untilMs] of this.#stuck)
      if (untilMs <= nowMs || !known.has(segment)) this.#stuck.delete(segment);
    for (const segment of segments) {
      if (this.#sleeper.stopped) return new Set();
      const liveBytes = state.space.liveBytes(segment);
      const before = this.#allocated.get(segment);
      if (!state.space.isHeld(segment) || this.#stuck.has(segment)) continue;
      if (before !== undefined && before - liveBytes < fraction * before) continue;
      const bytes = await log.allocatedBytes(segment);
      this.#allocated.set(segment, bytes);
      const deadBytes = bytes - liveBytes;
      if (deadBytes >= fraction * bytes) candidates.push({ segment, liveBytes, deadBytes });
    }
    candidates.sort((left, right) => right.deadBytes / (right.liveBytes + 1) - left.deadBytes / (left.liveBytes + 1));
    const victims = new Set<number>();
    let [freedBytes, movedBytes] = [0, 0];
    for (const { segment, liveBytes, deadBytes } of candidates.slice(0, victimsMax)) {
      if (movedBytes + liveBytes > room.spareBytes / 2) break;
      victims.add(segment);
      freedBytes += deadBytes;
      movedBytes += liveBytes;
    }
    const isWorth = room.isTight || freedBytes >= worthFraction * state.space.totalLiveBytes();
    return isWorth ? victims : new Set();
  }

  /** So long that the work since the last rest was no more than its share of the time. */
  async #rest(): Promise<void> {
    const { clock, room } = this.#parts;
    const share = room.isTight ? tightShare : defaultShare;
    const workedMs = clock.nowMs() - this.#workingSinceMs;
    await this.#sleeper.sleep(workedMs * (1 / share - 1));
    this.#workingSinceMs = clock.nowMs();
  }
}

/** Zeros are moved without reading any. */
const noData = new Uint8Array(0);

interface SweepHooks {
  readonly rest: () => Promise<void>;
  readonly isStopped: () => boolean;
  readonly moved: (bytes: number) => void;
}

/** One way through the index (steps 2 to 4). */
class Sweep {
  readonly #parts: CompactionParts;
  readonly #victims: ReadonlySet<number>;
  readonly #hooks: SweepHooks;
  #batch: Move[] = [];
  #batchBytes = 0;
  /** Chunks that hold shared data at its new place, by the chunk that it was written for. */
  readonly #sharers = new Map<number, number[]>();

  constructor(parts: CompactionParts, victims: ReadonlySet<number>, hooks: SweepHooks) {
    this.#parts = parts;
    this.#victims = victims;
    this.#hooks = hooks;
  }

  async run(): Promise<void> {
    const { index } = this.#parts.state;
    for (let from = 0; !this.#isOver; ) {
      const chunks = index.list(from, Number.MAX_SAFE_INTEGER, rowsAtOnce);
      if (chunks.length === 0) break;
      for (const chunk of chunks) {
        const extents = index.peek(chunk)?.extents ?? [];
        for (const extent of extents) if (this.#victims.has(extent.segment)) await this.#take(chunk, extent);
      }
      from = chunks.at(-1)! + 1;
      await this.#hooks.rest();
    }
    await this.#flush();
  }

  get #isOver(): boolean {
    return this.#hooks.isStopped() || this.#parts.room.isExhausted;
  }

  async #take(chunk: number, extent: StoredExtent): Promise<void> {
    if (this.#isOver) return;
    // When all other holders have moved, the last one looks as if it were the only one.
    if (this.#sharers.has(extent.origin) || this.#parts.state.space.isShared(placeOf(extent))) {
      await this.#flush();
      await this.#takeShared(chunk, extent);
      return;
    }
    this.#batch.push({ chunk, extent });
    if (!isZeros(extent)) this.#batchBytes += placeOf(extent).length;
    if (this.#batchBytes >= batchBytes || this.#batch.length >= batchRecordsMax) await this.#flush();
  }

  async #takeShared(chunk: number, extent: StoredExtent): Promise<void> {
    const { state, append } = this.#parts;
    const sharers = this.#sharers.get(extent.origin) ?? [];
    for (const source of sharers) {
      const there = state.index.peek(source)?.extents ?? [];
      const same = overlapping(there, extent.firstBlock, endBlock(extent)).filter(
        (one) => sameBlocks(one, extent) && !this.#victims.has(one.segment),
      );
      for (const { firstBlock, checksums } of same) {
        await append({ kind: "share", chunk, source, firstBlock, blockCount: checksums.length });
      }
    }
    const now = state.index.peek(chunk)?.extents ?? [];
    for (const left of overlapping(now, extent.firstBlock, endBlock(extent))) {
      if (this.#victims.has(left.segment)) this.#batch.push({ chunk, extent: left });
    }
    await this.#flush();
    if (sharers.length >= sharersMax || (sharers.length === 0 && this.#sharers.size >= sharedOriginsMax)) return;
    this.#sharers.set(extent.origin, [...sharers, chunk]);
  }

  /** Moves the batch: all of it with one commit or a few. */
  async #flush(): Promise<void> {
    const { reader, append, readyToWrite } = this.#parts;
    const batch = this.#batch.splice(0);
    this.#batchBytes = 0;
    if (batch.length === 0 || this.#isOver) return;
    const read = await Promise.all(batch.map(async (move) => ({ move, data: await this.#read(reader, move) })));
    await readyToWrite();
    const appended: Promise<unknown>[] = [];
    for (const { move, data } of read) {
      if (data === undefined) continue;
      const { chunk, extent } = move;
      const { firstBlock, stamp, origin, checksums } = extent;
      const record: StoreRecord = { kind: "move", chunk, firstBlock, stamp, origin, checksums: [...checksums] };
      appended.push(isZeros(extent) ? append(record) : append(record, data));
      this.#hooks.moved(data.byteLength);
    }
    for (const result of await Promise.allSettled(appended)) if (result.status === "rejected") throw result.reason;
    for (const { data } of read) if (data !== undefined) responsePayloads.giveBack(data);
    await this.#hooks.rest();
  }

  /** Undefined for data that isn't good: it must not be laid down as if it were new. */
  async #read(reader: BlockReader, { chunk, extent }: Move): Promise<Uint8Array | undefined> {
    const now = overlapping(this.#parts.state.index.peek(chunk)?.extents ?? [], extent.firstBlock, endBlock(extent));
    const isThere = now.length === 1 && sameBlocks(now[0]!, extent) && placesEqual(now[0]!, extent);
    if (!isThere) return undefined;
    if (isZeros(extent)) return noData;
    const { whole, data } = await reader.isWhole(chunk, [extent]);
    return whole ? data : undefined;
  }
}

function placesEqual(left: StoredExtent, right: StoredExtent): boolean {
  return (
    left.segment === right.segment && left.offset === right.offset && left.checksums.length === right.checksums.length
  );
}
