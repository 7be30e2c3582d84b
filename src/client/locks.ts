/**
 * Advisory locks of this mount: fcntl(2), of processes and open file descriptions, and flock(2).
 *
 * The mount decides by itself, or the leader (lock-authority.ts). The mount keeps what it has: it is what the leader is told
 * on each new connection, in place of all that it knew. So what was released here is gone then, and what the leader has set
 * without this mount's knowing is, too.
 *
 * Requests of one owner come one after the other, apart from those that wait for a lock: these may be told of late, and what
 * was set after them counts (LockedFiles.record).
 *
 * Locks end with the session. Handles of that session fail from then on, so nobody goes on in the belief that it holds one.
 */
import { FileError } from "../errors/file-error.ts";
import type { ByteRange, LockMode } from "../locks/range-locks.ts";
import type { Platform } from "../platform/platform.ts";
import { type HeldLock, type SetLockAnswer, setLock, testLock } from "../wire/catalogue/locks.ts";
import { type LockRange, lockEnd, type StopSignal } from "./file-system.ts";
import type { Leases } from "./leases.ts";
import { heldOn, LockAuthority } from "./lock-authority.ts";
import { LockRequest } from "./lock-request.ts";
import { type LockedFile, LockedFiles, type LockOwner, mountLocksMax, piecesIn } from "./locked-files.ts";
import type { OpenHandle } from "./open-handle.ts";
import type { Session } from "./session.ts";
import type { Operation } from "./waits.ts";

/** As for any request that may be sent again. */
const releaseTimeoutMs = 10_000;

const everything = { start: 0n, end: lockEnd };

export class Locks {
  readonly #platform: Platform;
  readonly #session: Session;
  readonly #files: LockedFiles;
  readonly #authority: LockAuthority;
  /** Under way, those that wait by their numbers. */
  readonly #requests = new Set<LockRequest>();
  readonly #waits = new Map<number, LockRequest>();
  #lastWait = 0;

