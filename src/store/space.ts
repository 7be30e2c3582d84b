/**
 * Who lies in which segment: live bytes, ranges that several chunks share, and dead ranges that can be given back. Zeros have no
 * bytes in a segment; its log has the record that says so, and they are counted.
 *
 * A range is dead when the last chunk that held it lets go. It may be punched, and a segment without live bytes removed,
 * only below the position of a *durable* checkpoint of the index: replay starts there, and verifies the data it passes.
 * What is punched twice (a crash forgot that it was done) reads as zeros as before: segments are never written again.
 *
 * Changed by state.ts for each record in log order; kept with the index, in the same commits. Reclaiming is reclaim.ts's.
 */
import { decode, encode, type Infer, list, struct, u16, u32, u64 } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import type { LogPosition } from "../log/segment-log.ts";
import { blockBytes } from "../namespace/model.ts";
import type { KeyValue } from "../platform/key-value.ts";
import type { Place } from "./extents.ts";
import { addInterval, type Interval, removeInterval, share, unshare } from "./intervals.ts";
import { numberOfKey, segmentKey, segmentKeysEnd, segmentKeysStart, zerosKey } from "./keys.ts";

/** A segment holds ≤ 2^16 blocks, so its lists do too, and the record stays below 1 MiB. */
const intervalsMax = 65_536;
/** Byte ranges are stored in blocks: a third of the bytes. */
const segmentRecord = struct({
  liveBytes: u64,
  shared: list(struct({ from: u32, to: u32, extra: u16 }), intervalsMax),
  dead: list(struct({ from: u32, to: u32 }), intervalsMax),
});
/** Blocks of zeros that chunks hold by a record in the segment: it must not go before them, but they take no place in it. */
const zerosRecord = struct({ blocks: u64 });

interface Segment extends Infer<typeof segmentRecord> {
  zeroBlocks: number;
}

export class Space {
  readonly #keyValue: KeyValue;
  readonly #segments = new Map<number, Segment>();
  /** Segments that differ from what the KeyValue has. */
  readonly #dirty = new Set<number>();

  constructor(keyValue: KeyValue) {
    this.#keyValue = keyValue;
    let from: Uint8Array = segmentKeysStart;
    for (;;) {
      const rows = keyValue.scan(from, segmentKeysEnd, 100);
      for (const [key, value] of rows) {
        const number = numberOfKey(key);
        const zeros = keyValue.get(zerosKey(number));
        const zeroBlocks = zeros === undefined ? 0 : decode(zerosRecord, zeros).blocks;
        this.#segments.set(number, { ...decode(segmentRecord, value), zeroBlocks });
      }
      if (rows.length < 100) return;
      from = segmentKey(numberOfKey(rows.at(-1)![0]) + 1);
    }
  }

  // What is lost takes no place (extents.ts): it is passed over by all three.

