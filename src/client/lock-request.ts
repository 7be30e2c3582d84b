/**
 * One request for an advisory lock, from its call until the lock is held or not: set here or at the leader
 * (lock-authority.ts), waited for, asked for again on a new connection, and interrupted at any moment.
 *
 *     queued ──► asking ──► waiting ──► held (recorded among the mount's locks), or an error
 *       ▲  │                   │ ▲
 *       │  └───────────────────┼─┘ waiting here
 *       └──────────────────────┘ a new connection: the leader knows of no wait any more; or the leader decides from now on
 *
 * An interrupt ends the call within `interruptMs`, whatever the leader does. What it sets after that is taken back
 * (`restore`): a lock is either the caller's or nobody's. One that was granted just before the interrupt counts as granted.
 */
import { FileError } from "../errors/file-error.ts";
import { wouldDeadlock } from "../locks/deadlock.ts";
import type { LockWait } from "../locks/lock-queue.ts";
import type { ByteRange, LockMode } from "../locks/range-locks.ts";
import type { Clock, Timer } from "../platform/clock.ts";
import { cancelLock, type SetLockAnswer, setLock } from "../wire/catalogue/locks.ts";
import type { LockAuthority } from "./lock-authority.ts";
import type { LockedFile, LockOwner } from "./locked-files.ts";
import type { Session } from "./session.ts";
import type { Operation } from "./waits.ts";

/** Longer than a healthy leader takes, and not long for who has pressed a key. */
const interruptMs = 1_000;

export interface LockRequestParts {
  readonly session: Session;
  readonly clock: Clock;
  readonly authority: LockAuthority;
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
  /** Other requests that wait here. */
  readonly waitingHere: (owner: LockOwner) => Iterable<LockRequest>;
}

type Event = "granted" | "cancelled" | "again";

export class LockRequest {
  readonly #parts: LockRequestParts;
  #phase: "queued" | "asking" | "waiting" | "waiting here" | "ended" = "queued";
  #isAborted = false;
  #isCancelSent = false;
  #event = Promise.withResolvers<Event>();
  #timer: Timer | undefined;
  /** In the file's own queue. */
  readonly #wait: LockWait<LockOwner>;

