/**
 * The session's transactions: numbered without a gap, sent in batches, each in effect exactly once.
 *
 * There are two sources: operations whose callers wait for the result (`submit`: grants of ids), which go first, and the
 * journal of what was answered already. A number is given when a transaction is sent. The leader answers a number that it
 * has executed with the result it had, so after a reconnect everything unanswered is simply sent again, in order.
 * Results are kept there until we confirm them; the end of the answered prefix rides on each batch.
 *
 * The leader may also *refuse* transactions (its disk is full): they have then no effect, and their numbers are free. All
 * that was sent behind them meets a gap and is refused, too. 1. Nothing more is sent. 2. When all batches under way are
 * answered, what was refused is numbered anew from the first free number on; callers of `submit` get the error instead.
 * 3. After a pause it is sent again: what the journal holds was acknowledged to an application, and must not be lost.
 */
import { hasCode } from "../errors/brine-error.ts";
import { errno } from "../errors/errno.ts";
import { FileError } from "../errors/file-error.ts";
import type { Operation as NamespaceOperation, Result } from "../namespace/operation.ts";
import type { Logger } from "../platform/logger.ts";
import type { Platform } from "../platform/platform.ts";
import { batchMax, transact } from "../wire/catalogue/leader.ts";
import type { Peer } from "../wire/peer.ts";
import { Backoff, isTransient } from "./retry.ts";
import type { Session } from "./session.ts";

/** Unanswered ones: far below the results that the leader keeps (16,384). */
const windowMax = 8_192;
/** Batches under way: the next is on its way while the leader works on one. */
const batchesMax = 4;
/** A batch of long names and symlinks is cut earlier. */
const batchBytesMax = 1024 * 1024;
/** A leader whose heartbeats are answered but that doesn't finish a batch in this time is asked on a new connection. */
const answerTimeoutMs = 60_000;
/** Between tries while the leader's disk is full: somebody has to make room. */
const refusedDelayMsMax = 1_000;

/** What goes into the next batch. */
export interface Outgoing {
  readonly operation: NamespaceOperation;
  /** Undefined: not predicted, the leader's time. */
  readonly timeNs: bigint | undefined;
  /** Called once, in the order of sending, unless the session ends first. */
  answered(result: Result): void;
  /** Refused for good. Undefined: it is sent again for as long as it takes. */
  readonly refused: ((error: FileError) => void) | undefined;
}

/** Gives what is to be sent next, if anything is ready. */
export interface OutgoingSource {
  next(): Outgoing | undefined;
  /** Everything that was given and isn't answered is lost. */
  lost(failure: FileError): void;
}

interface Answer {
  readonly results: readonly Result[];
  readonly refused: { readonly code: string; readonly reason: string } | undefined;
}

interface Batch {
  readonly first: number;
  readonly outgoing: readonly Outgoing[];
  /** A refusal may overtake the answers of earlier batches. */
  answer: Answer | undefined;
}

export class Transactions {
  readonly #session: Session;
  readonly #log: Logger;
  readonly #backoff: Backoff;
  readonly #source: OutgoingSource;
  #waiting: Outgoing[] = [];
  /** Sent and not answered, the oldest first. */
  #batches: Batch[] = [];
  #windowCount = 0;
  #nextSequence = 1;
  #peer: Peer | undefined;
  /** Refused, to be sent again before anything else. Not undefined: nothing else is sent. */
  #again: Outgoing[] | undefined;

  constructor(platform: Platform, session: Session, log: Logger, source: OutgoingSource) {
    this.#session = session;
    this.#log = log;
    this.#source = source;
    this.#backoff = new Backoff(platform, refusedDelayMsMax);
  }

