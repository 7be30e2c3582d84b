/**
 * Advisory locks of this mount: fcntl(2), of processes and open file descriptions, and flock(2).
 *
 * The leader decides. The mount keeps what it has: it is what the leader is told on each new connection, in place of all
 * that it knew. So what was released here is gone then, and what the leader has set without this mount's knowing is, too.
 *
 * Requests of one owner come one after the other, apart from those that wait for a lock: these may be told of late, and what
 * was set after them counts (LockedFiles.record).
 *
 * Locks end with the session. Handles of that session fail from then on, so nobody goes on in the belief that it holds one.
 */
import type { FileError } from "../errors/file-error.ts";
import type { ByteRange } from "../locks/range-locks.ts";
import type { Platform } from "../platform/platform.ts";
import { type HeldLock, type SetLockAnswer, setLock, testLock } from "../wire/catalogue/locks.ts";
import { type LockRange, lockEnd } from "./file-system.ts";
import { LockRequest } from "./lock-request.ts";
import { type LockedFile, LockedFiles, type LockOwner, piecesIn } from "./locked-files.ts";
import type { OpenHandle } from "./open-handle.ts";
import type { Session } from "./session.ts";
import type { Operation } from "./waits.ts";

/** As for any request that may be sent again. */
const releaseTimeoutMs = 10_000;

const everything = { start: 0, end: lockEnd };

export class Locks {
  readonly #platform: Platform;
  readonly #session: Session;
  readonly #files: LockedFiles;
  /** Under way, those that wait by their numbers. */
  readonly #requests = new Set<LockRequest>();
  readonly #waits = new Map<number, LockRequest>();
  #lastWait = 0;

  constructor(platform: Platform, session: Session) {
    this.#platform = platform;
    this.#session = session;
    this.#files = new LockedFiles({
      startTimer: (delayMs, callback) => platform.clock.startTimer(delayMs, callback),
      isSameProcess: (left, right) => left.pid === right.pid,
      nextGrant: () => 0,
    });
  }

  /** A lock of another owner that is in the way. */
  async test(inode: number, lock: LockRange, operation: Operation): Promise<LockRange | undefined> {
    const { file, owner } = this.#files.use(inode, lock);
    try {
      const { kind, mode, start, end } = lock;
      const request = { session: this.#session.id, inode, kind, owner: owner.number, pid: lock.pid, start, end, mode };
      const { conflict } = await this.#session.request(testLock, request, operation);
      if (conflict === undefined) return undefined;
      const own = conflict.owner === 0 ? undefined : this.#files.ownerNumbered(kind, conflict.owner);
      const { pid } = own === undefined ? { pid: 0 } : conflict;
      return { kind, owner: own?.id ?? 0n, mode: conflict.mode, start: conflict.start, end: conflict.end, pid };
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
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { file, owner } = this.#files.use(handle.inode, lock);
    const { mode } = lock;
    const range = { start: lock.start, end: lock.end };
    file.handles.set(owner, handle);
    const number = wait ? ++this.#lastWait : 0;
    const request = new LockRequest({
      session: this.#session,
      clock: this.#platform.clock,
      operation,
      file,
      owner,
      range,
      mode,
      wait: number,
      inTurn: (body) => this.#inTurn(owner, body),
      record: (grant) => this.#files.record(file, owner, range, mode, grant),
      restore: () => this.#restore(file, owner, range),
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
    return this.#files.held();
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

  /**
   * Releases at once here, and waits for the leader as long as the connection lasts: on the next one the leader is told of
   * what is left.
   */
  async #release(file: LockedFile, owner: LockOwner, range: ByteRange): Promise<void> {
    const queue = file[owner.kind];
    if (piecesIn(queue.held.of(owner), range).every(({ mode }) => mode === undefined)) return;
    queue.put({ owner, ...range }, undefined);
    const { kind, number, pid } = owner;
    const session = this.#session;
    const asked = { inode: file.inode, kind, owner: number, pid, ...range, mode: undefined, wait: 0 };
    const request = { session: session.id, ...asked };
    const { peer } = session;
    if (peer === undefined) return;
    let answer: SetLockAnswer;
    try {
      answer = (await peer.request(setLock, request, { timeoutMs: releaseTimeoutMs })).body;
    } catch {
      if (session.ended || session.peer !== peer) return;
      answer = await session.request(setLock, request);
    }
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
