/**
 * Transactions of clients on their way into the queue: each session's in its own order, without gaps, each queued once.
 *
 * A batch is taken apart like this, by the numbers of its transactions:
 *
 *     ≤ last executed     a resend: the result it had, from the namespace, whatever else holds now. Were it refused (disk
 *                         full), its client would take the number for free
 *     ≤ last queued       a resend of what is under way: the same, once that is finished
 *     the next one        checked, then queued; the first that is refused ends the batch
 *     behind a gap        refused: what it builds on was refused, or is still to come
 *
 * What is refused had no effect, and its number is free again.
 *
 * Covers: a session has the exclusive lease on what it creates from the moment in which the creation is queued, so that
 * nobody can get between it and the operations behind it. If the creation fails, the lease goes.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { errno } from "../errors/errno.ts";
import { type FileOperation, isFileOperation, leaseFor } from "../namespace/apply.ts";
import { chunkKey } from "../namespace/chunk-leases.ts";
import type { Operation, OperationKind, OperationOf, Result, Transaction } from "../namespace/operation.ts";
import type { Work } from "../wire/peer.ts";
import type { Outcome } from "./committer.ts";
import { coverGrant } from "./grants.ts";
import type { GroupTurns } from "./group-turns.ts";
import type { Holdings } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import type { Session } from "./sessions.ts";

/** Beside those on files. */
const sessionOperations: ReadonlySet<OperationKind> = new Set([
  "grantInodes",
  "grantChunks",
  "grantChunksOf",
  "discardChunks",
]);

/**
 * How far a client's time may be ahead of the leader's: they are aligned to some milliseconds. One that is far ahead would
 * give files times that nobody can get below again, and is taken for now. (It isn't refused: after a restart the leader's own clock
 * may be the one that is wrong, and a change that was acknowledged must not be lost to that.)
 */
const aheadNsMax = 3_600_000_000_000n;

/** `refused.reason` on the wire. */
const reasonLengthMax = 80;

export interface TransactRequest {
  readonly first: number;
  readonly confirmed: number;
  readonly transactions: readonly { readonly timeNs: bigint | undefined; readonly operation: Operation }[];
}

export interface TransactAnswer {
  readonly results: Result[];
  readonly refused: { readonly code: string; readonly reason: string } | undefined;
}

/** Some transactions that were queued together. */
interface Queued {
  readonly first: number;
  readonly transactions: readonly Transaction[];
  /** Never rejects. */
  settled: Promise<Outcome>;
}

/** One session's transactions. */
interface Stream {
  /** The highest number that was executed or waits in the queue. */
  queuedSequence: number;
  /** Not answered yet, in order. */
  queued: Queued[];
}

export class Transactions {
  readonly #leader: Leader;
  readonly #holdings: Holdings;
  readonly #turns: GroupTurns;
  readonly #onOrphan: () => void;
  readonly #streams = new Map<number, Stream>();

  constructor(parts: { leader: Leader; holdings: Holdings; turns: GroupTurns; onOrphan: () => void }) {
    this.#leader = parts.leader;
    this.#holdings = parts.holdings;
    this.#turns = parts.turns;
    this.#onOrphan = parts.onOrphan;
  }

  /**
   * Resolves when all that can have a result have it: durable and applied. Errors: sessionExpired, notServing (whether
   * they take effect is unknown).
   */
  async execute(session: Session, request: TransactRequest, work?: Work): Promise<TransactAnswer> {
    const stream = this.#stream(session);
    const { first, transactions } = request;
    const resent = Math.max(0, Math.min(transactions.length, stream.queuedSequence + 1 - first));
    const { accepted, refusal } = this.#accept(session, stream, request, resent);
    const underWay = stream.queued.filter((queued) => isAmong(queued, first, resent));
    const own = accepted.length === 0 ? undefined : this.#queue(session, stream, first + resent, accepted);
    const answer = await this.#answerAgain(session, first, resent, underWay);
    if (own === undefined) return { ...answer, refused: answer.refused ?? described(refusal) };
    const outcome = await own.settled;
    if (work !== undefined) work.diskMs = outcome.ledgerMs;
    if (answer.refused !== undefined) return answer;
    for (const [index, result] of outcome.results.entries()) {
      answer.results.push(accepted[index]!.predicted && result.kind !== "failed" ? { kind: "done" } : result);
    }
    const reason = outcome.refusal ?? refusal;
    if (hasCode(reason, "notServing")) throw reason;
    return { results: answer.results, refused: described(reason) };
  }