  /**
   * Executes an operation; resolves with its result, which may be `failed`. It goes on whatever becomes of the caller.
   * Errors: ENOSPC (the ledger is full; no effect), EIO (the session has ended: in effect or not, nobody knows).
   */
  submit(operation: NamespaceOperation): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#session.ended) throw new FileError("EIO", "the session has ended");
      this.#waiting.push({ operation, timeNs: undefined, answered: resolve, refused: reject });
      this.pump();
    });
  }

  /** Transactions without an answer. */
  get unanswered(): number {
    return this.#windowCount + this.#waiting.length;
  }

  /** A new connection: everything unanswered is sent again. */
  connected(peer: Peer): void {
    this.#peer = peer;
    for (const batch of this.#batches) {
      batch.answer = undefined;
      this.#send(peer, batch);
    }
    this.pump();
  }

  /** The session has ended. */
  lost(reason: string): void {
    const failure = new FileError("EIO", `the session ended: ${reason}`);
    const failed = [...this.#batches.flatMap((batch) => batch.outgoing), ...(this.#again ?? []), ...this.#waiting];
    this.#batches = [];
    this.#again = undefined;
    this.#waiting = [];
    this.#peer = undefined;
    this.#backoff.cancel();
    for (const outgoing of failed) outgoing.refused?.(failure);
    this.#source.lost(failure);
  }

  /** Sends what is ready and fits. */
  pump(): void {
    const peer = this.#peer;
    if (peer === undefined || peer.closed || this.#again !== undefined) return;
    while (this.#batches.length < batchesMax && this.#windowCount < windowMax) {
      const outgoing = this.#gather();
      if (outgoing.length === 0) return;
      this.#dispatch(peer, outgoing);
    }
  }

  #gather(): Outgoing[] {
    const gathered: Outgoing[] = [];
    let bytes = 0;
    while (gathered.length < batchMax && bytes < batchBytesMax) {
      const next = this.#waiting.shift() ?? this.#source.next();
      if (next === undefined) break;
      gathered.push(next);
      bytes += bytesOf(next.operation);
    }
    return gathered;
  }

  #dispatch(peer: Peer, outgoing: readonly Outgoing[]): void {
    const batch: Batch = { first: this.#nextSequence, outgoing, answer: undefined };
    this.#nextSequence += outgoing.length;
    this.#windowCount += outgoing.length;
    this.#batches.push(batch);
    this.#send(peer, batch);
  }

  #send(peer: Peer, batch: Batch): void {
    const transactions = batch.outgoing.map(({ timeNs, operation }) => ({ timeNs, operation }));
    const confirmed = this.#batches[0]!.first - 1;
    const body = { session: this.#session.id, first: batch.first, confirmed, transactions };
    peer.request(transact, body, { timeoutMs: answerTimeoutMs }).then(
      (reply) => this.#answered(batch, reply.body),
      (error) => this.#failed(peer, batch, error),
    );
  }

  #answered(batch: Batch, answer: Answer): void {
    if (!this.#batches.includes(batch)) return;
    batch.answer = answer;
    for (;;) {
      const head = this.#batches[0];
      if (head?.answer === undefined) break;
      this.#batches.shift();
      this.#settle(head, head.answer);
    }
    if (this.#again !== undefined && this.#batches.length === 0) void this.#sendAgain();
    else this.pump();
  }

  #settle(batch: Batch, { results, refused }: Answer): void {
    this.#windowCount -= batch.outgoing.length;
    for (const [index, result] of results.entries()) batch.outgoing[index]!.answered(result);
    if (results.length < batch.outgoing.length) this.#refused(batch, results.length, refused!);
    else this.#backoff.reset();
  }

  #refused(batch: Batch, from: number, { code, reason }: { code: string; reason: string }): void {
    const rest = batch.outgoing.slice(from);
    if (this.#again === undefined) {
      this.#log.warn("transactions refused", { count: rest.length, code, reason });
      this.#again = [];
      this.#nextSequence = batch.first + from;
      // Not for want of space or time: this one will never be executed. Those behind it only met the gap.
      if (code === "invalid") settleInvalid(rest.shift()!, reason);
    }
    for (const outgoing of rest) {
      if (code === "noSpace" && outgoing.refused !== undefined) outgoing.refused(new FileError("ENOSPC", reason));
      else this.#again.push(outgoing);
    }
  }

  async #sendAgain(): Promise<void> {
    await this.#backoff.wait();
    const again = this.#again;
    if (again === undefined || this.#session.ended) return;
    this.#again = undefined;
    const peer = this.#peer;
    for (let from = 0; from < again.length; from += batchMax) {
      const outgoing = again.slice(from, from + batchMax);
      const batch: Batch = { first: this.#nextSequence, outgoing, answer: undefined };
      this.#nextSequence += outgoing.length;
      this.#windowCount += outgoing.length;
      this.#batches.push(batch);
    }
    if (peer !== undefined && !peer.closed) for (const batch of this.#batches) this.#send(peer, batch);
    this.pump();
  }

  #failed(peer: Peer, batch: Batch, error: unknown): void {
    if (!this.#batches.includes(batch) || this.#session.ended || this.#peer !== peer) return;
    if (hasCode(error, "sessionExpired", "sessionFenced")) this.#session.end(error.message);
    else if (isTransient(error)) this.#session.drop(peer, `transactions from ${batch.first}: ${String(error)}`);
    else this.#session.end(`transactions from ${batch.first} can't be executed: ${String(error)}`);
  }
}

function settleInvalid(outgoing: Outgoing, reason: string): void {
  if (outgoing.refused !== undefined) outgoing.refused(new FileError("EIO", reason));
  else outgoing.answered({ kind: "failed", errno: errno.EINVAL });
}

/** About how much it takes in a message. */
function bytesOf(operation: NamespaceOperation): number {
  switch (operation.kind) {
    case "create":
      return 64 + operation.name.length + operation.target.length;
    case "rename":
    case "exchange":
      return 64 + operation.name.length + operation.newName.length;
    case "write":
    case "setAttributes":
      return 64 + operation.mappings.length * 12;
    case "setExtendedAttribute":
      return 320 + operation.value.byteLength;
    case "setAccessControlList":
      return 64 + operation.list.byteLength;
    default:
      return 320;
  }
}
