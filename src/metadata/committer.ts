/**
 * The one way by which the namespace changes.
 *
 *     submit ──► queue ──► batch ──► ledger.append ──► namespace.applyBatch ──► results
 *                  ▲         (one at a time; all that wait share one sync)
 *
 * 1. Transactions wait in one queue, in the order of `submit`, one or many at a time. Nothing overtakes.
 * 2. While no append is under way, the first of them, up to 1 MiB and 4,096, become one ledger entry.
 * 3. When it is durable it is applied, and those are told whose last transaction was in it: one promise for all that was
 *    submitted together. So what a query sees is committed.
 * 4. The state is committed lazily, and made durable by a checkpoint now and then. Only then may the ledger forget
 *    entries: below the index that the checkpoint covered.
 *
 * A full disk fails what waits and nothing else: an entry is in the ledger as a whole or not at all. Any other failure
 * of the ledger ends this server: whether the entry is on disk is unknown, and a sync is never tried again.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { messageOf } from "../errors/message.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { Namespace } from "../namespace/namespace.ts";
import type { Operation, OperationKind, Result, Transaction } from "../namespace/operation.ts";
import type { Timer } from "../platform/clock.ts";
import { DiskError } from "../platform/disk.ts";
import type { KeyValue } from "../platform/key-value.ts";
import type { Logger } from "../platform/logger.ts";
import type { Platform } from "../platform/platform.ts";
import { decodeBatch, encodeBatch } from "./batch.ts";
import { CommitMeter } from "./commit-meter.ts";
import type { Lifetime } from "./lifetime.ts";
import type { SpaceGuard } from "./space-guard.ts";
import type { Timeouts } from "./timeouts.ts";
import { TransactionClock } from "./transaction-clock.ts";
import type { Waits } from "./waits.ts";

/** Changed keys that are committed at once: keeps the commit itself to some tens of milliseconds. */
const uncommittedMax = 20_000;
/** Where the database can't be written: from here on transactions are refused, for they would fill the memory. */
const uncommittedLimit = 500_000;
/** Transactions that may wait. Clients have bounds of their own; this one keeps a defect from eating the memory. */
const queueMax = 262_144;

/** What became of transactions that were submitted together. */
export interface Outcome {
  /** Of the first ones, in order. */
  readonly results: readonly Result[];
  /**
   * Why the others have no result: noSpace (they had no effect, nor had any transaction behind them), notServing (whether
   * they take effect is unknown). Undefined if there are none.
   */
  readonly refusal: BrineError | undefined;
  /** From the submission until the ledger had the last of them. */
  readonly ledgerMs: number;
}

interface Submitted {
  readonly transactions: readonly Transaction[];
  readonly submittedMs: number;
  /** Those before are in a ledger entry, or on the way into one. */
  taken: number;
  readonly results: Result[];
  readonly resolve: (outcome: Outcome) => void;
}

/** Some of the transactions that were submitted together, in one ledger entry. */
interface Taken {
  readonly from: Submitted;
  readonly count: number;
}

export interface CommitterParts {
  readonly platform: Platform;
  readonly lifetime: Lifetime;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly ledger: Ledger;
  readonly state: KeyValue;
  readonly namespace: Namespace;
  readonly space: SpaceGuard;
  readonly waits: Waits;
  /** The ledger or the state has failed: the server must step down. */
  readonly onFailure: (error: BrineError) => void;
}

export class Committer {
  readonly #parts: CommitterParts;
  readonly #meter: CommitMeter;
  #queue: Submitted[] = [];
  /** Transactions in the queue that are not taken. */
  #waiting = 0;
  #running = false;
  #idle: (() => void) | undefined;
  #failure: BrineError | undefined;
  readonly #time: TransactionClock;
  #commitTimer: Timer | undefined;
  #commitFailing = false;
  #checkpointedIndex = 0;
  /** The last one, for `stop` to wait for: files are closed after it. */
  #checkpointing: Promise<void> = Promise.resolve();

