/**
 * Advisory locks of one volume: fcntl(2), of processes and open file descriptions, and flock(2).
 *
 * The table is the leader's memory only, like leases: clients keep what they have, and state it on every connection. It has
 * all locks but those that a client sets by itself under an exclusive lease; who comes next needs a lease, and by then
 * the other one has stated its locks (wire/catalogue/locks.ts).
 *
 * 1. What is set has a number that grows with every lock and lease. A client states it, so that of two statements that
 *    contradict each other the later one stands (locks/believe.ts).
 * 2. Who waits is answered at once, and told when it has the lock. That message is lost with its connection; the client then
 *    states what it has (without this lock) and asks again. So a grant that crosses with the end of a wait, or of a
 *    connection, leaves nothing behind.
 * 3. Deadlocks are looked for when a wait begins, over all files and sessions, for POSIX locks.
 */
import { wouldDeadlock } from "../locks/deadlock.ts";
import { LockQueue, type LockQueueParts, type LockWait } from "../locks/lock-queue.ts";
import type { ByteRange, Conflict, LockMode } from "../locks/range-locks.ts";
import { type HeldLock, type LockConflict, type LockKind, locksMax } from "../wire/catalogue/locks.ts";
import type { Grants } from "./grants.ts";
import type { Lifetime } from "./lifetime.ts";

/** Of two clients that lock the same file none gets it for itself so soon: each would take it from the other again. */
const contestedMs = 10_000;

/** Waits in a volume. */
const waitsMax = 65_536;

export interface LocksParts {
  readonly lifetime: Lifetime;
  readonly grants: Grants;
  /** Of a session, for people. */
  readonly nameOf: (session: number) => string;
  /** The session has got what it waited for. */
  readonly granted: (session: number, wait: number, grant: number) => void;
}

export interface LockedBy {
  readonly inode: number;
  readonly kind: LockKind;
  readonly owner: number;
  readonly pid: number;
}

export interface AskedLock extends LockedBy, ByteRange {
  readonly mode: LockMode | undefined;
  /** The wait's number in its session; 0: none. */
  readonly wait: number;
}

export type SetOutcome =
  | { readonly outcome: "done"; readonly grant: number }
  | { readonly outcome: "conflict" | "waiting"; readonly conflict: LockConflict | undefined }
  | { readonly outcome: "deadlock" | "full" };

interface Owner {
  readonly session: number;
  readonly kind: LockKind;
  readonly number: number;
  pid: number;
  readonly waits: Set<Wait>;
  /** Where it has or waits for something. */
  readonly files: Set<LockedFile>;
}

interface Wait extends LockWait<Owner> {
  readonly file: LockedFile;
  readonly number: number;
}

/** The locks of one kind on one inode. */
interface LockedFile {
  readonly inode: number;
  readonly kind: LockKind;
  readonly queue: LockQueue<Owner>;
  /** Ranges as they were counted last. */
  counted: number;
}

interface LockingSession {
  readonly owners: Map<number, Owner>;
  readonly waits: Map<number, Wait>;
}

export class Locks {
  readonly #parts: LocksParts;
  readonly #queueParts: LockQueueParts<Owner>;
  readonly #files: Record<LockKind, Map<number, LockedFile>> = { posix: new Map(), flock: new Map() };
  readonly #sessions = new Map<number, LockingSession>();
  /** Who has asked about locks on an inode, and when. */
  readonly #asked = new Map<number, Map<number, number>>();
  #count = 0;
  #waitCount = 0;

  constructor(parts: LocksParts) {
    this.#parts = parts;
    this.#queueParts = {
      startTimer: (delayMs, callback) => parts.lifetime.startTimer(delayMs, callback),
      isSameProcess: (left, right) => left.session === right.session && left.pid === right.pid && left.pid !== 0,
      nextGrant: () => parts.grants.next(),
    };
    parts.lifetime.repeat(contestedMs, () => this.#forgetAsked());
  }

  /** Locks held. */
  get count(): number {
    return this.#count;
  }

