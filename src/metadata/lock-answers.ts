/**
 * Answers about advisory locks. While another client may have locks that the leader doesn't know, who asks is told to take
 * a lease first: that brings them (locks.ts).
 */
import { BrineError } from "../errors/brine-error.ts";
import type { ByteRange, LockMode } from "../locks/range-locks.ts";
import type { HeldLock, LockConflict } from "../wire/catalogue/locks.ts";
import { type Answer, afterGrace } from "./grace.ts";
import type { Holdings } from "./holdings.ts";
import type { Leader } from "./leader.ts";
import type { AskedLock, LockedBy } from "./locks.ts";
import type { Session, Sessions } from "./sessions.ts";

export interface LockAnswersParts {
  readonly leader: Leader;
  readonly sessions: Sessions;
  readonly holdings: Holdings;
}

export interface SetAnswer {
  readonly outcome: "done" | "conflict" | "waiting" | "deadlock" | "full" | "leased";
  readonly grant: number;
  readonly conflict: LockConflict | undefined;
  readonly alone: boolean;
}

export class LockAnswers {
  readonly #parts: LockAnswersParts;

  constructor(parts: LockAnswersParts) {
    this.#parts = parts;
  }

  set(session: Session, asked: AskedLock): Answer<SetAnswer> {
    return afterGrace(this.#parts, session, () => {
      checkRange(asked);
      const answer = { grant: 0, conflict: undefined, alone: false };
      if (asked.mode !== undefined && this.#isLeased(session, asked.inode)) return { ...answer, outcome: "leased" };
      const { locks } = this.#parts.holdings.of(session.volume);
      const outcome = locks.set(session.id, asked);
      return { ...answer, ...outcome, alone: this.#isAlone(session, asked.inode) };
    });
  }

  test(
    session: Session,
    asked: LockedBy & ByteRange & { readonly mode: LockMode },
  ): Answer<{ conflict: LockConflict | undefined; leased: boolean }> {
    return afterGrace(this.#parts, session, () => {
      checkRange(asked);
      if (this.#isLeased(session, asked.inode)) return { conflict: undefined, leased: true };
      const { locks } = this.#parts.holdings.of(session.volume);
      return { conflict: locks.test(session.id, asked), leased: false };
    });
  }

  /** At once, also in grace: it waits for nothing that others could have. */
  cancel(session: Session, wait: number): { cancelled: boolean } {
    return { cancelled: this.#parts.holdings.of(session.volume).locks.cancel(session.id, wait) };
  }

  state(session: Session, inode: number, stated: readonly HeldLock[]): void {
    this.#parts.holdings.of(session.volume).locks.state(session.id, inode, stated);
  }

  #isLeased(session: Session, inode: number): boolean {
    const { leases, locks } = this.#parts.holdings.of(session.volume);
    locks.asks(session.id, inode);
    return leases.othersSetLocks(session.id, inode);
  }

  /** Then the session may set locks by itself if it has the exclusive lease. */
  #isAlone(session: Session, inode: number): boolean {
    const { leases, locks } = this.#parts.holdings.of(session.volume);
    if (locks.isForeign(session.id, inode)) return false;
    if (leases.holders(inode).some((holder) => holder.session !== session.id)) return false;
    leases.tellLocks(session.id, inode, false);
    return true;
  }
}

function checkRange({ start, end }: ByteRange): void {
  if (start < 0n || start > end) throw new BrineError("invalid", `a lock from byte ${start} to ${end}`);
}
