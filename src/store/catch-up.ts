/**
 * Brings this member's copy of groups up to the source's: after a rejoin (catch-up), or after a writer died (equalize).
 *
 * Catch-up of a group in generation G, in which this member takes live writes but isn't read:
 *
 * 1. Page by page, in the order of chunk ids, the digests of the source's chunks are compared with the own ones.
 * 2. A chunk that differs, or is only there, or only here, is reconciled (reconcile.ts). What is live here (written in G by
 *    a session that hasn't ended) stays.
 * 3. A clone that arrives meanwhile shares blocks that may not have been compared yet: its chunk is looked at again at the
 *    end. So is a chunk that is only here and live: its clone or first write is still on its way to the source.
 * 4. Chunks that the leader deletes meanwhile are remembered, so that a copy that was under way doesn't bring them back; and for
 *    a while those deleted before, since the source may still have them.
 * 5. What was bad at the source is repaired from other members (reconcile.ts).
 * 6. Nothing is left to look at: the leader is told.
 *
 * A catch-up that fails is begun anew, until it succeeds or the group's generation changes; what was copied stays, so the
 * next pass finds little to do. What no member can read is copied as bad in the end. After a restart of the store the leader asks again.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { messageOf } from "../errors/message.ts";
import { blockBytes, firstChunkOf, groupOfChunk } from "../namespace/model.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { Sleeper } from "../platform/sleeper.ts";
import { listChunks } from "../wire/catalogue/store.ts";
import type { Peer } from "../wire/peer.ts";
import type { Admission } from "./admission.ts";
import type { Range } from "./comparison.ts";
import type { Pace } from "./pace.ts";
import { type Reconciliation, reconcileChunk, sourceTimeoutMs } from "./reconcile.ts";
import type { Repair } from "./repair.ts";
import type { Store } from "./store.ts";

/**
 * After so many tries what the source's disk doesn't give is taken for bad: it had time to repair it from others, and a disk that stutters
 * to come to itself. Else one bad sector would keep the member from ever becoming in sync.
 */
const unreadableFailures = 5;
/** Groups at once: several sources and disks work, and at most 4 × 4 chunks (64 MiB) are in memory. */
const groupsAtOnce = 4;
const chunksAtOnce = 4;
const pageChunks = 256;
/** A chunk that isn't at the source yet: a client's request arrives within milliseconds, or its session ends. */
const lookAgainMs = 20;
/** The leader deletes 4,096 chunks at a time, and goes on when all members have done so: what any may still have is among them. */
const deletedLatelyMax = 4 * 4096;
const retryMsMin = 200;
const retryMsMax = 5_000;

interface Task {
  readonly group: number;
  readonly generation: number;
  source: Address;
  /** Chunks to look at again. */
  readonly again: Set<number>;
  /** Deleted by the leader since the task began. */
  readonly deleted: Set<number>;
  copiedBlocks: number;
  comparedChunks: number;
  /** The chunk up to which all are compared. */
  position: number;
  /** How often it has been begun anew because something failed. */
  failures: number;
}

export interface CatchUpParts {
  readonly platform: Platform;
  readonly store: Store;
  readonly admission: Admission;
  /** Of copying. */
  readonly pace: Pace;
  readonly reportCaughtUp: (group: number, generation: number) => Promise<void>;
  readonly connect: (source: Address) => Promise<Peer>;
  readonly repair: Pick<Repair, "repairUnreadable">;
}

export class CatchUps {
  readonly #parts: CatchUpParts;
  readonly #logger: Logger;
  /** By group: running or waiting for a place. */
  readonly #tasks = new Map<number, Task>();
  readonly #equalizing = new Set<Task>();
  /** Clones under way, by group: their chunks are to be looked at again when they are there. */
  readonly #cloning = new Map<number, number>();
  /** The last ones, of whatever group; ids are never used again. */
  readonly #deletedLately = new Set<number>();
  readonly #waiting: Task[] = [];
  readonly #running = new Set<Promise<void>>();
  readonly #sleeper: Sleeper;

  constructor(parts: CatchUpParts) {
    this.#parts = parts;
    this.#logger = parts.platform.logger.for("store");
    this.#sleeper = new Sleeper(parts.platform.clock);
  }

  /** Begins to catch up; returns at once. One that runs already for the generation goes on. */
  start(group: number, generation: number, source: Address): void {
    const present = this.#tasks.get(group);
    if (present !== undefined && present.generation === generation) {
      present.source = source;
      return;
    }
    const task = newTask(group, generation, source);
    this.#tasks.set(group, task);
    this.#waiting.push(task);
    this.#fill();
  }

