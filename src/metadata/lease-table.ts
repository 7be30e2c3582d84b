/**
 * Who has which lease, as flat as it can be: a leader may know a million leases, and an object with a few fields for each
 * would take several hundred MB. Here a lease is a *slot*, one index into parallel typed arrays, 49 bytes in all.
 *
 *     #buckets[hash(inode)] ──► slot ──nextInBucket──► slot ──► none        all leases of an inode are in one chain
 *     #sessions.get(session).first ──► slot ──nextOfSession──► slot …       a session's leases, the oldest first
 *
 * Free slots form a chain through #nextInBucket. The arrays double when they are full, and the buckets with them.
 */
import type { LeaseMode } from "../wire/catalogue/leader.ts";

/** No slot. */
export const none = -1;

const isExclusiveFlag = 1;
const recalledToSharedFlag = 2;
const recalledFlag = 4;
const markFlag = 8;
const locksElsewhereFlag = 16;
const isSplitFlag = 32;
const recallFlags = recalledToSharedFlag | recalledFlag;

const initialCapacity = 256;

/** A session's lease on an inode, for people. */
export interface Holder {
  readonly session: number;
  readonly mode: LeaseMode;
  readonly sinceMs: number;
  /** What others want of it, as far as its client was told. */
  readonly recalledFor: LeaseMode | undefined;
}

interface SessionChain {
  first: number;
  last: number;
  count: number;
  /** Of them: those that were recalled entirely. */
  recalledCount: number;
}

export class LeaseTable {
  #capacity = 0;
  #inodes = new Float64Array(0);
  #sessionIds = new Float64Array(0);
  #grants = new Float64Array(0);
  #flags = new Uint8Array(0);
  #sinceMs = new Float64Array(0);
  #nextInBucket = new Int32Array(0);
  #nextOfSession = new Int32Array(0);
  #previousOfSession = new Int32Array(0);
  #buckets = new Int32Array(0);
  #firstFree = none;
  readonly #sessions = new Map<number, SessionChain>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  // --- one lease ---

  inode(slot: number): number {
    return this.#inodes[slot]!;
  }

  session(slot: number): number {
    return this.#sessionIds[slot]!;
  }

  grant(slot: number): number {
    return this.#grants[slot]!;
  }