  constructor(parts: CommitterParts) {
    this.#parts = parts;
    this.#time = new TransactionClock(parts.platform.clock);
    this.#meter = new CommitMeter(parts.platform.metrics);
  }

  /** Brings the state up to the end of the ledger. Errors: badChecksum (they do not fit), and the ledger's. */
  async replay(): Promise<void> {
    const { ledger, namespace, state, log, lifetime } = this.#parts;
    const from = namespace.appliedIndex;
    if (from > ledger.lastIndex) {
      throw new BrineError("badChecksum", `the state has entry ${from}, the ledger ends with ${ledger.lastIndex}`, {
        advice: "the ledger's files were lost or replaced: put back those that belong to this state",
      });
    }
    const startedMs = lifetime.nowMs();
    // The entry applied last is read too: the next transaction's time must not be below its time.
    for await (const entry of ledger.read(Math.max(1, from))) {
      if (lifetime.stopped) return;
      const transactions = decodeBatch(entry.batch);
      for (const { timeNs, predicted } of transactions) {
        if (!predicted) this.#time.mayNotFallBelow(timeNs);
      }
      if (entry.index <= namespace.appliedIndex) continue;
      namespace.applyBatch(entry.index, transactions);
      if (state.uncommittedCount >= uncommittedMax) state.commit();
    }
    if (namespace.appliedIndex !== ledger.lastIndex) {
      throw new BrineError(
        "badChecksum",
        `the ledger ends with ${ledger.lastIndex}, entries could be read up to ${namespace.appliedIndex}`,
      );
    }
    state.commit();
    const ms = Math.round(lifetime.nowMs() - startedMs);
    log.info("replayed", { entries: ledger.lastIndex - from, index: ledger.lastIndex, term: ledger.term, ms });
  }