  /** Makes chunks equal to the source's; resolves with the number of blocks that were copied. */
  async equalize(wanted: {
    group: number;
    generation: number;
    source: Address;
    chunks: readonly number[];
    all: boolean;
  }): Promise<number> {
    const task = newTask(wanted.group, wanted.generation, wanted.source);
    this.#equalizing.add(task);
    const peer = await this.#connect(task.source);
    try {
      const work = this.#work(task, peer, (writer) => this.#parts.admission.isLive(writer.session));
      if (wanted.all) await this.#pass(task, work);
      else await this.#reconcileAll(task, work, wanted.chunks);
      if (this.#isWanted(task)) return task.copiedBlocks;
      throw new BrineError("wrongGeneration", `group ${task.group} has changed while its chunks were made equal`);
    } finally {
      this.#equalizing.delete(task);
      peer.close("equalized");
    }
  }

  /** A clone begins in a group that is catching up; the function returned is called at its end. */
  cloning(group: number, chunk: number): () => void {
    this.#cloning.set(group, (this.#cloning.get(group) ?? 0) + 1);
    return () => {
      this.#cloning.set(group, this.#cloning.get(group)! - 1);
      this.#tasks.get(group)?.again.add(chunk);
    };
  }

  /** The leader is about to delete these chunks. */
  deleted(chunks: readonly number[]): void {
    for (const chunk of chunks) this.#deletedLately.add(chunk);
    for (const oldest of this.#deletedLately) {
      if (this.#deletedLately.size <= deletedLatelyMax) break;
      this.#deletedLately.delete(oldest);
    }
    for (const task of [...this.#tasks.values(), ...this.#equalizing]) {
      for (const chunk of chunks) if (groupOfChunk(chunk) === task.group) task.deleted.add(chunk);
    }
  }

  /** For the leader: what runs now, or waits. */
  progress(): { group: number; position: number; copiedBytes: number }[] {
    return [...this.#tasks.values()].slice(0, 64).map(({ group, position, copiedBlocks }) => {
      const start = firstChunkOf(group);
      return { group, position: Math.max(position, start) - start, copiedBytes: copiedBlocks * blockBytes };
    });
  }

  /** Ends all that is under way, unfinished. */
  async stop(): Promise<void> {
    this.#tasks.clear();
    this.#waiting.length = 0;
    this.#sleeper.stop();
    await Promise.all(this.#running);
  }

  #fill(): void {
    while (this.#running.size < groupsAtOnce && this.#waiting.length > 0) {
      const running = this.#catchUp(this.#waiting.shift()!).finally(() => {
        this.#running.delete(running);
        this.#fill();
      });
      this.#running.add(running);
    }
  }

