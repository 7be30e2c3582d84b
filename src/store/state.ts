/**
 * What the records of the log make of the store: extents of chunks, space of segments, groups. Records are applied one
 * after the other, in the order of the log, when they are durable; at a start they are replayed onto the last
 * checkpoint. Both go through `apply`, which looks at the record and the state and at nothing else.
 *
 * Why writes are judged here and not when they arrive: two writes to a block may be on their way to the disk at the same
 * time, and only the order of the log says which found which.
 */
import { BrineError } from "../errors/brine-error.ts";
import type { LoggedRecord } from "../log/segment-log.ts";
import type { KeyValue } from "../platform/key-value.ts";
import type { GroupView } from "../wire/catalogue/leader.ts";
import { compareVersions } from "../wire/catalogue/store.ts";
import type { ChunkState } from "./chunk-row.ts";
import {
  endBlock,
  type Overlay,
  overlapping,
  overlay,
  part,
  placeOf,
  remove,
  type StoredExtent,
  sameBlocks,
  sameStamp,
  standing,
} from "./extents.ts";
import { ExtentIndex } from "./index.ts";
import { LostBlocks, withLost } from "./lost-blocks.ts";
import type { RecordOf, StoreRecord } from "./record.ts";
import { Space } from "./space.ts";

/** What became of a record; anything but done is told to the one who asked. */
export type Outcome = "done" | "superseded" | "unknownChunk";

type Location = Pick<LoggedRecord, "segment" | "payloadOffset" | "payloadBytes">;

export class State {
  readonly index: ExtentIndex;
  readonly space: Space;
  readonly lost: LostBlocks;
  readonly groups = new Map<number, GroupView>();
  /** The index is being built again, perhaps without the records that came first: see `#takeMoved`. */
  #isRebuilding: boolean;

  /** @param onDamage gets what is wrong with a row that makes no sense */
  constructor(
    keyValue: KeyValue,
    groups: readonly GroupView[],
    onDamage: (reason: string) => void,
    options: { isRebuilding: boolean } = { isRebuilding: false },
  ) {
    this.#isRebuilding = options.isRebuilding;
    this.index = new ExtentIndex(keyValue, onDamage);
    this.space = new Space(keyValue);
    this.lost = new LostBlocks(keyValue, this.index);
    for (const view of groups) this.groups.set(view.group, view);
  }

  /** All that is left of the log is applied. */
  rebuilt(): void {
    this.#isRebuilding = false;
  }

  apply(record: StoreRecord, location: Location): Outcome {
    switch (record.kind) {
      case "write":
        return this.#write(record, location);
      case "replace":
        return this.#replace(record, location);
      case "discard":
        return this.#discard(record);
      case "clone":
        return this.#clone(record);
      case "delete":
        for (const chunk of record.chunks) this.#delete(chunk);
        return "done";
      case "deleteEmpty":
        return this.#deleteEmpty(record);
      case "groups":
        for (const view of record.views) this.#setGroup(view);
        return "done";
      case "move":
        return this.#isRebuilding ? this.#takeMoved(record, location) : this.#move(record, location);
      case "share":
        return this.#share(record);
      case "lose":
        return this.#lose(record);
    }
  }

  /** Puts what has changed into the KeyValue; the caller commits. Groups are kept by checkpointer.ts. */
  save(): void {
    this.index.save();
    this.space.save();
  }

