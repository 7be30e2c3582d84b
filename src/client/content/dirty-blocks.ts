/**
 * The blocks of one file that the stores don't have yet, and which journal entries wait for them.
 *
 * Writes are counted (`mark`); the journal sends an entry when everything up to its mark is durable. A block that is
 * written again before it went out is not simply changed: what an earlier entry exposes must not contain bytes of a later
 * one that could be seen without what happened in between (P3: chmod 600, then the secret). The rules:
 *
 * 1. Bytes that take the place of visible ones go out only after the entries before theirs on which they depend (`Dirt.after`):
 *    those that change the file, or a directory above it. New bytes, and bytes behind every end that the file has had since the
 *    last committed entry, go out any time.
 * 2. A later write changes or replaces an earlier dirt only if it may go out with it: if the earlier one's entry is not
 *    among those that it has to wait for. Then the new dirt answers for the earlier entry, too.
 * 3. Else the earlier dirt stays as it is and goes out with its own, lower version. Stores keep the highest version of a
 *    block, so the order of arrival doesn't matter.
 * 4. What is under way is never changed.
 */
import { blockBytes } from "../../namespace/model.ts";
import type { Span } from "./buffer-pool.ts";
import type { ChunkView } from "./chunk-view.ts";
import type { Contents } from "./contents.ts";
import { Dirt } from "./dirt.ts";
import type { FileContent } from "./file-content.ts";
import { WaitingDirts } from "./waiting-dirts.ts";

/** Of which write blocks are, and when they may go out. */
export interface Origin {
  readonly mark: number;
  readonly position: number;
  readonly after: number;
}

export class DirtyBlocks {
  readonly #contents: Contents;
  readonly #content: FileContent;
  /** Not durable yet. */
  readonly #all = new Set<Dirt>();
  readonly #waiting = new WaitingDirts();
  #mark: number;
  /** The write that is being put in right now. */
  #placing: number | undefined;
  #flushedTo = 0;
  /** The lowest first mark in `#all`, if it is known. */
  #lowestMark: number | undefined = Number.POSITIVE_INFINITY;

  /** @param mark of the last write before */
  constructor(contents: Contents, content: FileContent, mark: number) {
    this.#contents = contents;
    this.#content = content;
    this.#mark = mark;
  }

  get mark(): number {
    return this.#mark;
  }

  /** Bytes that could go out and were not asked to. */
  get freeBytes(): number {
    return this.#waiting.freeBytes(this.#contents.journal.committedPosition);
  }

  /** The last journal entry that something waits for before it may go out; 0: nothing does. */
  get heldBy(): number {
    return this.#waiting.heldBy(this.#contents.journal.committedPosition);
  }

  /** A write begins to put its blocks in, in this very turn: until `placed` its mark is not durable. */
  place(): number {
    this.#mark += 1;
    this.#placing = this.#mark;
    return this.#mark;
  }

  /** The write is in, or has failed without putting anything in. */
  placed(): void {
    this.#placing = undefined;
    const wanted = this.#flushedTo;
    this.#flushedTo = 0;
    if (wanted > 0) this.flush(wanted);
    this.#checkClean();
  }