  /** Until it has succeeded or makes no sense any more. Never rejects. */
  async #catchUp(task: Task): Promise<void> {
    const { group, generation } = task;
    for (let retryMs = retryMsMin; this.#isWanted(task); retryMs = Math.min(retryMs * 2, retryMsMax)) {
      try {
        await this.#tryCatchUp(task);
        if (this.#isWanted(task)) await this.#parts.reportCaughtUp(group, generation);
        break;
      } catch (error) {
        if (!this.#isWanted(task)) break;
        task.failures += 1;
        const reason = messageOf(error);
        this.#logger.warn("catch-up failed, it is tried again", { group, generation, source: task.source, reason });
        await this.#sleeper.sleep(retryMs);
      }
    }
    if (this.#tasks.get(group) === task) this.#tasks.delete(group);
  }

  async #tryCatchUp(task: Task): Promise<void> {
    const { group, generation, source } = task;
    const startMs = this.#parts.platform.clock.nowMs();
    task.comparedChunks = 0;
    task.copiedBlocks = 0;
    const peer = await this.#connect(source);
    try {
      const { admission } = this.#parts;
      const work = this.#work(
        task,
        peer,
        (writer) => writer.generation >= generation && admission.isLive(writer.session),
      );
      await this.#pass(task, work);
      while (this.#isWanted(task) && (task.again.size > 0 || (this.#cloning.get(group) ?? 0) > 0)) {
        const chunks = [...task.again];
        task.again.clear();
        await this.#reconcileAll(task, work, chunks);
        if (task.again.size > 0 || chunks.length === 0) await this.#sleeper.sleep(lookAgainMs);
      }
    } finally {
      peer.close("caught up");
    }
    const tookMs = Math.round(this.#parts.platform.clock.nowMs() - startMs);
    const { comparedChunks, copiedBlocks } = task;
    if (this.#isWanted(task))
      this.#logger.info("caught up", { group, generation, comparedChunks, copiedBlocks, tookMs });
  }

  /**
   * Compares all chunks of the group and reconciles those that differ. What the source doesn't have any more goes first; and when there is
   * no room, nothing else is done any more: what goes may make some, for the next try. Errors: noSpace.
   */
  async #pass(task: Task, work: Reconciliation): Promise<void> {
    const { group, generation } = task;
    const end = firstChunkOf(group + 1);
    let full: BrineError | undefined;
    let after = Math.max(0, firstChunkOf(group) - 1);
    while (after < end && this.#isWanted(task)) {
      const { body } = await work.source.request(
        listChunks,
        { group, generation, after, limit: pageChunks },
        { timeoutMs: sourceTimeoutMs },
      );
      const upTo = body.chunks.at(-1)?.chunk ?? end;
      const digests = new Map(body.chunks.map(({ chunk, digest }) => [chunk, digest]));
      task.comparedChunks += digests.size;
      const gone: number[] = [];
      for (const { chunk, digest } of this.#ownChunks(group, after, upTo)) {
        if (digests.get(chunk) === digest) digests.delete(chunk);
        else if (!digests.has(chunk)) gone.push(chunk);
      }
      await this.#reconcileAll(task, work, gone);
      if (full === undefined) {
        await this.#reconcileAll(task, work, [...digests.keys()]).catch((error: unknown) => {
          if (!hasCode(error, "noSpace")) throw error;
          full = error;
        });
      }
      after = upTo;
      if (full === undefined) task.position = upTo;
    }
    if (full !== undefined) throw full;
  }

  *#ownChunks(group: number, after: number, upTo: number): Iterable<{ chunk: number; digest: number }> {
    for (let from = after; ; ) {
      const page = this.#parts.store.listChunks(group, from, pageChunks);
      for (const one of page) {
        if (one.chunk > upTo) return;
        yield one;
      }
      if (page.length === 0) return;
      from = page.at(-1)!.chunk;
    }
  }

  /** Some at a time. The first error ends it, when the others under way have ended. */
  async #reconcileAll(task: Task, work: Reconciliation, chunks: readonly number[]): Promise<void> {
    let next = 0;
    let failed = false;
    const worker = async () => {
      while (next < chunks.length && !failed && this.#isWanted(task)) {
        const chunk = chunks[next++]!;
        try {
          const { copiedBlocks, settled } = await reconcileChunk(work, chunk);
          task.copiedBlocks += copiedBlocks;
          if (!settled) task.again.add(chunk);
        } catch (error) {
          failed = true;
          throw error;
        }
      }
    };
    const results = await Promise.allSettled(Array.from({ length: chunksAtOnce }, worker));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  #work(task: Task, source: Peer, isLive: Reconciliation["isLive"]): Reconciliation {
    const { group, generation, deleted } = task;
    const { store, pace } = this.#parts;
    const repair = (chunk: number, { from, to }: Range) =>
      this.#parts.repair.repairUnreadable({
        ...{ session: 0, group, generation, chunk },
        ...{ firstBlock: from, blockCount: to - from },
      });
    const paced = async (bytes: number): Promise<void> => {
      const delayMs = pace.waitMs(bytes);
      if (delayMs > 0) await this.#sleeper.sleep(delayMs);
    };
    // Nothing is laid into a group that has gone on meanwhile, perhaps without this store.
    const isDeleted = (chunk: number) => deleted.has(chunk) || this.#deletedLately.has(chunk) || !this.#isWanted(task);
    const takesUnreadable = task.failures >= unreadableFailures;
    const ways = { isLive, isDeleted, paced, repair, takesUnreadable };
    return { store, logger: this.#logger, source, group, generation, ...ways };
  }

  /** False once the group has another generation, or a later task took over. Equalizing goes on until it is answered. */
  #isWanted(task: Task): boolean {
    if (this.#sleeper.stopped) return false;
    if (this.#parts.store.groups.get(task.group)?.generation !== task.generation) return false;
    return this.#equalizing.has(task) || this.#tasks.get(task.group) === task;
  }

  async #connect(source: Address): Promise<Peer> {
    if (this.#sleeper.stopped) throw new BrineError("closed", "the store stops");
    return this.#parts.connect(source);
  }
}

function newTask(group: number, generation: number, source: Address): Task {
  return {
    group,
    generation,
    source,
    again: new Set(),
    deleted: new Set(),
    copiedBlocks: 0,
    comparedChunks: 0,
    position: 0,
    failures: 0,
  };
}
