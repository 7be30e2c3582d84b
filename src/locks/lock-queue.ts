/**
 * The advisory locks of one kind on one file: who has which range, and who waits for what.
 *
 * Who asks without waiting gets what nobody *has*. Who waits is served in the order of arrival, so that an exclusive lock
 * gets its turn however many shared ones come after it:
 *
 *     blocked       a lock of somebody else is in the way; looked at again when that owner sets or releases something
 *     behind        nobody's lock is, but somebody waits since earlier for what can't be had together with this
 *     (granted)     neither
 *
 * Waiting *behind* someone is politeness, which fcntl(2) and flock(2) don't know, and it could tie a knot that isn't there
 * without it: a program with a shared lock waits for its child, the child asks for a shared lock behind an exclusive one
 * that waits for the program. So nobody waits politely for what waits for its own process, nor longer than `politeMs`.
 */
import { believe } from "./believe.ts";
import {
  areOpposed,
  type ByteRange,
  type Conflict,
  type LockedRange,
  type LockMode,
  overlap,
  RangeLocks,
} from "./range-locks.ts";

/** Those who have a shared lock when someone asks for the exclusive one need a while to finish; a person hardly notices it. */
export const politeMs = 500;

export interface LockRequest<Owner> extends ByteRange {
  readonly owner: Owner;
  readonly mode: LockMode;
}

export interface LockWait<Owner> extends LockRequest<Owner> {
  /** The lock is held now. Must not call the queue back in the same turn. */
  granted(grant: number): void;
}

export interface LockQueueParts<Owner> {
  readonly startTimer: (delayMs: number, callback: () => void) => { cancel(): void };
  readonly isSameProcess: (left: Owner, right: Owner) => boolean;
  /** A number for what is set now. */
  readonly nextGrant: () => number;
}

interface Place<Owner> {
  readonly wait: LockWait<Owner>;
  readonly number: number;
  /** The owner whose lock is in the way, or the place before it. */
  blocker: Owner | Place<Owner> | undefined;
  timer: { cancel(): void } | undefined;
  /** It has been polite for long enough. */
  mayPass: boolean;
}

export class LockQueue<Owner extends object> {
  readonly held = new RangeLocks<Owner>();
  readonly #parts: LockQueueParts<Owner>;
  /** In the order of arrival. */
  readonly #places = new Map<LockWait<Owner>, Place<Owner>>();
  readonly #blocked = new Map<object, Set<Place<Owner>>>();
  #arrivals = 0;

  constructor(parts: LockQueueParts<Owner>) {
    this.#parts = parts;
  }

  get isEmpty(): boolean {
    return this.held.count === 0 && this.#places.size === 0;
  }

  /** Those who wait, the first in line first. */
  waits(): Iterable<LockWait<Owner>> {
    return this.#places.keys();
  }

  get waitCount(): number {
    return this.#places.size;
  }

  /** What is in the way of a request. */
  conflict({ owner, mode, ...range }: LockRequest<Owner>): Conflict<Owner> | undefined {
    return this.held.conflict(owner, range, mode);
  }

  /** The owner's lock is set, if nobody's is in the way; else what is. */
  trySet(request: LockRequest<Owner>): { grant: number } | { conflict: Conflict<Owner> } {
    const conflict = this.conflict(request);
    if (conflict !== undefined) return { conflict };
    const grant = this.#parts.nextGrant();
    this.put(request, request.mode, grant);
    return { grant };
  }

  /** Sets what the caller knows to be right, or (without a mode) releases it. */
  put({ owner, start, end }: ByteRange & { readonly owner: Owner }, mode: LockMode | undefined, grant = 0): void {
    this.held.set(owner, { start, end }, mode, grant);
    this.#wake(owner);
  }

