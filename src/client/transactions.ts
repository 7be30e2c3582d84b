/**
 * The session's transactions: numbered without a gap, each in effect exactly once.
 *
 * The leader answers a number that it has executed with the result it had, so after a reconnect everything unanswered is
 * simply sent again, in order. Results are kept there until we confirm them; `confirmed` (the end of the answered prefix)
 * rides on each transaction. At most `windowMax` are unconfirmed; further ones wait here, in order.
 *
 * A transaction may also be *refused*: the leader answers with an error instead of a result (the ledger's disk is full).
 * It has then no effect and its number is still free, so every later number that was sent meets a gap and is refused,
 * too. 1. Nothing more is sent. 2. When all that was sent is answered, those refused for a reason of their own fail;
 * 3. the others, which had met the gap, are numbered anew from the free number on and sent again.
 */
import { hasCode } from "../errors/brine-error.ts";
import { FileError } from "../errors/file-error.ts";
import type { Operation as NamespaceOperation, Result } from "../namespace/operation.ts";
import type { Logger } from "../platform/logger.ts";
import { transact } from "../wire/catalogue/leader.ts";
import type { Peer } from "../wire/peer.ts";
import { isTransient } from "./retry.ts";
import type { Session } from "./session.ts";

/** Results that the leader keeps for us at most: more than the kernel has requests under way. */
const windowMax = 1024;
/** A leader whose heartbeats are answered but that doesn't finish a transaction in this time is asked on a new connection. */
const answerTimeoutMs = 60_000;

interface Pending {
  /** 0 until it is sent for the first time. */
  sequence: number;
  readonly operation: NamespaceOperation;
  readonly hold: boolean;
  readonly resolve: (result: Result) => void;
  readonly reject: (error: unknown) => void;
  state: "waiting" | "sent" | "answered" | "refused" | "metGap";
  refusal: unknown;
}

export class Transactions {
  readonly #session: Session;
  readonly #log: Logger;
  /** Numbered ones, oldest first: the unconfirmed window. */
  #window: Pending[] = [];
  /** Not numbered yet, in order. Bounded by the operations under way: each waits for at most a few. */
  #waiting: Pending[] = [];
  #nextSequence = 1;
  #peer: Peer | undefined;
  #repairing = false;

  constructor(session: Session, log: Logger) {
    this.#session = session;
    this.#log = log;
  }

