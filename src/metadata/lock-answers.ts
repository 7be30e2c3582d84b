/**
 * Answers about advisory locks. Who asks has a lease on the inode, or locks there: so no other client has locks on it that
 * the leader doesn't know (locks.ts).
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
  readonly outcome: "done" | "conflict" | "waiting" | "deadlock" | "full";
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
      const { locks } = this.#parts.holdings.of(session.volume);
      const answer = { grant: 0, conflict: undefined, ...locks.set(session.id, asked) };
      return { ...answer, alone: this.#isAlone(session, asked.inode) };
    });
  }

  test(
    session: Session,
    asked: LockedBy & ByteRange & { readonly mode: LockMode },
  ): Answer<{ conflict: LockConflict | undefined }> {
    return afterGrace(this.#parts, session, () => {
      checkRange(asked);
      return { conflict: this.#parts.holdings.of(session.volume).locks.test(session.id, asked) };
    });
  }

  /** At once, also in grace: it waits for nothing that others could have. */
  cancel(session: Session, wait: number): { cancelled: boolean } {
    return { cancelled: this.#parts.holdings.of(session.volume).locks.cancel(session.id, wait) };
  }

  state(session: Session, inode: number, stated: readonly HeldLock[]): void {
    this.#parts.holdings.of(session.volume).locks.state(session.id, inode, stated);
  }

  #isAlone(session: Session, inode: number): boolean {
    const { leases, locks } = this.#parts.holdings.of(session.volume);
    if (locks.isForeign(session.id, inode)) return false;
    return leases.holders(inode).every((holder) => holder.session === session.id);
  }
}

function checkRange({ start, end }: ByteRange): void {
  if (start > end) throw new BrineError("invalid", `a lock from byte ${start} to ${end}`);
}
