/**
 * One request for an advisory lock, from its call until the lock is held or not: asking the leader, waiting for its word,
 * asking again on a new connection, and being interrupted at any moment.
 *
 *     queued ──► asking ──► waiting ──► held (recorded among the mount's locks), or an error
 *                  ▲           │
 *                  └───────────┘ a new connection: the leader knows of no wait any more
 *
 * An interrupt ends the call within `interruptMs`, whatever the leader does. What it sets after that is taken back
 * (`restore`): a lock is either the caller's or nobody's. One that was granted just before the interrupt counts as granted.
 */
import { FileError } from "../errors/file-error.ts";
import type { ByteRange, LockMode } from "../locks/range-locks.ts";
import type { Clock, Timer } from "../platform/clock.ts";
import { cancelLock, type SetLockAnswer, setLock } from "../wire/catalogue/locks.ts";
import type { LockedFile, LockOwner } from "./locked-files.ts";
import type { Session } from "./session.ts";
import type { Operation } from "./waits.ts";

/** Longer than a healthy leader takes, and not long for who has pressed a key. */
const interruptMs = 1_000;

export interface LockRequestParts {
  readonly session: Session;
  readonly clock: Clock;
  readonly operation: Operation;
  readonly file: LockedFile;
  readonly owner: LockOwner;
  readonly range: ByteRange;
  readonly mode: LockMode;
  /** Of the wait, unique in the session; 0: it doesn't wait. */
  readonly wait: number;
  /** Requests of one owner come one after the other. */
  readonly inTurn: <T>(body: () => Promise<T>) => Promise<T>;
  /** The leader has set the lock. */
  readonly record: (grant: number) => void;
  /** What the leader has for the owner in the range is made what the mount has. In the owner's turn. */
  readonly restore: () => Promise<void>;
}

type Event = { readonly grant: number } | "cancelled" | "reconnected";

export class LockRequest {
  readonly #parts: LockRequestParts;
  #phase: "queued" | "asking" | "waiting" | "ended" = "queued";
  #isAborted = false;
  #isCancelSent = false;
  #event = Promise.withResolvers<Event>();
  #timer: Timer | undefined;

  constructor(parts: LockRequestParts) {
    this.#parts = parts;
    parts.operation.onCancel(() => this.#cancelWait());
  }

  get owner(): LockOwner {
    return this.#parts.owner;
  }

  get file(): LockedFile {
    return this.#parts.file;
  }

  /** Resolves when the lock is held. Errors: EAGAIN, EDEADLK, ENOLCK, EINTR, EIO. */
  async run(): Promise<void> {
    try {
      for (;;) {
        this.#event = Promise.withResolvers<Event>();
        this.#event.promise.catch(() => {});
        if (!(await this.#parts.inTurn(() => this.#ask()))) return;
        const event = await this.#event.promise;
        if (typeof event === "object") {
          if (this.#parts.operation.cancelled) await this.#parts.inTurn(() => this.#parts.restore());
          return;
        }
        this.#checkAborted();
      }
    } finally {
      this.#phase = "ended";
      this.#timer?.cancel();
    }
  }

  /** The caller wants to wait no longer. */
  abort(): void {
    if (this.#isAborted || this.#phase === "ended") return;
    this.#isAborted = true;
    const { operation, session, clock } = this.#parts;
    const failure = new FileError("EINTR");
    if (this.#phase === "queued" || session.peer === undefined) operation.cancel(failure);
    else {
      this.#timer = clock.startTimer(interruptMs, () => operation.cancel(failure));
      this.#cancelWait();
    }
  }

  /** The leader says that the lock was set. */
  granted(grant: number): void {
    if (!this.#parts.operation.cancelled) this.#parts.record(grant);
    this.#event.resolve({ grant });
  }

  /** A new connection is there: what was waited for on the old one is not known any more. */
  reconnected(): void {
    this.#event.resolve("reconnected");
  }

  lost(failure: FileError): void {
    this.#event.reject(failure);
  }

  /** True: the leader will say when. In the owner's turn. */
  async #ask(): Promise<boolean> {
    const { session, operation, owner, file, range, mode, wait, record, restore } = this.#parts;
    this.#checkAborted();
    operation.check();
    this.#phase = "asking";
    const { kind, number, pid } = owner;
    const request = { session: session.id, inode: file.inode, kind, owner: number, pid, ...range, mode, wait };
    let answer: SetLockAnswer;
    try {
      answer = await session.request(setLock, request, operation);
    } catch (error) {
      // It may have been sent, and be executed yet.
      if (operation.cancelled && !session.ended) await restore();
      throw error;
    }
    switch (answer.outcome) {
      case "done":
        if (operation.cancelled) await restore();
        else record(answer.grant);
        return false;
      case "waiting":
        this.#phase = "waiting";
        operation.hasDeadline = false;
        operation.waitsFor = `advisory lock, held by ${answer.conflict?.holder ?? "somebody"}`;
        if (this.#isAborted || operation.cancelled) this.#cancelWait();
        return true;
      case "conflict":
        throw new FileError("EAGAIN");
      case "deadlock":
        throw new FileError("EDEADLK");
      case "full":
        throw new FileError("ENOLCK", "too many locks");
    }
  }

  #checkAborted(): void {
    if (this.#isAborted) throw new FileError("EINTR");
  }

  #cancelWait(): void {
    if (this.#phase !== "waiting" || this.#isCancelSent) return;
    this.#isCancelSent = true;
    const { session, wait } = this.#parts;
    session.request(cancelLock, { session: session.id, wait }).then(
      // If it wasn't: the grant is on its way.
      ({ cancelled }) => cancelled && this.#event.resolve("cancelled"),
      () => {},
    );
  }
}