  /** All locks of the owner, in place of what it had. Where others contradict, the later one stands (believe.ts). */
  state(owner: Owner, ranges: readonly LockedRange[]): void {
    const others = new Set<Owner>(this.held.owners());
    this.held.drop(owner);
    for (const range of ranges) believe(this.held, owner, range);
    this.#wake(owner);
    for (const other of others) this.#wake(other);
  }

  /** All that the owner has and waits for. */
  drop(owner: Owner): void {
    for (const wait of [...this.#places.keys()]) if (wait.owner === owner) this.cancel(wait);
    this.held.drop(owner);
    this.#wake(owner);
  }

  /** Waits until the lock can be had; `granted` may be called at once. */
  wait(wait: LockWait<Owner>): void {
    const place = { wait, number: ++this.#arrivals, blocker: undefined, timer: undefined, mayPass: false };
    this.#places.set(wait, place);
    this.#advance(place);
  }

  /** False if it doesn't wait (any more). */
  cancel(wait: LockWait<Owner>): boolean {
    const place = this.#places.get(wait);
    if (place === undefined) return false;
    this.#leave(place);
    this.#wake(place);
    return true;
  }

  /** Owners whose locks are in the way. */
  blockers({ owner, mode, ...range }: LockRequest<Owner>): Iterable<Owner> {
    return this.held.blockers(owner, range, mode);
  }

  // --- one place in the queue ---

  #advance(place: Place<Owner>): void {
    const conflict = this.conflict(place.wait);
    if (conflict !== undefined) {
      place.timer?.cancel();
      place.timer = undefined;
      this.#block(place, conflict.owner);
      return;
    }
    const before = place.mayPass ? undefined : this.#placeBefore(place);
    if (before === undefined) {
      this.#grant(place);
      return;
    }
    this.#block(place, before);
    place.timer ??= this.#parts.startTimer(politeMs, () => {
      place.mayPass = true;
      this.#advance(place);
    });
  }

  #grant(place: Place<Owner>): void {
    const { wait } = place;
    this.#leave(place);
    const grant = this.#parts.nextGrant();
    this.put(wait, wait.mode, grant);
    wait.granted(grant);
    this.#wake(place);
  }

  /** Someone in line before it who is to go first. */
  #placeBefore({ wait, number }: Place<Owner>): Place<Owner> | undefined {
    for (const before of this.#places.values()) {
      if (before.number >= number) return undefined;
      const other = before.wait;
      if (other.owner === wait.owner || !areOpposed(other.mode, wait.mode) || !overlap(other, wait)) continue;
      if (!this.#waitsForProcessOf(other, wait.owner)) return before;
    }
    return undefined;
  }

  #waitsForProcessOf(wait: LockWait<Owner>, owner: Owner): boolean {
    for (const blocker of this.blockers(wait)) if (this.#parts.isSameProcess(blocker, owner)) return true;
    return false;
  }

  #block(place: Place<Owner>, blocker: Owner | Place<Owner>): void {
    if (place.blocker === blocker) return;
    this.#unblock(place);
    place.blocker = blocker;
    const blocked = this.#blocked.get(blocker);
    if (blocked === undefined) this.#blocked.set(blocker, new Set([place]));
    else blocked.add(place);
  }

  #unblock(place: Place<Owner>): void {
    const { blocker } = place;
    if (blocker === undefined) return;
    place.blocker = undefined;
    const blocked = this.#blocked.get(blocker)!;
    blocked.delete(place);
    if (blocked.size === 0) this.#blocked.delete(blocker);
  }

  #leave(place: Place<Owner>): void {
    place.timer?.cancel();
    place.timer = undefined;
    this.#unblock(place);
    this.#places.delete(place.wait);
  }

  /** Something of the blocker has changed: those who were blocked by it are looked at again, the first in line first. */
  #wake(blocker: Owner | Place<Owner>): void {
    const blocked = this.#blocked.get(blocker);
    if (blocked === undefined) return;
    for (const place of [...blocked].sort((left, right) => left.number - right.number)) {
      if (place.blocker === blocker) this.#advance(place);
    }
  }
}
