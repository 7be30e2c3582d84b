/**
 * Dirty blocks of all files on their way to the stores: queued by group, so that one request carries those of many files.
 *
 *     DirtyBlocks ──► queue of the group ──► batch (≤ 1 MiB) ──► all members ──► durable, or offered again
 *
 * 1. What is queued in one turn goes out together. While as many batches are under way as are useful, more gathers.
 * 2. A batch is offered until every part is on all members' disks (replication.ts: failures, generations). A part that a
 *    full member refuses is offered again and again, and may use the store's reserve: an application was told that it is
 *    written, and the journal waits for it. Grants of space make that rare (space-grants.ts).
 * 3. A part that meets blocks of a later grant is lost: somebody else has the file, which leases should make impossible.
 *
 * Data that nobody has asked for goes out when it is a mebibyte of one file, when memory gets short, and by age.
 */
import { FileError } from "../../errors/file-error.ts";
import type { Timer } from "../../platform/clock.ts";
import { type PartFailure, writeBlocks, writePartsMax } from "../../wire/catalogue/store.ts";
import { Backoff } from "../retry.ts";
import { Operation, type WaitView } from "../waits.ts";
import type { Contents } from "./contents.ts";
import type { Dirt } from "./dirt.ts";
import type { FileContent } from "./file-content.ts";
import type { Change, Offered } from "./replication.ts";
import { type BatchPart, partsOf } from "./write-batch.ts";

/** A batch is closed when it has so much; a larger one would only make its first part wait longer. */
const batchBytes = 1024 * 1024;
/** Batches of a group under way: the members' disks and the wire are busy, and what gathers meanwhile is worth a batch. */
const batchesPerGroupMax = 4;
/** Of all groups. */
const batchesMax = 16;
/** Data of one file that is as good as complete: the rest of a batch need not be awaited. */
export const streamBytes = 1024 * 1024;
/** Between tries of what a full member refused. */
const retryDelayMsMax = 1_000;

interface GroupQueue {
  readonly group: number;
  dirts: Dirt[];
  from: number;
  underWay: number;
}

interface Answer {
  readonly failed: readonly PartFailure[];
}

export class WriteBack {
  readonly #contents: Contents;
  readonly #ageMs: number;
  readonly #queues = new Map<number, GroupQueue>();
  /** Files with data that nobody has asked for, the longest waiting first. */
  readonly #waiting = new Set<FileContent>();
  readonly #operations = new Set<Operation>();
  #batches = 0;
  #dispatching = false;
  #pushedPosition = 0;
  #progress: PromiseWithResolvers<void> | undefined;
  #timer: Timer | undefined;
  #isLost = false;

  constructor(contents: Contents, ageMs: number) {
    this.#contents = contents;
    this.#ageMs = ageMs;
  }

  /** What is under way waits for. */
  waits(content: FileContent): void {
    this.#waiting.add(content);
    if (this.#timer === undefined && !this.#isLost) this.#arm();
  }

  waitsNoMore(content: FileContent): void {
    this.#waiting.delete(content);
  }

  /** A dirt that may go out. */
  queue(dirt: Dirt): void {
    dirt.state = "queued";
    const { group } = dirt;
    let queue = this.#queues.get(group);
    if (queue === undefined) {
      queue = { group, dirts: [], from: 0, underWay: 0 };
      this.#queues.set(group, queue);
    }
    queue.dirts.push(dirt);
    if (!this.#dispatching) void this.#dispatchSoon();
  }

  /** Memory is short: everything goes out that may, and what has to wait for the journal makes the journal hurry. */
  press(): void {
    this.flushAll();
    const { journal, budget } = this.#contents;
    const { position } = journal;
    // One push at a time: each ends the joining of writes to one entry.
    if (position === this.#pushedPosition || journal.committedPosition < this.#pushedPosition) return;
    this.#pushedPosition = position;
    journal.committed(position).then(
      () => {
        if (budget.isPressed) this.press();
      },
      () => {},
    );
  }

  flushAll(): void {
    for (const content of [...this.#waiting]) content.flush(Number.POSITIVE_INFINITY);
  }

  /** Resolves when some data has become durable, has to wait for the journal, or is lost with the session. */
  async progress(): Promise<void> {
    if (this.#isLost) return;
    this.#progress ??= Promise.withResolvers();
    await this.#progress.promise;
  }

  /** Requests under way and what they wait for. */
  list(): WaitView[] {
    const nowMs = this.#contents.platform.clock.nowMs();
    return [...this.#operations].map(({ name, inode, waitsFor, startedMs }) => {
      return { operation: name, inode, waitsFor, sinceMs: nowMs - startedMs };
    });
  }

  /** The session has ended; the contents lose what they have. */
  lost(): void {
    this.#isLost = true;
    this.#timer?.cancel();
    this.#queues.clear();
    this.#progressed();
  }

  #progressed(): void {
    this.#progress?.resolve();
    this.#progress = undefined;
  }

  #arm(): void {
    this.#timer = this.#contents.platform.clock.startTimer(this.#ageMs, () => {
      this.#timer = undefined;
      this.flushAll();
      if (this.#waiting.size > 0) this.#arm();
    });
  }

  // --- batches ---

  async #dispatchSoon(): Promise<void> {
    this.#dispatching = true;
    await undefined; // what is queued in this turn goes out together
    this.#dispatching = false;
    this.#dispatch();
  }

  #dispatch(): void {
    for (const queue of this.#queues.values()) {
      while (this.#batches < batchesMax && queue.underWay < batchesPerGroupMax) {
        const dirts = this.#take(queue);
        if (dirts.length === 0) break;
        this.#batches += 1;
        queue.underWay += 1;
        void this.#run(queue, dirts);
      }
    }
  }