  /** Resolves when all that was taken from the session has its result. */
  async whenAnswered(session: number): Promise<void> {
    await Promise.all(this.#streams.get(session)?.queued.map(({ settled }) => settled) ?? []);
  }

  /** The session has ended. */
  drop(session: number): void {
    this.#streams.delete(session);
  }

  // --- what was sent before ---

  async #answerAgain(
    session: Session,
    first: number,
    count: number,
    underWay: readonly Queued[],
  ): Promise<{ results: Result[]; refused: TransactAnswer["refused"] }> {
    const results: Result[] = [];
    if (count === 0) return { results, refused: undefined };
    const outcomes = await Promise.all(underWay.map(({ settled }) => settled));
    const refusal = outcomes.find((outcome) => outcome.refusal !== undefined)?.refusal;
    const { namespace } = this.#leader;
    for (let sequence = first; sequence < first + count; sequence++) {
      const record = namespace.session(session.id);
      if (record === undefined) throw new BrineError("sessionExpired", `session ${session.id} has ended`);
      if (sequence > record.lastSequence) {
        if (hasCode(refusal, "notServing")) throw refusal;
        return { results, refused: described(refusal ?? gap(session, sequence, record.lastSequence)) };
      }
      results.push(namespace.storedResult(session.id, sequence) ?? { kind: "failed", errno: errno.ESTALE });
    }
    return { results, refused: undefined };
  }

  // --- what is new ---