  /** A chunk holds this new data. */
  take(place: Place): void {
    if (place.length === 0 || this.#countZeros(place, 1)) return;
    this.#changed(place.segment).liveBytes += place.length;
  }

  /** One more chunk holds live data. */
  share(place: Place): void {
    if (place.length === 0 || this.#countZeros(place, 1)) return;
    const [from, to] = blocksOf(place);
    share(this.#changed(place.segment).shared, from, to);
  }

  /** A chunk lets go. */
  release(place: Place): void {
    if (place.length === 0 || this.#countZeros(place, -1)) return;
    const segment = this.#changed(place.segment);
    const [from, to] = blocksOf(place);
    for (const unheld of unshare(segment.shared, from, to)) {
      segment.liveBytes -= (unheld.to - unheld.from) * blockBytes;
      addInterval(segment.dead, unheld.from, unheld.to);
    }
    if (segment.liveBytes < 0) throw new RangeError(`segment ${place.segment} has lost more than it held`);
  }

  /** True if several chunks hold any of it. */
  isShared(place: Place): boolean {
    if (isZerosPlace(place)) return false;
    const [from, to] = blocksOf(place);
    return this.#segments.get(place.segment)?.shared.some((one) => one.from < to && one.to > from) === true;
  }

  liveBytes(segment: number): number {
    return this.#segments.get(segment)?.liveBytes ?? 0;
  }

  /** True if chunks hold anything of it, and be it zeros. */
  isHeld(segment: number): boolean {
    const there = this.#segments.get(segment);
    return there !== undefined && isHeld(there);
  }

  /** Bytes that chunks hold, each counted once. */
  totalLiveBytes(): number {
    let sum = 0;
    for (const segment of this.#segments.values()) sum += segment.liveBytes;
    return sum;
  }

  /** Dead ranges of at least `minimumBytes` below `position`, at most `limit`. Told to `punched` when they are gone. */
  punchable(position: LogPosition, minimumBytes: number, limit: number): Place[] {
    const places: Place[] = [];
    for (const [number, segment] of this.#segments) {
      // One that is wholly dead is removed instead, unless it is still being written.
      if (number > position.segment || (!isHeld(segment) && number < position.segment)) continue;
      for (const { from, to } of segment.dead) {
        if (number === position.segment && to * blockBytes > position.offset) break;
        if ((to - from) * blockBytes < minimumBytes) continue;
        places.push({ segment: number, offset: from * blockBytes, length: (to - from) * blockBytes });
        if (places.length === limit) return places;
      }
    }
    return places;
  }

  /** The range was given back. One that has grown meanwhile stays listed, and is punched again as a whole. */
  punched(place: Place): void {
    const [from, to] = blocksOf(place);
    const segment = this.#segments.get(place.segment);
    if (segment !== undefined && removeInterval(segment.dead as Interval[], from, to)) this.#dirty.add(place.segment);
  }

  /** The segment is gone. */
  removed(segment: number): void {
    if (this.#segments.delete(segment)) this.#dirty.add(segment);
  }

  /** After replay: forgets segments that were removed before a crash could tell. Errors: badChecksum (one with data is gone). */
  keepOnly(existing: ReadonlySet<number>): void {
    for (const [number, segment] of [...this.#segments]) {
      if (existing.has(number)) continue;
      if (isHeld(segment)) {
        throw new BrineError("badChecksum", `segment ${number} is missing: ${segment.liveBytes} bytes are lost`);
      }
      this.removed(number);
    }
  }

  /** Puts what has changed into the KeyValue; the caller commits. */
  save(): void {
    for (const number of this.#dirty) {
      const segment = this.#segments.get(number);
      if (segment === undefined) this.#keyValue.delete(segmentKey(number));
      else this.#keyValue.put(segmentKey(number), encode(segmentRecord, segment));
      const blocks = segment?.zeroBlocks ?? 0;
      if (blocks === 0) this.#keyValue.delete(zerosKey(number));
      else this.#keyValue.put(zerosKey(number), encode(zerosRecord, { blocks }));
    }
    this.#dirty.clear();
  }

  /** True if the place is one of zeros: they are counted for each chunk that holds them. */
  #countZeros(place: Place, holders: 1 | -1): boolean {
    if (!isZerosPlace(place)) return false;
    const segment = this.#changed(place.segment);
    segment.zeroBlocks += (holders * place.length) / blockBytes;
    if (segment.zeroBlocks < 0) throw new RangeError(`segment ${place.segment} has lost more zeros than it held`);
    return true;
  }

  #changed(number: number): Segment {
    this.#dirty.add(number);
    let segment = this.#segments.get(number);
    if (segment === undefined) {
      segment = { liveBytes: 0, shared: [], dead: [], zeroBlocks: 0 };
      this.#segments.set(number, segment);
    }
    return segment;
  }
}

function isHeld({ liveBytes, zeroBlocks }: Segment): boolean {
  return liveBytes > 0 || zeroBlocks > 0;
}

function isZerosPlace(place: Place): boolean {
  return place.offset === 0;
}

function blocksOf(place: Place): [from: number, to: number] {
  const from = place.offset / blockBytes;
  if (!Number.isInteger(from)) throw new RangeError(`payload at ${place.offset} is not at a block's start`);
  return [from, from + place.length / blockBytes];
}