  #take(queue: GroupQueue): Dirt[] {
    const { committedPosition } = this.#contents.journal;
    const taken: Dirt[] = [];
    let bytes = 0;
    while (queue.from < queue.dirts.length && bytes < batchBytes && taken.length < writePartsMax) {
      const dirt = queue.dirts[queue.from++]!;
      if (dirt.state !== "queued") continue;
      // A later write may have joined it that has to wait.
      if (dirt.after > committedPosition) {
        dirt.content.dirty.wait(dirt);
        this.#contents.journal.dataWaits();
        this.#progressed();
      } else {
        taken.push(dirt);
        bytes += dirt.bytes.byteLength;
      }
    }
    if (queue.from === queue.dirts.length) {
      queue.dirts = [];
      queue.from = 0;
    } else if (queue.from >= 1024) {
      queue.dirts = queue.dirts.slice(queue.from);
      queue.from = 0;
    }
    return taken;
  }

  /** Never rejects. */
  async #run(queue: GroupQueue, dirts: Dirt[]): Promise<void> {
    const operation = new Operation("writeBack", dirts[0]!.content.inode, this.#contents.platform.clock.nowMs());
    this.#operations.add(operation);
    let parts = partsOf(dirts, () => this.#contents.nextSequence());
    let backoff: Backoff | undefined;
    while (parts.length > 0 && !this.#isLost) {
      if (backoff !== undefined) await backoff.wait();
      parts = await this.#attempt(queue.group, parts, backoff !== undefined, operation);
      backoff ??= new Backoff(this.#contents.platform, retryDelayMsMax);
    }
    this.#operations.delete(operation);
    this.#batches -= 1;
    queue.underWay -= 1;
    if (!this.#isLost) this.#dispatch();
  }

  /** Offers the parts; returns those that have to be offered again. */
  async #attempt(group: number, parts: BatchPart[], again: boolean, operation: Operation): Promise<BatchPart[]> {
    const session = this.#contents.session.id;
    const payload = parts.flatMap((part) => part.pieces);
    const wire = parts.map(({ chunk, firstBlock, version, checksums }) => ({ chunk, firstBlock, version, checksums }));
    const change: Change<Answer> = {
      group,
      reached: new Set(),
      uncertain: new Set(),
      lacksRoom: ({ failed }) => failed.some(({ code }) => code === "noSpace"),
      send: async (link, generation) => {
        const body = { session, group, generation, parts: wire, restores: again };
        return (await link.request(writeBlocks, body, payload)).body;
      },
    };
    try {
      const offered = await this.#contents.replication.offer(change, operation);
      return this.#settle(group, parts, offered, operation);
    } catch (error) {
      // With the session everything ends. Anything else is a defect; the data is kept and offered again.
      if (!this.#contents.session.ended && !again) {
        this.#contents.log.error("write-back failed", { group, reason: String((error as Error)?.stack ?? error) });
      }
      return parts;
    } finally {
      // A request without an answer may be on its way still: its memory is not used again.
      if (change.uncertain.size > 0) for (const { dirts } of parts) for (const { slab } of dirts) slab.isLent = true;
    }
  }

  #settle(group: number, parts: BatchPart[], offered: Offered<Answer>, operation: Operation): BatchPart[] {
    const again = new Set<BatchPart>();
    const lost = new Set<BatchPart>();
    for (const [store, { failed }] of offered.answers) {
      for (const { part, code, reason } of failed) {
        const one = parts[part];
        if (one === undefined) continue;
        if (code === "noSpace" || code === "badChecksum") again.add(one);
        else lost.add(one);
        operation.waitsFor = `${code === "noSpace" ? "space on " : ""}store ${store}`;
        this.#contents.log.warn("write-back refused", { store, inode: one.dirts[0]!.content.inode, code, reason });
      }
    }
    if (offered.refused.size > 0) return parts;
    for (const part of parts) if (!again.has(part) || lost.has(part)) this.#done(group, part, lost.has(part));
    this.#contents.cache.trim();
    this.#contents.journal.dataDurable();
    this.#progressed();
    return parts.filter((part) => again.has(part) && !lost.has(part));
  }

  #done(group: number, { dirts }: BatchPart, isLost: boolean): void {
    for (const dirt of dirts) {
      if (dirt.state === "done") continue;
      if (isLost) dirt.content.failed(new FileError("EIO", "another client has written the same blocks"));
      this.#contents.space.used(group, dirt.grantedBytes);
      dirt.content.dirty.durable(dirt);
      if (isLost) dirt.view.drop(dirt.first, dirt.end);
    }
  }
}
