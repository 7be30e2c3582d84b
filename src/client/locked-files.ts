/** The files on which this mount has or waits for advisory locks, and the owners of these. */
import { LockQueue, type LockQueueParts } from "../locks/lock-queue.ts";
import type { ByteRange, LockedRange, LockMode } from "../locks/range-locks.ts";
import type { HeldLock, LockKind } from "../wire/catalogue/locks.ts";
import type { LockRange } from "./file-system.ts";
import type { OpenHandle } from "./open-handle.ts";

/** A process, or an open file description. */
export interface LockOwner {
  readonly kind: LockKind;
  /** The kernel's. */
  readonly id: bigint;
  /** The leader's. */
  readonly number: number;
  pid: number;
  /** What it is doing, requests that wait for locks not counted. */
  users: number;
  /** When its last request has ended. */
  turn: Promise<void>;
  /** Requests that wait for a lock. */
  waitCount: number;
  /** What was set while some wait, the last of it: a grant may be told later than what was set after it. */
  setSince: {
    readonly file: LockedFile;
    readonly range: ByteRange;
    readonly mode: LockMode | undefined;
    grant: number;
  }[];
}

export interface LockedFile {
  readonly inode: number;
  readonly posix: LockQueue<LockOwner>;
  readonly flock: LockQueue<LockOwner>;
  /** Of each owner the handle through which it last set something. */
  readonly handles: Map<LockOwner, OpenHandle>;
  /** Requests under way. */
  users: number;
}

/** Of what was set while requests of the owner wait: more than can be between a grant and the message that tells it. */
const setSinceMax = 64;

export class LockedFiles {
  readonly #queueParts: LockQueueParts<LockOwner>;
  readonly #files = new Map<number, LockedFile>();
  readonly #owners: Record<LockKind, Map<bigint, LockOwner>> = { posix: new Map(), flock: new Map() };
  #lastNumber = 0;

  constructor(queueParts: LockQueueParts<LockOwner>) {
    this.#queueParts = queueParts;
  }

  find(inode: number): LockedFile | undefined {
    return this.#files.get(inode);
  }

  findOwner(kind: LockKind, id: bigint): LockOwner | undefined {
    return this.#owners[kind].get(id);
  }

  /** The owner with this number, as the leader knows it. */
  ownerNumbered(kind: LockKind, number: number): LockOwner | undefined {
    for (const owner of this.#owners[kind].values()) if (owner.number === number) return owner;
    return undefined;
  }

  /** Both are there until `doneWith`. */
  use(inode: number, { kind, owner: id, pid }: Pick<LockRange, "kind" | "owner" | "pid">) {
    let file = this.#files.get(inode);
    if (file === undefined) {
      file = {
        inode,
        posix: new LockQueue(this.#queueParts),
        flock: new LockQueue(this.#queueParts),
        handles: new Map(),
        users: 0,
      };
      this.#files.set(inode, file);
    }
    let owner = this.#owners[kind].get(id);
    if (owner === undefined) {
      this.#lastNumber += 1;
      const number = this.#lastNumber;
      owner = { kind, id, number, pid, users: 0, turn: Promise.resolve(), waitCount: 0, setSince: [] };
      this.#owners[kind].set(id, owner);
    }
    owner.pid = pid;
    file.users += 1;
    owner.users += 1;
    return { file, owner };
  }

  doneWith(file: LockedFile, owner: LockOwner): void {
    file.users -= 1;
    owner.users -= 1;
    if (owner.users === 0 && !file[owner.kind].held.has(owner)) {
      file.handles.delete(owner);
      if (!this.#hasAny(owner)) this.#owners[owner.kind].delete(owner.id);
    }
    if (file.users === 0 && file.posix.isEmpty && file.flock.isEmpty) this.#files.delete(file.inode);
  }

  /** Something was set, or (without a mode) released. */
  record(file: LockedFile, owner: LockOwner, range: ByteRange, mode: LockMode | undefined, grant: number): void {
    const queue = file[owner.kind];
    queue.put({ owner, ...range }, mode, grant);
    for (const later of owner.setSince) {
      if (later.file === file && later.grant > grant) queue.put({ owner, ...later.range }, later.mode, later.grant);
    }
    if (owner.waitCount === 0) owner.setSince = [];
    else owner.setSince = [...owner.setSince.slice(1 - setSinceMax), { file, range, mode, grant }];
  }

  /** All that is held. */
  held(): HeldLock[] {
    const all: HeldLock[] = [];
    for (const { inode, posix, flock } of this.#files.values()) {
      for (const { held } of [posix, flock]) {
        for (const owner of held.owners()) {
          const { kind, number, pid } = owner;
          for (const range of held.of(owner)) all.push({ inode, kind, owner: number, pid, ...range });
        }
      }
    }
    return all;
  }

  clear(): void {
    this.#files.clear();
    this.#owners.posix.clear();
    this.#owners.flock.clear();
  }

  #hasAny(owner: LockOwner): boolean {
    for (const file of this.#files.values()) if (file[owner.kind].held.has(owner)) return true;
    return false;
  }
}

/** What an owner has in a range, gaps included, in order. */
export function piecesIn(
  ranges: readonly LockedRange[],
  { start, end }: ByteRange,
): (ByteRange & { readonly mode: LockMode | undefined })[] {
  const pieces: (ByteRange & { mode: LockMode | undefined })[] = [];
  let from = start;
  for (const range of ranges) {
    if (range.end < from || range.start > end) continue;
    const [first, last] = [Math.max(range.start, start), Math.min(range.end, end)];
    if (first > from) pieces.push({ start: from, end: first - 1, mode: undefined });
    pieces.push({ start: first, end: last, mode: range.mode });
    from = last + 1;
  }
  if (from <= end) pieces.push({ start: from, end, mode: undefined });
  return pieces;
}
