/** The files on which this mount has or waits for advisory locks, and the owners of these. */
import { LockQueue, type LockQueueParts } from "../locks/lock-queue.ts";
import { type ByteRange, intersection, type LockedRange, type LockMode } from "../locks/range-locks.ts";
import type { LockKind } from "../wire/catalogue/locks.ts";
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
  /** Calls under way. */
  users: number;
  /** Requests at the leader, waits included. */
  requests: number;
  /** Something was set or released here of which the leader has not been told. */
  isUnstated: boolean;
  /** The leader may have locks of this mount on the file. */
  isKnown: boolean;
  /** The leader is being told. */
  stating: Promise<void> | undefined;
  /** Ranges as they were counted last. */
  counted: number;
}

/** Locks of a mount: the leader takes no more than a few times this, and an array of locks goes in one message. */
export const mountLocksMax = 131_072;

/** Of what was set while requests of the owner wait: more than can be between a grant and the message that tells it. */
const setSinceMax = 64;

export class LockedFiles {
  readonly #startTimer: LockQueueParts<LockOwner>["startTimer"];
  readonly #grantOf: (inode: number) => number;
  readonly #files = new Map<number, LockedFile>();
  readonly #owners: Record<LockKind, Map<bigint, LockOwner>> = { posix: new Map(), flock: new Map() };
  #lastNumber = 0;
  #count = 0;

  /** @param grantOf the number for what is set under the inode's lease */
  constructor(startTimer: LockQueueParts<LockOwner>["startTimer"], grantOf: (inode: number) => number) {
    this.#startTimer = startTimer;
    this.#grantOf = grantOf;
  }

  all(): LockedFile[] {
    return [...this.#files.values()];
  }

  /** Locks held. */
  get count(): number {
    return this.#count;
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
      file = this.#make(inode);
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
    this.#settle(file);
    if (owner.users === 0 && !file[owner.kind].held.has(owner)) {
      file.handles.delete(owner);
      if (!this.#hasAny(owner)) this.#owners[owner.kind].delete(owner.id);
    }
    this.forget(file);
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

  /** A file without locks, unless the leader has still to be told that there are none any more. */
  forget(file: LockedFile): void {
    if (file.users > 0 || !file.posix.isEmpty || !file.flock.isEmpty) return;
    if (file.stating !== undefined || (file.isUnstated && file.isKnown)) return;
    this.#files.delete(file.inode);
  }

  clear(): void {
    this.#files.clear();
    this.#owners.posix.clear();
    this.#owners.flock.clear();
  }

  #make(inode: number): LockedFile {
    const queueParts: LockQueueParts<LockOwner> = {
      startTimer: this.#startTimer,
      isSameProcess: (left, right) => left.pid === right.pid && left.pid !== 0,
      nextGrant: () => this.#grantOf(inode),
    };
    return {
      inode,
      posix: new LockQueue(queueParts),
      flock: new LockQueue(queueParts),
      handles: new Map(),
      users: 0,
      requests: 0,
      isUnstated: false,
      isKnown: false,
      stating: undefined,
      counted: 0,
    };
  }

  #settle(file: LockedFile): void {
    const count = file.posix.held.count + file.flock.held.count;
    this.#count += count - file.counted;
    file.counted = count;
  }

  #hasAny(owner: LockOwner): boolean {
    for (const file of this.#files.values()) if (file[owner.kind].held.has(owner)) return true;
    return false;
  }
}

/** What an owner has in a range, gaps included, in order. */
export function piecesIn(
  ranges: readonly LockedRange[],
  whole: ByteRange,
): (ByteRange & { readonly mode: LockMode | undefined })[] {
  const { start, end } = whole;
  const pieces: (ByteRange & { mode: LockMode | undefined })[] = [];
  let from = start;
  for (const range of ranges) {
    if (range.end < from || range.start > end) continue;
    const { start: first, end: last } = intersection(range, whole);
    if (first > from) pieces.push({ start: from, end: first - 1n, mode: undefined });
    pieces.push({ start: first, end: last, mode: range.mode });
    from = last + 1n;
  }
  if (from <= end) pieces.push({ start: from, end, mode: undefined });
  return pieces;
}