  /** Sets, releases or begins to wait; see setLock of the catalogue. */
  set(session: number, asked: AskedLock): SetOutcome {
    const { mode, wait } = asked;
    const isRelease = mode === undefined;
    if (!isRelease && (this.#count >= locksMax || (wait !== 0 && this.#waitCount >= waitsMax))) {
      return { outcome: "full" };
    }
    const file = this.#file(asked.inode, asked.kind);
    const owner = this.#owner(session, asked, file);
    let outcome: SetOutcome;
    if (isRelease) {
      file.queue.put({ owner, start: asked.start, end: asked.end }, undefined);
      outcome = { outcome: "done", grant: this.#parts.grants.next() };
    } else if (wait === 0) outcome = this.#trySet(session, file, { ...asked, mode, owner });
    else outcome = this.#wait(session, file, { ...asked, mode, owner }, wait);
    this.#settle(file);
    this.#tidy(owner, file);
    return outcome;
  }

  /** What would be in the way. */
  test(session: number, asked: LockedBy & ByteRange & { readonly mode: LockMode }): LockConflict | undefined {
    const file = this.#files[asked.kind].get(asked.inode);
    if (file === undefined) return undefined;
    const owner = this.#sessions.get(session)?.owners.get(asked.owner) ?? newOwner(session, asked);
    return this.#described(session, file.queue.conflict({ ...asked, owner }));
  }

  /** False if the session has no such wait. */
  cancel(session: number, number: number): boolean {
    const wait = this.#sessions.get(session)?.waits.get(number);
    if (wait === undefined) return false;
    this.#forget(wait);
    wait.file.queue.cancel(wait);
    this.#settle(wait.file);
    this.#tidy(wait.owner, wait.file);
    return true;
  }

  /** What the session has on an inode, in place of what was known. */
  state(session: number, inode: number, locks: readonly HeldLock[]): void {
    const stated = new Map<LockedFile, Map<Owner, HeldLock[]>>();
    for (const kind of ["posix", "flock"] as const) {
      const file = this.#files[kind].get(inode);
      if (file === undefined) continue;
      const own = [...file.queue.held.owners()].filter((owner) => owner.session === session);
      stated.set(file, new Map(own.map((owner) => [owner, []])));
    }
    for (const lock of locks) {
      const file = this.#file(inode, lock.kind);
      const owner = this.#owner(session, lock, file);
      const owners = stated.get(file) ?? new Map<Owner, HeldLock[]>();
      stated.set(file, owners);
      const ranges = owners.get(owner);
      if (ranges === undefined) owners.set(owner, [lock]);
      else ranges.push(lock);
    }
    for (const [file, owners] of stated) {
      for (const [owner, ranges] of owners) {
        file.queue.state(
          owner,
          ranges.map(({ start, end, mode, grant }) => ({ start, end, mode, grant })),
        );
      }
      for (const owner of owners.keys()) this.#tidy(owner, file);
      this.#settle(file);
    }
  }

  /** What the session has, in place of all that was known. What it waited for it asks for again. */
  restate(session: number, locks: readonly HeldLock[]): void {
    const known = this.#sessions.get(session);
    for (const number of [...(known?.waits.keys() ?? [])]) this.cancel(session, number);
    const byInode = new Map<number, HeldLock[]>();
    for (const owner of known?.owners.values() ?? []) for (const { inode } of owner.files) byInode.set(inode, []);
    for (const lock of locks) {
      const sameInode = byInode.get(lock.inode);
      if (sameInode === undefined) byInode.set(lock.inode, [lock]);
      else sameInode.push(lock);
    }
    for (const [inode, ofInode] of byInode) this.state(session, inode, ofInode);
  }

  /** The session has ended. */
  drop(session: number): void {
    this.restate(session, []);
  }

  // --- asking ---

  /** The session asks about locks on the inode. */
  asks(session: number, inode: number): void {
    const nowMs = this.#parts.lifetime.nowMs();
    const asked = this.#asked.get(inode);
    if (asked === undefined) this.#asked.set(inode, new Map([[session, nowMs]]));
    else asked.set(session, nowMs);
  }

  /** Whether others have locks on the inode or have asked for some lately, or anybody waits for one. */
  isForeign(session: number, inode: number): boolean {
    const asked = this.#asked.get(inode);
    if (asked !== undefined) {
      const sinceMs = this.#parts.lifetime.nowMs() - contestedMs;
      for (const [other, askedMs] of asked) if (other !== session && askedMs >= sinceMs) return true;
    }
    return this.#filesOf(inode).some(({ queue }) => {
      if (queue.waitCount > 0) return true;
      for (const owner of queue.held.owners()) if (owner.session !== session) return true;
      return false;
    });
  }