  constructor(parts: LockRequestParts) {
    this.#parts = parts;
    const { file, owner, mode, range } = parts;
    const granted = (): void => {
      file.isUnstated = true;
      this.#event.resolve("granted");
    };
    this.#wait = { owner, mode, ...range, granted };
    parts.operation.onCancel(() => this.#endWait());
  }

  get owner(): LockOwner {
    return this.#parts.owner;
  }

  get file(): LockedFile {
    return this.#parts.file;
  }

  get isWaitingHere(): boolean {
    return this.#phase === "waiting here";
  }

  /** In the file's own queue. */
  get placed() {
    const { file, owner } = this.#parts;
    return { queue: file[owner.kind], request: this.#wait };
  }

  /** Resolves when the lock is held. Errors: EAGAIN, EDEADLK, ENOLCK, EINTR, EIO. */
  async run(): Promise<void> {
    try {
      for (;;) {
        this.#event = Promise.withResolvers<Event>();
        this.#event.promise.catch(() => {});
        if ((await this.#parts.inTurn(() => this.#attempt())) === "held") return;
        const event = await this.#waited();
        if (event === "granted") return;
        this.#checkAborted();
        this.#phase = "queued";
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
      this.#endWait();
    }
  }

  /** The leader says that the lock was set. */
  granted(grant: number): void {
    if (!this.#parts.operation.cancelled) this.#parts.record(grant);
    this.#event.resolve("granted");
  }

  /** A new connection is there: what was waited for at the leader is not known any more. */
  reconnected(): void {
    if (this.#phase === "asking" || this.#phase === "waiting") this.#event.resolve("again");
  }

  /** The leader decides: who waits here asks there. */
  sendWait(): void {
    if (this.#phase !== "waiting here" || !this.placed.queue.cancel(this.#wait)) return;
    // Others may look for circles before it goes on.
    this.#phase = "asking";
    this.#event.resolve("again");
  }

  lost(failure: FileError): void {
    this.#event.reject(failure);
  }

  // --- one attempt, in the owner's turn ---

  async #attempt(): Promise<"held" | "waiting"> {
    const { authority, file, operation } = this.#parts;
    this.#check();
    if (!authority.isHere(file)) {
      await authority.takeLease(file, operation);
      this.#check();
    }
    const outcome = authority.isHere(file) ? this.#setHere() : undefined;
    if (outcome !== undefined) return outcome;
    file.requests += 1;
    let isWaiting = false;
    try {
      const answer = await this.#ask();
      isWaiting = answer === "waiting";
      return answer;
    } finally {
      if (!isWaiting) file.requests -= 1;
    }
  }

  /** Undefined: it has to wait, and not here. */
  #setHere(): "held" | "waiting" | undefined {
    const { authority, file, owner, wait, operation } = this.#parts;
    const { queue } = this.placed;
    const conflict = queue.conflict(this.#wait);
    if (conflict === undefined && (wait === 0 || queue.waitCount === 0)) {
      queue.trySet(this.#wait);
      file.isUnstated = true;
      return "held";
    }
    if (wait === 0) throw new FileError("EAGAIN");
    if (!authority.mayWaitHere(file, owner.kind)) return undefined;
    if (owner.kind === "posix" && this.#wouldDeadlock()) throw new FileError("EDEADLK");
    operation.hasDeadline = false;
    operation.waitsFor = `advisory lock, held by process ${conflict?.owner.pid ?? "in its turn"}`;
    this.#phase = "waiting here";
    queue.wait(this.#wait);
    return "waiting";
  }

  #wouldDeadlock(): boolean {
    const { waitingHere } = this.#parts;
    return wouldDeadlock(this.placed, (owner) => [...waitingHere(owner)].map(({ placed }) => placed));
  }

  async #ask(): Promise<"held" | "waiting"> {
    const { session, authority, operation, owner, file, range, mode, wait } = this.#parts;
    const { kind, number, pid } = owner;
    this.#phase = "asking";
    const request = { session: session.id, inode: file.inode, kind, owner: number, pid, ...range, mode, wait };
    for (;;) {
      await authority.leaderDecides(file);
      const grant = authority.grantOf(file);
      this.#check();
      let answer: SetLockAnswer;
      try {
        answer = await session.request(setLock, request, operation);
      } catch (error) {
        // It may have been sent, and be executed yet.
        if (operation.cancelled && !session.ended) await this.#parts.restore();
        throw error;
      }
      authority.answered(file, answer.alone, grant);
      if (answer.outcome !== "leased") return this.#answered(answer);
      await authority.askForLocks(file, operation);
    }
  }

  async #answered({ outcome, grant, conflict }: SetLockAnswer): Promise<"held" | "waiting"> {
    const { operation, record, restore } = this.#parts;
    switch (outcome) {
      case "done":
        if (operation.cancelled) await restore();
        else record(grant);
        return "held";
      case "waiting":
        this.#phase = "waiting";
        operation.hasDeadline = false;
        operation.waitsFor = `advisory lock, held by ${conflict?.holder ?? "somebody"}`;
        if (this.#isAborted || operation.cancelled) this.#endWait();
        return "waiting";
      case "deadlock":
        throw new FileError("EDEADLK");
      case "full":
        throw new FileError("ENOLCK", "too many locks");
      default:
        throw new FileError("EAGAIN");
    }
  }

  // --- waiting ---

  /** What the wait has come to. */
  async #waited(): Promise<Event> {
    const { file, operation, inTurn, restore } = this.#parts;
    const isAtLeader = this.#phase === "waiting";
    try {
      const event = await this.#event.promise;
      if (event === "granted" && isAtLeader && operation.cancelled) await inTurn(restore);
      return event;
    } finally {
      if (isAtLeader) file.requests -= 1;
    }
  }

  #check(): void {
    this.#checkAborted();
    this.#parts.operation.check();
  }

  #checkAborted(): void {
    if (this.#isAborted) throw new FileError("EINTR");
  }

  #endWait(): void {
    if (this.#phase === "waiting here" && this.placed.queue.cancel(this.#wait)) this.#event.resolve("cancelled");
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
