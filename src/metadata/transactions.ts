/**
 * Transactions of clients on their way into the queue: each session's in its own order, without gaps, each queued once.
 *
 * A number that was executed is answered with the result it had, from the namespace, whatever else holds now: were it
 * refused (disk full), its client would take the number for free. A resend of one that is still queued gets the same
 * promise; a number behind a gap is refused, because what it builds on was refused or is still to come. A refused
 * number is free again.
 *
 * A file that is created open is held from before it exists, so that no other client's unlink can make it an orphan
 * that nobody holds.
 */
import { BrineError } from "../errors/brine-error.ts";
import type { Operation, OperationKind, Result } from "../namespace/operation.ts";
import type { Holdings } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import type { Session } from "./sessions.ts";

const clientOperations: ReadonlySet<OperationKind> = new Set([
  "create",
  "link",
  "unlink",
  "rmdir",
  "rename",
  "setAttributes",
  "write",
  "grantInodes",
  "grantChunks",
  "discardChunks",
]);

export interface TransactRequest {
  readonly sequence: number;
  readonly confirmed: number;
  readonly hold: boolean;
  readonly operation: Operation;
}

/** One session's transactions. */
interface Stream {
  /** The highest number that was executed or waits in the queue. */
  queuedSequence: number;
  readonly queued: Map<number, Promise<Result>>;
}

export class Transactions {
  readonly #leader: Leader;
  readonly #holdings: Holdings;
  readonly #onOrphan: () => void;
  readonly #streams = new Map<number, Stream>();

  constructor(leader: Leader, holdings: Holdings, onOrphan: () => void) {
    this.#leader = leader;
    this.#holdings = holdings;
    this.#onOrphan = onOrphan;
  }

  /**
   * Resolves with the result when the transaction is durable and applied.
   * Errors: invalid (no operation of clients; a gap; a lease is missing), noSpace, busy, notServing.
   */
  execute(session: Session, request: TransactRequest): Promise<Result> {
    const stream = this.#stream(session);
    const { sequence, confirmed, operation } = request;
    const { lastSequence } = this.#leader.namespace.session(session.id)!;
    const executed = sequence <= lastSequence ? this.#leader.namespace.storedResult(session.id, sequence) : undefined;
    if (executed !== undefined) return this.#answerAgain(session, request, executed);
    const queued = stream.queued.get(sequence);
    if (queued === undefined) this.#check(session, stream, request);
    if (request.hold && operation.kind === "create") {
      this.#holdings.of(session.volume).holds.add(session.id, operation.inode);
    }
    if (queued !== undefined) return queued;
    stream.queuedSequence = Math.max(stream.queuedSequence, sequence);
    const submitted = this.#leader.committer.submit({ session: session.id, sequence, confirmed, operation });
    const outcome = submitted.then(
      (result) => {
        stream.queued.delete(sequence);
        if (result.kind === "failed") this.#releaseUncreated(session, operation);
        if (result.kind === "removed" && result.orphan !== 0) this.#onOrphan();
        return result;
      },
      (error: unknown) => {
        stream.queued.delete(sequence);
        this.#releaseUncreated(session, operation);
        // Nothing behind it can have been executed: its number, and theirs, are free.
        const { lastSequence } = this.#leader.namespace.session(session.id) ?? { lastSequence: 0 };
        stream.queuedSequence = Math.max(lastSequence, Math.min(stream.queuedSequence, sequence - 1));
        throw error;
      },
    );
    stream.queued.set(sequence, outcome);
    return outcome;
  }

  /** A resend of what was executed: the answer was lost, and with a restart of this server the hold, too. */
  #answerAgain(session: Session, { hold, operation }: TransactRequest, result: Result): Promise<Result> {
    if (hold && operation.kind === "create" && result.kind !== "failed") {
      this.#holdings.of(session.volume).holds.add(session.id, operation.inode);
    }
    return Promise.resolve(result);
  }

  /** Resolves when all that was taken from the session has its result. */
  async whenAnswered(session: number): Promise<void> {
    await Promise.allSettled(this.#streams.get(session)?.queued.values() ?? []);
  }

  /** The session has ended. */
  drop(session: number): void {
    this.#streams.delete(session);
  }

  #check(session: Session, stream: Stream, { sequence, operation }: TransactRequest): void {
    if (!clientOperations.has(operation.kind)) {
      throw new BrineError("invalid", `${operation.kind} is not an operation of clients`);
    }
    if (sequence < 1 || sequence > stream.queuedSequence + 1) {
      throw new BrineError(
        "invalid",
        `transaction ${sequence} of session ${session.id} comes after ${stream.queuedSequence}`,
      );
    }
    // Before it is counted as queued: those behind it, which may be here already, must meet a gap.
    const refusal = this.#leader.committer.refusal(operation.kind);
    if (refusal !== undefined) throw refusal;
    if (sequence <= stream.queuedSequence) return;
    const changesData =
      operation.kind === "write" || (operation.kind === "setAttributes" && operation.size !== undefined);
    if (!changesData || this.#holdings.of(session.volume).leases.has(session.id, operation.inode, "exclusive")) return;
    throw new BrineError("invalid", `${operation.kind} of inode ${operation.inode} without its exclusive lease`);
  }

  /** A file that was held before it exists was not created. */
  #releaseUncreated(session: Session, operation: Operation): void {
    if (operation.kind !== "create") return;
    if (this.#leader.namespace.inode(session.volume, operation.inode) !== undefined) return;
    this.#holdings.of(session.volume).holds.remove(session.id, operation.inode);
  }

  #stream(session: Session): Stream {
    let stream = this.#streams.get(session.id);
    if (stream === undefined) {
      const { lastSequence } = this.#leader.namespace.session(session.id)!;
      stream = { queuedSequence: lastSequence, queued: new Map() };
      this.#streams.set(session.id, stream);
    }
    return stream;
  }
}