  /** Who is in the way of those of the session that wait for locks on the inode, for people. */
  heldBy(session: number, inode: number): string[] {
    const names = new Set<string>();
    for (const wait of this.#sessions.get(session)?.waits.values() ?? []) {
      if (wait.file.inode !== inode) continue;
      for (const blocker of wait.file.queue.blockers(wait)) names.add(this.#nameOf(blocker));
    }
    return [...names];
  }

  // --- one request ---

  #trySet(session: number, file: LockedFile, request: ByteRange & { owner: Owner; mode: LockMode }): SetOutcome {
    const tried = file.queue.trySet(request);
    if ("grant" in tried) return { outcome: "done", grant: tried.grant };
    return { outcome: "conflict", conflict: this.#described(session, tried.conflict) };
  }

  #wait(
    session: number,
    file: LockedFile,
    request: ByteRange & { owner: Owner; mode: LockMode },
    number: number,
  ): SetOutcome {
    const { owner, mode, start, end } = request;
    const waits = this.#session(session).waits;
    const conflict = () => this.#described(session, file.queue.conflict(request));
    // It was sent again: it keeps its place.
    if (waits.has(number)) return { outcome: "waiting", conflict: conflict() };
    if (file.kind === "posix" && this.#wouldDeadlock(file, request)) return { outcome: "deadlock" };
    let grantedAtOnce: number | undefined;
    let isAnswered = false;
    const granted = (grant: number): void => {
      this.#forget(wait);
      grantedAtOnce = grant;
      if (!isAnswered) return;
      this.#settle(file);
      this.#parts.granted(session, number, grant);
    };
    const wait: Wait = { file, number, owner, mode, start, end, granted };
    waits.set(number, wait);
    owner.waits.add(wait);
    this.#waitCount += 1;
    file.queue.wait(wait);
    isAnswered = true;
    if (grantedAtOnce !== undefined) return { outcome: "done", grant: grantedAtOnce };
    return { outcome: "waiting", conflict: conflict() };
  }

  #wouldDeadlock(file: LockedFile, request: ByteRange & { owner: Owner; mode: LockMode }): boolean {
    const placed = (wait: Wait) => ({ queue: wait.file.queue, request: wait });
    return wouldDeadlock({ queue: file.queue, request }, (owner) => [...owner.waits].map(placed));
  }

  /** Told to the session `to`. */
  #described(to: number, conflict: Conflict<Owner> | undefined): LockConflict | undefined {
    if (conflict === undefined) return undefined;
    const { owner, range } = conflict;
    const { start, end, mode } = range;
    const own = owner.session === to ? owner.number : 0;
    return { start, end, mode, pid: owner.pid, owner: own, holder: this.#nameOf(owner) };
  }

  #nameOf({ session, pid }: Owner): string {
    return `process ${pid} of ${this.#parts.nameOf(session)}`.slice(0, 120);
  }

  // --- what is kept ---

  #file(inode: number, kind: LockKind): LockedFile {
    let file = this.#files[kind].get(inode);
    if (file === undefined) {
      file = { inode, kind, queue: new LockQueue(this.#queueParts), counted: 0 };
      this.#files[kind].set(inode, file);
    }
    return file;
  }

  #filesOf(inode: number): LockedFile[] {
    return [this.#files.posix.get(inode), this.#files.flock.get(inode)].filter((file) => file !== undefined);
  }

  #session(session: number): LockingSession {
    let known = this.#sessions.get(session);
    if (known === undefined) {
      known = { owners: new Map(), waits: new Map() };
      this.#sessions.set(session, known);
    }
    return known;
  }

  #owner(session: number, asked: LockedBy, file: LockedFile): Owner {
    const { owners } = this.#session(session);
    let owner = owners.get(asked.owner);
    if (owner === undefined) {
      owner = newOwner(session, asked);
      owners.set(asked.owner, owner);
    }
    owner.pid = asked.pid;
    owner.files.add(file);
    return owner;
  }

  #forgetAsked(): void {
    const sinceMs = this.#parts.lifetime.nowMs() - contestedMs;
    for (const [inode, asked] of this.#asked) {
      for (const [session, askedMs] of asked) if (askedMs < sinceMs) asked.delete(session);
      if (asked.size === 0) this.#asked.delete(inode);
    }
  }

  /** It waits no more. */
  #forget(wait: Wait): void {
    this.#waitCount -= 1;
    wait.owner.waits.delete(wait);
    this.#sessions.get(wait.owner.session)?.waits.delete(wait.number);
  }

  /** Counts, and forgets a file without locks. */
  #settle(file: LockedFile): void {
    this.#count += file.queue.held.count - file.counted;
    file.counted = file.queue.held.count;
    if (file.queue.isEmpty) this.#files[file.kind].delete(file.inode);
  }

  /** Forgets an owner that has nothing on the file. */
  #tidy(owner: Owner, file: LockedFile): void {
    if (file.queue.held.has(owner)) return;
    for (const wait of owner.waits) if (wait.file === file) return;
    owner.files.delete(file);
    const known = this.#sessions.get(owner.session);
    if (owner.files.size > 0 || known === undefined) return;
    known.owners.delete(owner.number);
    if (known.owners.size === 0 && known.waits.size === 0) this.#sessions.delete(owner.session);
  }
}

function newOwner(session: number, { kind, owner: number, pid }: LockedBy): Owner {
  return { session, kind, number, pid, waits: new Set(), files: new Set() };
}