  /** Those of a batch that can be queued, and why the next one can't. Covers are there for what they create. */
  #accept(
    session: Session,
    stream: Stream,
    { first, confirmed, transactions }: TransactRequest,
    from: number,
  ): { accepted: Transaction[]; refusal: BrineError | undefined } {
    const accepted: Transaction[] = [];
    if (from < transactions.length && first + from > stream.queuedSequence + 1) {
      return { accepted, refusal: gap(session, first + from, stream.queuedSequence) };
    }
    const nowNs = this.#leader.committer.nowNs();
    for (let at = from; at < transactions.length; at++) {
      const { timeNs, operation } = transactions[at]!;
      const refusal = this.#refusal(session, operation, timeNs);
      if (refusal !== undefined) return { accepted, refusal };
      if (isCreation(operation)) this.#cover(session, operation.inode);
      const predicted = timeNs !== undefined;
      accepted.push({
        session: session.id,
        sequence: first + at,
        confirmed,
        timeNs: timeNs === undefined ? 0n : timeNs > nowNs + aheadNsMax ? nowNs : timeNs,
        predicted,
        operation: this.#turns.named(session.volume, operation),
      });
    }
    return { accepted, refusal: undefined };
  }

  #refusal(session: Session, operation: Operation, timeNs: bigint | undefined): BrineError | undefined {
    const { kind } = operation;
    const refusal = this.#leader.committer.refusal(kind);
    if (refusal !== undefined) return refusal;
    if (!isFileOperation(operation)) {
      if (timeNs === undefined && sessionOperations.has(kind)) return undefined;
      return new BrineError("invalid", `${kind} is not for clients, or not to be predicted`);
    }
    const { leases } = this.#holdings.of(session.volume);
    if (isCreation(operation) && !leases.limits.mayCreate(session.id)) return new BrineError("busy", "too many leases");
    const without = inodesOf(operation).find((inode) => !leases.has(session.id, inode, leaseFor(operation.kind)));
    if (without === undefined || (kind === "write" && this.#mayWriteSplit(session, operation))) return undefined;
    return new BrineError("invalid", `${kind} without the ${leaseFor(operation.kind)} lease on inode ${without}`);
  }

  /** Under the split lease: within the file's size, and mapping only chunks that the session has to itself. */
  #mayWriteSplit(session: Session, { inode, end, mappings }: OperationOf<"write">): boolean {
    const { leases } = this.#holdings.of(session.volume);
    const size = this.#leader.namespace.inode(session.volume, inode)?.attributes.size ?? 0;
    if (end > size || leases.split.grantOf(session.id, inode) === 0) return false;
    return mappings.every(({ index }) => leases.has(session.id, chunkKey(inode, index), "exclusive"));
  }

  #queue(session: Session, stream: Stream, first: number, transactions: readonly Transaction[]): Queued {
    stream.queuedSequence = first + transactions.length - 1;
    const submitted = this.#leader.committer.submit(transactions);
    const queued: Queued = { first, transactions, settled: submitted };
    queued.settled = submitted.then((outcome) => {
      this.#settled(session, stream, queued, outcome);
      return outcome;
    });
    stream.queued.push(queued);
    return queued;
  }

  #settled(session: Session, stream: Stream, queued: Queued, { results, refusal }: Outcome): void {
    stream.queued = stream.queued.filter((one) => one !== queued);
    let hasOrphans = false;
    for (const [index, { operation }] of queued.transactions.entries()) {
      const result = results[index];
      if (result?.kind === "removed" && result.orphan !== 0) hasOrphans = true;
      if (isCreation(operation) && result?.kind !== "attributes") this.#uncover(session, operation.inode);
    }
    if (hasOrphans) this.#onOrphan();
    if (refusal === undefined) return;
    // Nothing behind can have been executed: these numbers are free.
    const { lastSequence } = this.#leader.namespace.session(session.id) ?? { lastSequence: 0 };
    const executed = queued.first + results.length - 1;
    stream.queuedSequence = Math.max(lastSequence, Math.min(stream.queuedSequence, executed));
  }

  #cover(session: Session, inode: number): void {
    if (!this.#leader.namespace.mayCreate(session.id, inode)) return; // it will fail
    this.#holdings.of(session.volume).leases.cover(session.id, inode);
  }

  #uncover(session: Session, inode: number): void {
    if (this.#leader.namespace.inode(session.volume, inode) !== undefined) return;
    this.#holdings.of(session.volume).leases.release(session.id, inode, coverGrant);
  }

  #stream(session: Session): Stream {
    let stream = this.#streams.get(session.id);
    if (stream === undefined) {
      const { lastSequence } = this.#leader.namespace.session(session.id)!;
      stream = { queuedSequence: lastSequence, queued: [] };
      this.#streams.set(session.id, stream);
    }
    return stream;
  }
}

function isCreation(operation: Operation): operation is OperationOf<"create" | "createUnnamed"> {
  return operation.kind === "create" || operation.kind === "createUnnamed";
}

/** Inodes that an operation names and changes; one that it creates is the session's own. */
function inodesOf(operation: FileOperation): readonly number[] {
  switch (operation.kind) {
    case "create":
    case "createUnnamed":
    case "unlink":
    case "rmdir":
      return [operation.parent];
    case "link":
      return [operation.parent, operation.inode];
    case "rename":
    case "exchange":
      return [operation.parent, operation.newParent];
    default:
      return [operation.inode];
  }
}

function isAmong({ first, transactions }: Queued, from: number, count: number): boolean {
  return first < from + count && first + transactions.length > from;
}

function gap(session: Session, sequence: number, after: number): BrineError {
  return new BrineError("invalid", `transaction ${sequence} of session ${session.id} comes after ${after}`);
}

function described(refusal: BrineError | undefined): TransactAnswer["refused"] {
  if (refusal === undefined) return undefined;
  return { code: refusal.code, reason: refusal.message.slice(0, reasonLengthMax) };
}