  /**
   * Executes an operation; resolves with its result, which may be `failed`. It goes on whatever becomes of the caller.
   * Errors: ENOSPC (the ledger is full; no effect), EIO (the session has ended: in effect or not, nobody knows).
   */
  submit(operation: NamespaceOperation, hold = false): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#session.ended) throw new FileError("EIO", "the session has ended");
      const fields = { sequence: 0, state: "waiting", refusal: undefined } as const;
      this.#waiting.push({ ...fields, operation, hold, resolve, reject });
      this.#pump();
    });
  }

  /** Unanswered transactions, those that wait for the window included. */
  get unanswered(): number {
    return this.#window.filter((pending) => pending.state !== "answered").length + this.#waiting.length;
  }

  /** Inodes that unanswered transactions create and hold: they may be there already, and must stay. */
  heldInodes(): number[] {
    const creating = [...this.#window, ...this.#waiting].filter(
      (pending) => pending.hold && pending.state !== "answered",
    );
    return creating.flatMap(({ operation }) => (operation.kind === "create" ? [operation.inode] : []));
  }

  /** A new connection: everything unanswered is sent again. */
  connected(peer: Peer): void {
    this.#peer = peer;
    if (this.#repairing) {
      // What followed a refused number and has no answer can't be in effect either.
      for (const pending of this.#window) if (pending.state === "sent") pending.state = "metGap";
      this.#repair();
      return;
    }
    for (const pending of this.#window) if (pending.state === "sent") this.#send(peer, pending);
    this.#pump();
  }

  /** The session has ended. */
  lost(reason: string): void {
    const failed = [...this.#window, ...this.#waiting];
    this.#window = [];
    this.#waiting = [];
    this.#peer = undefined;
    for (const pending of failed) {
      if (pending.state !== "answered") pending.reject(new FileError("EIO", `the session ended: ${reason}`));
    }
  }

  #pump(): void {
    const peer = this.#peer;
    if (peer === undefined || peer.closed || this.#repairing) return;
    let taken = 0;
    while (taken < this.#waiting.length && this.#window.length < windowMax) {
      const pending = this.#waiting[taken++]!;
      pending.sequence = this.#nextSequence++;
      this.#window.push(pending);
      this.#send(peer, pending);
    }
    if (taken > 0) this.#waiting.splice(0, taken);
  }

  #send(peer: Peer, pending: Pending): void {
    pending.state = "sent";
    const confirmed = this.#window[0]!.sequence - 1;
    const { sequence, operation, hold } = pending;
    const body = { session: this.#session.id, sequence, confirmed, hold, operation };
    peer.request(transact, body, { timeoutMs: answerTimeoutMs }).then(
      (reply) => this.#answered(pending, sequence, reply.body.result),
      (error) => this.#failed(peer, pending, sequence, error),
    );
  }

  #answered(pending: Pending, sequence: number, result: Result): void {
    if (pending.state !== "sent" || pending.sequence !== sequence) return;
    pending.state = "answered";
    this.#confirm();
    pending.resolve(result);
    if (this.#repairing) this.#repair();
    else this.#pump();
  }

  #confirm(): void {
    let answered = 0;
    while (answered < this.#window.length && this.#window[answered]!.state === "answered") answered += 1;
    if (answered > 0) this.#window.splice(0, answered);
  }

  #failed(peer: Peer, pending: Pending, sequence: number, error: unknown): void {
    if (pending.state !== "sent" || pending.sequence !== sequence || this.#session.ended) return;
    if (hasCode(error, "sessionExpired", "sessionFenced")) {
      this.#session.end(error.message);
      return;
    }
    if (isTransient(error)) {
      // It stays `sent`: the next connection brings it again.
      this.#session.drop(peer, `transaction ${sequence}: ${String(error)}`);
      return;
    }
    if (this.#peer !== peer) return;
    if (hasCode(error, "invalid") && this.#followsRefused(sequence)) pending.state = "metGap";
    else {
      pending.state = "refused";
      pending.refusal = error;
    }
    this.#repairing = true;
    this.#repair();
  }

  /** True if a number before `sequence` is refused or is going to be, so that this one met the gap. */
  #followsRefused(sequence: number): boolean {
    return this.#window.some((other) => other.sequence < sequence && other.state !== "answered");
  }

  #repair(): void {
    if (this.#window.some((pending) => pending.state === "sent")) return;
    this.#repairing = false;
    this.#confirm();
    const refused = this.#window.filter((pending) => pending.state === "refused");
    const again = this.#window.filter((pending) => pending.state === "metGap");
    const first = this.#window.find((pending) => pending.state === "refused" || pending.state === "metGap");
    if (first !== undefined) {
      if (this.#window.some((pending) => pending.state === "answered" && pending.sequence > first.sequence)) {
        // The leader has executed a number behind a free one: nothing that we number anew would be safe.
        this.#session.end(`transaction ${first.sequence} was refused, a later one executed`);
        return;
      }
      this.#nextSequence = first.sequence;
      this.#window = this.#window.filter((pending) => pending.sequence < first.sequence);
    }
    this.#waiting = [...again, ...this.#waiting];
    for (const pending of refused) {
      this.#log.warn("transaction refused", { operation: pending.operation.kind, reason: String(pending.refusal) });
      pending.reject(asRefusal(pending.refusal));
    }
    this.#pump();
  }
}

function asRefusal(error: unknown): unknown {
  if (hasCode(error, "noSpace")) return new FileError("ENOSPC", error.message);
  return error;
}