  constructor(platform: Platform, session: Session, leases: Leases) {
    this.#platform = platform;
    this.#session = session;
    this.#files = new LockedFiles(
      (delayMs, callback) => platform.clock.startTimer(delayMs, callback),
      (inode) => leases.get(inode)?.grant ?? 0,
    );
    this.#authority = new LockAuthority({
      session,
      leases,
      files: this.#files,
      sendWaits: (file) => {
        for (const request of this.#requests) if (request.file === file) request.sendWait();
      },
    });
  }

  /** A lock of another owner that is in the way. */
  async test(inode: number, lock: LockRange, operation: Operation): Promise<LockRange | undefined> {
    const { file, owner } = this.#files.use(inode, lock);
    try {
      if (this.#authority.isHere(file)) return described(lock.kind, file[lock.kind].conflict({ ...lock, owner }));
      return await this.#testAtLeader(file, owner, lock, operation);
    } finally {
      this.#files.doneWith(file, owner);
    }
  }

  /** See FileSystem.setLock. */
  async set(
    handle: OpenHandle,
    lock: LockRange,
    wait: boolean,
    operation: Operation,
    signal: StopSignal | undefined,
  ): Promise<void> {
    if (this.#files.count >= mountLocksMax) throw new FileError("ENOLCK", "too many locks");
    const { file, owner } = this.#files.use(handle.inode, lock);
    const { mode } = lock;
    const range = { start: lock.start, end: lock.end };
    file.handles.set(owner, handle);
    const number = wait ? ++this.#lastWait : 0;
    const request = new LockRequest({
      session: this.#session,
      clock: this.#platform.clock,
      authority: this.#authority,
      operation,
      file,
      owner,
      range,
      mode,
      wait: number,
      inTurn: (body) => this.#inTurn(owner, body),
      record: (grant) => this.#files.record(file, owner, range, mode, grant),
      restore: () => this.#restore(file, owner, range),
      waitingHere: (other) => [...this.#requests].filter((one) => one.isWaitingHere && one.owner === other),
    });
    const onAbort = () => request.abort();
    signal?.addEventListener("abort", onAbort, { once: true });
    if (signal?.aborted === true) request.abort();
    this.#requests.add(request);
    if (wait) this.#waits.set(number, request);
    if (wait) owner.waitCount += 1;
    try {
      await request.run();
    } finally {
      signal?.removeEventListener("abort", onAbort);
      this.#requests.delete(request);
      this.#waits.delete(number);
      if (wait) owner.waitCount -= 1;
      this.#files.doneWith(file, owner);
    }
  }

  /** Never fails: at the latest the end of the session releases. */
  async unlock(inode: number, { kind, owner: id, start, end }: Omit<LockRange, "mode" | "pid">): Promise<void> {
    const known = this.#files.findOwner(kind, id);
    if (known === undefined || this.#files.find(inode) === undefined) return;
    const { file, owner } = this.#files.use(inode, { kind, owner: id, pid: known.pid });
    try {
      await this.#inTurn(owner, () => this.#release(file, owner, { start, end }));
    } catch (error) {
      if (!this.#session.ended) throw error;
    } finally {
      this.#files.doneWith(file, owner);
    }
  }

  /** The last descriptor of the handle was closed: what was set through it and is still there goes. */
  closed(handle: OpenHandle): void {
    const file = this.#files.find(handle.inode);
    if (file === undefined) return;
    for (const [owner, last] of [...file.handles]) {
      if (last !== handle) continue;
      for (const request of this.#requests) if (request.owner === owner && request.file === file) request.abort();
      void this.unlock(handle.inode, { kind: owner.kind, owner: owner.id, ...everything });
    }
  }

  /** What is held, for the leader to know. */
  held(): HeldLock[] {
    return this.#files.all().flatMap((file) => {
      const locks = heldOn(file);
      if (locks.length > 0) file.isKnown = true;
      return locks;
    });
  }

  /** The lease on the inode is about to be given back. Undefined: the leader knows of all locks on it. */
  handOver(inode: number): Promise<void> | undefined {
    return this.#authority.handOver(inode);
  }

  /** The leader has set what was waited for. */
  granted(wait: number, grant: number): void {
    this.#waits.get(wait)?.granted(grant);
  }

  /** A new connection is there, and what is held was stated on it. */
  connected(): void {
    for (const request of this.#waits.values()) request.reconnected();
  }

  /** Nobody waits for a lock any more. */
  abortAll(): void {
    for (const request of this.#requests) request.abort();
  }

  lost(failure: FileError): void {
    for (const request of this.#requests) request.lost(failure);
    this.#files.clear();
  }

  /** Requests of an owner one after the other. */
  async #inTurn<T>(owner: LockOwner, body: () => Promise<T>): Promise<T> {
    const before = owner.turn;
    const { promise, resolve } = Promise.withResolvers<void>();
    owner.turn = promise;
    await before;
    try {
      return await body();
    } finally {
      resolve();
    }
  }

  async #testAtLeader(
    file: LockedFile,
    owner: LockOwner,
    { kind, mode, pid, start, end }: LockRange,
    operation: Operation,
  ): Promise<LockRange | undefined> {
    const request = { session: this.#session.id, inode: file.inode, kind, owner: owner.number, pid, start, end, mode };
    file.requests += 1;
    try {
      for (;;) {
        await this.#authority.leaderDecides(file);
        const { conflict, leased } = await this.#session.request(testLock, request, operation);
        if (leased) await this.#authority.askForLocks(file, operation);
        else if (conflict === undefined) return undefined;
        else {
          const own = conflict.owner === 0 ? undefined : this.#files.ownerNumbered(kind, conflict.owner);
          return described(kind, { owner: own, range: conflict });
        }
      }
    } finally {
      file.requests -= 1;
    }
  }

  /**
   * Releases at once here, and waits for the leader as long as the connection lasts: on the next one the leader is told of
   * what is left.
   */
  async #release(file: LockedFile, owner: LockOwner, range: ByteRange): Promise<void> {
    const queue = file[owner.kind];
    if (piecesIn(queue.held.of(owner), range).every(({ mode }) => mode === undefined)) return;
    const isHere = this.#authority.isHere(file);
    queue.put({ owner, ...range }, undefined);
    if (isHere) {
      file.isUnstated = true;
      return;
    }
    file.requests += 1;
    try {
      await this.#releaseAtLeader(file, owner, range);
    } finally {
      file.requests -= 1;
    }
  }

  async #releaseAtLeader(file: LockedFile, owner: LockOwner, range: ByteRange): Promise<void> {
    const session = this.#session;
    const { peer } = session;
    if (peer === undefined) return;
    await this.#authority.leaderDecides(file);
    const { kind, number, pid } = owner;
    const asked = { inode: file.inode, kind, owner: number, pid, ...range, mode: undefined, wait: 0 };
    const request = { session: session.id, ...asked };
    const grant = this.#authority.grantOf(file);
    let answer: SetLockAnswer;
    try {
      answer = (await peer.request(setLock, request, { timeoutMs: releaseTimeoutMs })).body;
    } catch {
      if (session.ended || session.peer !== peer) return;
      answer = await session.request(setLock, request);
    }
    this.#authority.answered(file, answer.alone, grant);
    this.#files.record(file, owner, range, undefined, answer.grant);
  }

  /** After a request that was given up but may have been executed. */
  async #restore(file: LockedFile, owner: LockOwner, range: ByteRange): Promise<void> {
    const { kind, number, pid } = owner;
    for (const piece of piecesIn(file[kind].held.of(owner), range)) {
      const request = { session: this.#session.id, inode: file.inode, kind, owner: number, pid, ...piece, wait: 0 };
      const { outcome, grant } = await this.#session.request(setLock, request);
      // It is shared now, as was asked for, and others have shared it since.
      const mode = outcome === "done" ? piece.mode : "shared";
      this.#files.record(file, owner, piece, mode, grant);
    }
  }
}

/** For F_GETLK: who is on another machine has no process here. */
function described(
  kind: LockRange["kind"],
  conflict: { readonly owner: LockOwner | undefined; readonly range: ByteRange & { mode: LockMode } } | undefined,
): LockRange | undefined {
  if (conflict === undefined) return undefined;
  const { owner, range } = conflict;
  return { kind, owner: owner?.id ?? 0n, mode: range.mode, start: range.start, end: range.end, pid: owner?.pid ?? 0 };
}