  start(): void {
    const { ledger, lifetime, timeouts } = this.#parts;
    lifetime.run("checkpoints", async () => {
      while (!lifetime.stopped) {
        await lifetime.sleep(timeouts.checkpointMs);
        if (lifetime.stopped || this.#failure !== undefined) return;
        this.#checkpointing = this.#checkpoint();
        await this.#checkpointing;
        await ledger.check().catch((error) => lifetime.stopped || this.#appendFailed(error, []));
      }
    });
  }

  /** The time that a transaction gets now. */
  nowNs(): bigint {
    return this.#time.nowNs();
  }

  /**
   * Resolves when all are in the ledger and applied, or when it is known that some never will be. Those that aren't
   * predicted get their time here. Check `refusal` for each first: what is submitted is taken as it is.
   */
  submit(transactions: readonly Transaction[]): Promise<Outcome> {
    return new Promise((resolve) => {
      if (this.#end !== undefined || transactions.length === 0) {
        resolve({ results: [], refusal: this.#end, ledgerMs: 0 });
        return;
      }
      const submittedMs = this.#parts.lifetime.nowMs();
      this.#queue.push({ transactions, submittedMs, taken: 0, results: [], resolve });
      this.#waiting += transactions.length;
      if (!this.#running) this.#parts.lifetime.run("commit", () => this.#run());
    });
  }

  /** Executes an operation of the leader's own. Errors: noSpace, busy, notServing. */
  async execute(operation: Operation): Promise<Result> {
    const refusal = this.refusal(operation.kind);
    if (refusal !== undefined) throw refusal;
    const own = { session: 0, sequence: 0, confirmed: 0, timeNs: 0n, predicted: false, operation };
    const outcome = await this.submit([own]);
    if (outcome.refusal !== undefined) throw outcome.refusal;
    return outcome.results[0]!;
  }

  /** Ends with everything that waits applied (or refused), and the state committed. */
  async stop(): Promise<void> {
    this.#commitTimer?.cancel();
    if (this.#running) await new Promise<void>((resolve) => (this.#idle = resolve));
    this.#refuseAll(new BrineError("notServing", "the metadata server stops"));
    await this.#checkpointing;
  }

  /** Why an operation of this kind would be refused now, if it would. */
  refusal(kind: OperationKind): BrineError | undefined {
    if (this.#end !== undefined) return this.#end;
    if (this.#waiting >= queueMax) return new BrineError("busy", `${queueMax} transactions are waiting`);
    const isStuck = this.#parts.state.uncommittedCount >= uncommittedLimit;
    if (!isStuck && this.#parts.space.hasRoomFor(kind)) return undefined;
    return noSpaceError();
  }

  /** Under which it appends. */
  get term(): number {
    return this.#parts.ledger.term;
  }

  /** Why nothing is executed any more. */
  get #end(): BrineError | undefined {
    if (this.#failure !== undefined) return this.#failure;
    return this.#parts.lifetime.stopped ? new BrineError("notServing", "the metadata server stops") : undefined;
  }

  async #run(): Promise<void> {
    this.#running = true;
    try {
      while (this.#queue.length > 0 && this.#failure === undefined) await this.#commitBatch();
    } finally {
      this.#running = false;
      this.#idle?.();
    }
  }

  async #commitBatch(): Promise<void> {
    const { ledger, namespace, lifetime, waits } = this.#parts;
    const timeNs = this.nowNs();
    const transactions: Transaction[] = [];
    const { batch, count } = encodeBatch(this.#timed(timeNs, transactions));
    transactions.length = count;
    const taken = this.#take(count);
    const beganMs = lifetime.nowMs();
    for (const { from } of taken) this.#meter.taken(from.submittedMs, beganMs);
    const wait = waits.begin(
      () => ledger.waitsFor,
      () => ({ transactions: count, queued: this.#waiting }),
    );
    let index: number;
    try {
      index = await ledger.append(batch);
    } catch (error) {
      this.#appendFailed(error, taken);
      return;
    } finally {
      wait.end();
    }
    const appendedMs = lifetime.nowMs();
    this.#meter.appended({ transactions: count, bytes: batch.byteLength, ms: appendedMs - beganMs });
    let results: Result[];
    try {
      if (this.#failure !== undefined) throw this.#failure;
      results = namespace.applyBatch(index, transactions);
    } catch (error) {
      const reason = new BrineError("notServing", `entry ${index} can't be applied: ${messageOf(error)}`, {
        cause: error,
      });
      this.#fail(reason, taken);
      return;
    }
    this.#meter.applied(lifetime.nowMs() - appendedMs);
    this.#commitLater();
    this.#answer(taken, results, appendedMs);
    if (lifetime.stopped) this.#refuseAll(new BrineError("notServing", "the metadata server stops"));
  }

  /** The queue's transactions as they go to the ledger; `seen` gets those that were asked for. */
  *#timed(timeNs: bigint, seen: Transaction[]): Generator<Transaction> {
    for (const { transactions, taken } of this.#queue) {
      for (let at = taken; at < transactions.length; at++) {
        const transaction = transactions[at]!;
        if (!transaction.predicted) transaction.timeNs = timeNs;
        seen.push(transaction);
        yield transaction;
      }
    }
  }

  /** Takes so many off the queue. */
  #take(count: number): Taken[] {
    const taken: Taken[] = [];
    let finished = 0;
    for (let left = count; left > 0; ) {
      const from = this.#queue[finished]!;
      const part = Math.min(left, from.transactions.length - from.taken);
      taken.push({ from, count: part });
      from.taken += part;
      left -= part;
      if (from.taken === from.transactions.length) finished += 1;
    }
    this.#queue.splice(0, finished);
    this.#waiting -= count;
    return taken;
  }

  #answer(taken: readonly Taken[], results: readonly Result[], appendedMs: number): void {
    let at = 0;
    for (const { from, count } of taken) {
      for (const end = at + count; at < end; at++) from.results.push(results[at]!);
      const isWhole = from.results.length === from.transactions.length;
      const ledgerMs = appendedMs - from.submittedMs;
      if (isWhole) from.resolve({ results: from.results, refusal: undefined, ledgerMs });
    }
  }

  #appendFailed(error: unknown, taken: readonly Taken[]): void {
    if (hasCode(error, "noSpace")) {
      const refused = taken.reduce((sum, { count }) => sum + count, 0) + this.#waiting;
      this.#parts.log.warn("the ledger's disk is full: changes are refused", { refused });
      // Those behind may build on what was refused, and would be a gap in their session's sequence.
      for (const { from } of taken) from.resolve({ results: from.results, refusal: noSpaceError(error), ledgerMs: 0 });
      this.#refuseAll(noSpaceError(error));
      return;
    }
    this.#fail(
      new BrineError("notServing", `the metadata's ledger has failed: ${messageOf(error)}`, {
        advice: "see the log of the metadata server; repair its disk, then start it again",
        cause: error,
      }),
      taken,
    );
  }

  #fail(error: BrineError, taken: readonly Taken[]): void {
    for (const { from } of taken) from.resolve({ results: from.results, refusal: error, ledgerMs: 0 });
    if (this.#failure !== undefined) return;
    this.#failure = error;
    this.#refuseAll(error);
    if (!this.#parts.lifetime.stopped) this.#parts.onFailure(error);
  }

  #refuseAll(refusal: BrineError): void {
    const refused = this.#queue;
    this.#queue = [];
    this.#waiting = 0;
    for (const { results, resolve } of refused) resolve({ results, refusal, ledgerMs: 0 });
  }

  #commitLater(): void {
    const { state, lifetime, timeouts } = this.#parts;
    if (state.uncommittedCount >= uncommittedMax && !this.#commitFailing) {
      this.#commit();
      return;
    }
    this.#commitTimer ??= lifetime.startTimer(timeouts.stateCommitMs, () => this.#commit());
  }

  /** Never throws: what could not be committed stays in memory, in front of the database, and in the ledger. */
  #commit(): boolean {
    const { state, log, lifetime, timeouts } = this.#parts;
    this.#commitTimer?.cancel();
    this.#commitTimer = undefined;
    try {
      state.commit();
      this.#commitFailing = false;
      return true;
    } catch (error) {
      if (error instanceof DiskError && error.code === "ENOSPC") {
        if (!this.#commitFailing) log.warn("the state can't be written: its disk is full", { error: error.message });
        this.#commitFailing = true;
        this.#commitTimer = lifetime.startTimer(timeouts.checkpointMs, () => this.#commit());
      } else this.#stateFailed(error);
      return false;
    }
  }

  async #checkpoint(): Promise<void> {
    const { state, namespace, ledger, log, lifetime } = this.#parts;
    if (namespace.appliedIndex === this.#checkpointedIndex) return;
    if (!this.#commit()) return;
    const index = namespace.appliedIndex;
    try {
      await state.checkpoint();
      if (lifetime.stopped) return;
      this.#checkpointedIndex = index;
      await ledger.truncate(index);
    } catch (error) {
      if (lifetime.stopped) return;
      const isFull = (error instanceof DiskError && error.code === "ENOSPC") || hasCode(error, "noSpace");
      if (isFull) log.warn("no checkpoint: the disk is full", { error: messageOf(error) });
      else this.#stateFailed(error);
    }
  }

  #stateFailed(error: unknown): void {
    this.#fail(
      new BrineError("notServing", `the metadata's database has failed: ${messageOf(error)}`, {
        advice: "see the log of the metadata server; repair its disk, then start it again",
        cause: error,
      }),
      [],
    );
  }
}

function noSpaceError(cause?: unknown): BrineError {
  return new BrineError("noSpace", "the metadata server's disk is full", {
    advice: "delete files, or make room on the disk of its data directory",
    cause,
  });
}