  isExclusive(slot: number): boolean {
    return (this.#flags[slot]! & isExclusiveFlag) !== 0;
  }

  mode(slot: number): LeaseMode {
    if (this.isExclusive(slot)) return "exclusive";
    return (this.#flags[slot]! & isSplitFlag) !== 0 ? "split" : "shared";
  }

  /** Since when its session has it in this mode. */
  sinceMs(slot: number): number {
    return this.#sinceMs[slot]!;
  }

  /** What others want of it, as far as its client was told: nothing, that it goes down to shared, that it goes. */
  recalledFor(slot: number): LeaseMode | undefined {
    const flags = this.#flags[slot]!;
    if ((flags & recalledFlag) !== 0) return "exclusive";
    return (flags & recalledToSharedFlag) !== 0 ? "shared" : undefined;
  }

  setRecalled(slot: number, wanted: LeaseMode | undefined): void {
    const flag = wanted === undefined ? 0 : wanted === "shared" ? recalledToSharedFlag : recalledFlag;
    this.#setFlags(slot, (this.#flags[slot]! & ~recallFlags) | flag);
  }

  /** A mark for whoever goes through the table. */
  isMarked(slot: number): boolean {
    return (this.#flags[slot]! & markFlag) !== 0;
  }

  mark(slot: number, marked: boolean): void {
    this.#flags[slot] = marked ? this.#flags[slot]! | markFlag : this.#flags[slot]! & ~markFlag;
  }

  /** Its client was told that others may have advisory locks: it sets none by itself under this lease. */
  hasLocksElsewhere(slot: number): boolean {
    return (this.#flags[slot]! & locksElsewhereFlag) !== 0;
  }

  setLocksElsewhere(slot: number, elsewhere: boolean): void {
    this.#flags[slot] = elsewhere ? this.#flags[slot]! | locksElsewhereFlag : this.#flags[slot]! & ~locksElsewhereFlag;
  }

  /** The same lease goes on with another grant or mode, not recalled. */
  replace(slot: number, grant: number, mode: LeaseMode): void {
    if (this.mode(slot) !== mode) this.#sinceMs[slot] = this.#nowMs();
    this.#grants[slot] = grant;
    this.#setFlags(slot, mode === "exclusive" ? isExclusiveFlag : mode === "split" ? isSplitFlag : 0);
  }

  // --- finding ---

  /** The session's lease on the inode, or `none`. */
  find(session: number, inode: number): number {
    for (let slot = this.first(inode); slot !== none; slot = this.next(slot)) {
      if (this.#sessionIds[slot] === session) return slot;
    }
    return none;
  }

  /** The first lease on an inode; `next` gives the others. */
  first(inode: number): number {
    if (this.#capacity === 0) return none;
    return this.#skip(this.#buckets[this.#bucketOf(inode)]!, inode);
  }

  next(slot: number): number {
    return this.#skip(this.#nextInBucket[slot]!, this.#inodes[slot]!);
  }

  holders(inode: number): Holder[] {
    const holders: Holder[] = [];
    for (let slot = this.first(inode); slot !== none; slot = this.next(slot)) {
      const [session, mode, sinceMs] = [this.session(slot), this.mode(slot), this.sinceMs(slot)];
      holders.push({ session, mode, sinceMs, recalledFor: this.recalledFor(slot) });
    }
    return holders;
  }

  count(session: number): number {
    return this.#sessions.get(session)?.count ?? 0;
  }

  /** Without those that were recalled entirely. */
  keptCount(session: number): number {
    const chain = this.#sessions.get(session);
    return chain === undefined ? 0 : chain.count - chain.recalledCount;
  }

  /** Of all sessions. */
  get totalCount(): number {
    let total = 0;
    for (const { count } of this.#sessions.values()) total += count;
    return total;
  }

  /** A session's leases, the oldest first; the one that was given last may be removed. */
  *ofSession(session: number): Generator<number> {
    for (let slot = this.#sessions.get(session)?.first ?? none; slot !== none; ) {
      const next = this.#nextOfSession[slot]!;
      yield slot;
      slot = next;
    }
  }

  // --- changing ---

  add(session: number, inode: number, grant: number, mode: LeaseMode): number {
    if (this.#firstFree === none) this.#grow();
    const slot = this.#firstFree;
    this.#firstFree = this.#nextInBucket[slot]!;
    const bucket = this.#bucketOf(inode);
    this.#inodes[slot] = inode;
    this.#sessionIds[slot] = session;
    this.#flags[slot] = 0;
    this.#link(slot, session);
    this.replace(slot, grant, mode);
    this.#sinceMs[slot] = this.#nowMs();
    this.#nextInBucket[slot] = this.#buckets[bucket]!;
    this.#buckets[bucket] = slot;
    return slot;
  }

  remove(slot: number): void {
    const bucket = this.#bucketOf(this.#inodes[slot]!);
    const after = this.#nextInBucket[slot]!;
    if (this.#buckets[bucket] === slot) this.#buckets[bucket] = after;
    else {
      let before = this.#buckets[bucket]!;
      while (this.#nextInBucket[before] !== slot) before = this.#nextInBucket[before]!;
      this.#nextInBucket[before] = after;
    }
    this.#unlink(slot);
    this.#nextInBucket[slot] = this.#firstFree;
    this.#firstFree = slot;
  }

  #setFlags(slot: number, flags: number): void {
    const changed = this.#flags[slot]! ^ flags;
    this.#flags[slot] = flags;
    if ((changed & recalledFlag) === 0) return;
    this.#sessions.get(this.#sessionIds[slot]!)!.recalledCount += (flags & recalledFlag) === 0 ? -1 : 1;
  }

  #skip(from: number, inode: number): number {
    let slot = from;
    while (slot !== none && this.#inodes[slot] !== inode) slot = this.#nextInBucket[slot]!;
    return slot;
  }

  #link(slot: number, session: number): void {
    const chain = this.#sessions.get(session);
    this.#nextOfSession[slot] = none;
    this.#previousOfSession[slot] = chain?.last ?? none;
    if (chain === undefined) {
      this.#sessions.set(session, { first: slot, last: slot, count: 1, recalledCount: 0 });
      return;
    }
    this.#nextOfSession[chain.last] = slot;
    chain.last = slot;
    chain.count += 1;
  }

  #unlink(slot: number): void {
    const session = this.#sessionIds[slot]!;
    const chain = this.#sessions.get(session)!;
    const [previous, next] = [this.#previousOfSession[slot]!, this.#nextOfSession[slot]!];
    if (previous === none) chain.first = next;
    else this.#nextOfSession[previous] = next;
    if (next === none) chain.last = previous;
    else this.#previousOfSession[next] = previous;
    chain.count -= 1;
    if ((this.#flags[slot]! & recalledFlag) !== 0) chain.recalledCount -= 1;
    if (chain.count === 0) this.#sessions.delete(session);
  }

  #bucketOf(inode: number): number {
    // Inode numbers are dense: neighbours in number are neighbours in memory, too.
    return ((inode % 0x1_0000_0000) ^ Math.floor(inode / 0x1_0000_0000)) & (this.#capacity - 1);
  }

  #grow(): void {
    const before = this.#capacity;
    this.#capacity = before === 0 ? initialCapacity : before * 2;
    this.#inodes = grown(this.#inodes, new Float64Array(this.#capacity));
    this.#sessionIds = grown(this.#sessionIds, new Float64Array(this.#capacity));
    this.#grants = grown(this.#grants, new Float64Array(this.#capacity));
    this.#sinceMs = grown(this.#sinceMs, new Float64Array(this.#capacity));
    this.#flags = grown(this.#flags, new Uint8Array(this.#capacity));
    this.#nextInBucket = new Int32Array(this.#capacity);
    this.#nextOfSession = grown(this.#nextOfSession, new Int32Array(this.#capacity));
    this.#previousOfSession = grown(this.#previousOfSession, new Int32Array(this.#capacity));
    this.#buckets = new Int32Array(this.#capacity).fill(none);
    // It grows when no slot is free: all of the lower half are in use.
    for (let slot = 0; slot < before; slot++) {
      const bucket = this.#bucketOf(this.#inodes[slot]!);
      this.#nextInBucket[slot] = this.#buckets[bucket]!;
      this.#buckets[bucket] = slot;
    }
    for (let slot = before; slot < this.#capacity; slot++) {
      this.#nextInBucket[slot] = slot + 1 < this.#capacity ? slot + 1 : none;
    }
    this.#firstFree = before;
  }
}

function grown<T extends Float64Array | Int32Array | Uint8Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