  isDurable(mark: number): boolean {
    if (this.#placing !== undefined && mark >= this.#placing) return false;
    return mark < this.#firstMark();
  }

  /** Nothing waits to go out, or for the journal. */
  get isUnderWay(): boolean {
    return this.#placing === undefined && this.#waiting.isEmpty;
  }

  /** Sends what belongs to writes up to `mark` and may go out. */
  flush(mark: number): void {
    if (this.#placing !== undefined && mark >= this.#placing) this.#flushedTo = Math.max(this.#flushedTo, mark);
    const { journal, writeBack } = this.#contents;
    const taken = this.#waiting.take(mark, journal.committedPosition);
    for (const dirt of taken) writeBack.queue(dirt);
    if (taken.length > 0) this.#checkWaiting();
  }

  /** Changes bytes where a dirt has them all and may be changed. False if not: `put` does it. */
  overwrite(view: ChunkView, fromByte: number, bytes: Uint8Array, origin: Origin): boolean {
    const piece = view.at(Math.floor(fromByte / blockBytes));
    const dirt = piece?.dirt;
    if (piece === undefined || dirt === undefined || !dirt.isOpen || piece.slab.isLent) return false;
    const offset = fromByte - piece.first * blockBytes;
    if (offset + bytes.byteLength > piece.bytes.byteLength) return false;
    const after = Math.max(origin.after, dirt.after);
    if (after >= dirt.firstPosition) return false;
    if (after > dirt.after) {
      const waited = this.#waiting.delete(dirt);
      dirt.after = after;
      if (waited) this.#waiting.add(dirt);
    }
    piece.bytes.set(bytes, offset);
    return true;
  }

  /** Lays whole blocks into the chunk. The span's retained reference becomes the dirt's. */
  put(view: ChunkView, first: number, span: Span, origin: Origin, grantedBytes: number): void {
    const end = first + span.bytes.byteLength / blockBytes;
    const overlapped = new Set<Dirt>();
    for (const { dirt } of view.between(first, end)) if (dirt?.isOpen) overlapped.add(dirt);
    let { after, mark, position } = origin;
    // Edge blocks have bytes of what was there.
    for (const dirt of overlapped) after = Math.max(after, dirt.after);
    for (const dirt of overlapped) {
      if (!this.#yields(dirt, first, end, after)) {
        dirt.isCurrent = false;
        continue;
      }
      mark = Math.min(mark, dirt.firstMark);
      position = Math.min(position, dirt.firstPosition);
    }
    const fields = {
      content: this.#content,
      view,
      first,
      ...span,
      sequence: this.#contents.nextSequence(),
      grantedBytes,
    };
    const dirt = new Dirt({ ...fields, firstMark: mark, firstPosition: position, after });
    this.#all.add(dirt);
    this.wait(dirt);
    if (this.#lowestMark !== undefined) this.#lowestMark = Math.min(this.#lowestMark, mark);
    this.#contents.budget.add(span.bytes.byteLength);
    view.lay(first, span, dirt);
  }

  /** It is not to go out yet. */
  wait(dirt: Dirt): void {
    dirt.state = "waiting";
    this.#waiting.add(dirt);
    this.#contents.writeBack.waits(this.#content);
  }

  /** All members have it on disk, or never will. */
  durable(dirt: Dirt): void {
    if (dirt.state === "done") return;
    this.#end(dirt);
    dirt.view.isStored = true;
    dirt.view.cleaned(dirt);
    this.#checkClean();
  }

  /** The session has ended. Returns true if something was not durable. */
  lose(): boolean {
    const lost = this.#all.size > 0;
    for (const dirt of this.#all) {
      // It may be on its way still.
      dirt.slab.isLent = true;
      this.#end(dirt);
    }
    this.#checkClean();
    return lost;
  }

  /** An earlier dirt that may go out with a later one gives its blocks to it: all of them, or those at an end. */
  #yields(dirt: Dirt, first: number, end: number, after: number): boolean {
    if (!dirt.isCurrent || after >= dirt.firstPosition) return false;
    if (dirt.first >= first && dirt.end <= end) {
      this.#contents.space.giveBack(dirt.group, dirt.grantedBytes);
      this.#end(dirt);
      return true;
    }
    if (dirt.first < first && dirt.end > end) return false;
    const before = dirt.bytes.byteLength;
    if (dirt.first < first) dirt.bytes = dirt.bytes.subarray(0, (first - dirt.first) * blockBytes);
    else {
      dirt.bytes = dirt.bytes.subarray((end - dirt.first) * blockBytes);
      dirt.first = end;
    }
    const yielded = before - dirt.bytes.byteLength;
    if (dirt.state === "waiting") this.#waiting.shrunk(dirt, yielded);
    this.#contents.budget.release(yielded);
    return true;
  }

  #checkWaiting(): void {
    if (this.#waiting.isEmpty) this.#contents.writeBack.waitsNoMore(this.#content);
  }

  #end(dirt: Dirt): void {
    if (this.#waiting.delete(dirt)) this.#checkWaiting();
    dirt.state = "done";
    this.#all.delete(dirt);
    if (dirt.firstMark === this.#lowestMark) this.#lowestMark = undefined;
    this.#contents.budget.release(dirt.bytes.byteLength);
    dirt.slab.release();
  }

  #checkClean(): void {
    if (this.#all.size === 0 && this.#placing === undefined) this.#content.cleaned();
  }

  #firstMark(): number {
    if (this.#lowestMark === undefined) {
      let lowest = Number.POSITIVE_INFINITY;
      for (const { firstMark } of this.#all) lowest = Math.min(lowest, firstMark);
      this.#lowestMark = lowest;
    }
    return this.#lowestMark;
  }
}