  #write(record: RecordOf<"write">, location: Location): Outcome {
    const added = extentOf(record, location);
    const { stamp } = record;
    const before = this.index.get(record.chunk);
    const result = overlay(before?.extents ?? [], added, (present) => {
      const found = standing(present.stamp.version, stamp.version);
      // The same write again in a newer generation (or of what was copied): it must show that it is alive.
      return found === "lower" || (found === "same" && isNewer(stamp, present.stamp));
    });
    this.#account(added, result);
    this.#put(record.chunk, before, stamp.generation, stamp.session, result.extents);
    const lost = overlapping(before?.extents ?? [], added.firstBlock, endBlock(added)).some(
      (present) => standing(present.stamp.version, stamp.version) === "superseded",
    );
    return lost ? "superseded" : "done";
  }

  #replace(record: RecordOf<"replace">, location: Location): Outcome {
    const added = extentOf(record, location);
    const { stamp, expected } = record;
    const before = this.index.get(record.chunk);
    if (before === undefined && expected !== undefined) {
      // What was to be replaced went with its chunk: it must not come back.
      this.space.take(placeOf(added));
      this.space.release(placeOf(added));
      return "done";
    }
    const result = overlay(
      before?.extents ?? [],
      added,
      (present) =>
        compareVersions(present.stamp.version, stamp.version) < 0 ||
        (expected !== undefined && sameStamp(present.stamp, expected)),
    );
    this.#account(added, result);
    this.#put(record.chunk, before, stamp.generation, stamp.session, result.extents);
    return "done";
  }

  #discard(record: RecordOf<"discard">): Outcome {
    const before = this.index.get(record.chunk);
    if (before === undefined) return "done";
    const result = remove(before.extents, record.firstBlock, record.firstBlock + record.blockCount, (present) =>
      sameStamp(present.stamp, record.expected),
    );
    for (const extent of result.released) this.space.release(placeOf(extent));
    if (result.released.length > 0) this.index.set(record.chunk, { ...before, extents: result.extents });
    return "done";
  }

  /**
   * Blocks keep the stamps they have in the source: whether one of them is an unfinished write of long ago must stay
   * visible. The chunk itself carries generation and session of the clone.
   */
  #clone(record: RecordOf<"clone">): Outcome {
    const { chunk, generation, session } = record;
    const before = this.index.get(chunk);
    if (before !== undefined && before.generation >= generation) return "done";
    const source = record.blockCount === 0 ? undefined : this.index.get(record.source);
    if (source === undefined && record.blockCount > 0 && !record.tolerant) return "unknownChunk";
    let extents: readonly StoredExtent[] = before?.extents ?? [];
    for (const shared of overlapping(source?.extents ?? [], 0, record.blockCount)) {
      const result = overlay(
        extents,
        shared,
        (present) => compareVersions(present.stamp.version, shared.stamp.version) < 0,
      );
      this.space.share(placeOf(shared));
      for (const refused of result.refused) this.space.release(placeOf(refused));
      for (const released of result.released) this.space.release(placeOf(released));
      extents = result.extents;
    }
    this.#put(chunk, before, generation, session, extents);
    this.lost.note(chunk, extents);
    return "done";
  }

  #lose({ generation, ranges }: RecordOf<"lose">): Outcome {
    for (const range of ranges) {
      const before = this.index.get(range.chunk);
      const extents = withLost(before?.extents ?? [], range, generation);
      this.#put(range.chunk, before, generation, 0, extents);
      this.lost.note(range.chunk, extents);
    }
    return "done";
  }

  #delete(chunk: number): void {
    const before = this.index.get(chunk);
    if (before === undefined) return;
    for (const extent of before.extents) this.space.release(placeOf(extent));
    this.index.set(chunk, undefined);
  }

  #deleteEmpty(record: RecordOf<"deleteEmpty">): Outcome {
    const before = this.index.get(record.chunk);
    if (before === undefined || before.extents.length > 0) return "done";
    if (before.generation < record.generation || before.session === record.session)
      this.index.set(record.chunk, undefined);
    return "done";
  }

  /** What has been overwritten, discarded or deleted since it was read stays so: the copy of it is dead from the start. */
  #move(record: RecordOf<"move">, location: Location): Outcome {
    const added = extentOf(record, location);
    const before = this.index.get(record.chunk);
    const end = endBlock(added);
    this.space.take(placeOf(added));
    let extents = before?.extents ?? [];
    let next = added.firstBlock;
    for (const present of overlapping(extents, next, end)) {
      if (!sameBlocks(present, added)) continue;
      if (next < present.firstBlock) this.space.release(placeOf(part(added, next, present.firstBlock)));
      next = endBlock(present);
      extents = overlay(extents, part(added, present.firstBlock, next), () => true).extents;
      this.space.release(placeOf(present));
    }
    if (next < end) this.space.release(placeOf(part(added, next, end)));
    if (before !== undefined) this.index.set(record.chunk, { ...before, extents });
    return "done";
  }

  /** The segment with the first copy is gone, and with it the record that made the blocks: this one has all that it said. */
  #takeMoved(record: RecordOf<"move">, location: Location): Outcome {
    const added = extentOf(record, location);
    const { stamp } = record;
    const before = this.index.get(record.chunk);
    const wins = (present: StoredExtent) =>
      compareVersions(present.stamp.version, stamp.version) < 0 || sameBlocks(present, added);
    const result = overlay(before?.extents ?? [], added, wins);
    this.#account(added, result);
    this.#put(record.chunk, before, stamp.generation, stamp.session, result.extents);
    return "done";
  }

  /** After one of several holders has moved: they share again. */
  #share({ chunk, source, firstBlock, blockCount }: RecordOf<"share">): Outcome {
    const before = this.index.get(chunk);
    const there = this.index.get(source);
    if (before === undefined || there === undefined) return "done";
    let { extents } = before;
    for (const wanted of overlapping(there.extents, firstBlock, firstBlock + blockCount)) {
      for (const present of overlapping(before.extents, wanted.firstBlock, endBlock(wanted))) {
        const shared = part(wanted, present.firstBlock, endBlock(present));
        const isThere = present.segment === shared.segment && present.offset === shared.offset;
        if (isThere || !sameBlocks(present, shared)) continue;
        this.space.share(placeOf(shared));
        this.space.release(placeOf(present));
        extents = overlay(extents, shared, () => true).extents;
      }
    }
    this.index.set(chunk, { ...before, extents });
    return "done";
  }

  #setGroup(view: GroupView): void {
    const present = this.groups.get(view.group);
    if (present !== undefined && present.generation > view.generation) {
      throw new BrineError("internal", `generation of group ${view.group} would fall to ${view.generation}`);
    }
    this.groups.set(view.group, view);
  }

  #account(added: StoredExtent, result: Overlay): void {
    if (added.checksums.length === 0) return;
    this.space.take(placeOf(added));
    for (const refused of result.refused) this.space.release(placeOf(refused));
    for (const released of result.released) this.space.release(placeOf(released));
  }

  #put(
    chunk: number,
    before: ChunkState | undefined,
    generation: number,
    session: number,
    extents: readonly StoredExtent[],
  ): void {
    const older = before !== undefined && before.generation >= generation ? before : { generation, session };
    this.index.set(chunk, { generation: older.generation, session: older.session, extents });
  }
}

/** True if a stamp of the same version comes from a later request. */
export function isNewer(written: StoredExtent["stamp"], present: StoredExtent["stamp"]): boolean {
  return (
    written.generation > present.generation ||
    (written.generation === present.generation && written.session !== present.session)
  );
}

function extentOf(
  record: RecordOf<"write"> | RecordOf<"replace"> | RecordOf<"move">,
  location: Location,
): StoredExtent {
  return {
    firstBlock: record.firstBlock,
    stamp: record.stamp,
    origin: record.origin,
    checksums: record.checksums,
    segment: location.segment,
    offset: location.payloadBytes === 0 ? 0 : location.payloadOffset,
  };
}
