/**
 * Leases on inodes: who may read from its cache, who may change, who waits.
 *
 * The problem: an exclusive lease must never overlap with any other, although messages cross on the way. A client asks for
 * a lease while it is told to give one back; an answer that grants one is lost, or comes after the next request was sent;
 * two that have the shared lease both want the exclusive one. A grant number names a lease in every message, so that what
 * is said of one can't be taken for another on the same inode.
 *
 * 1. Each inode has holders (one exclusive, or any number of shared ones) and a queue. Only its head is looked at: it is
 *    granted when no *other* session is in its way. So nobody starves. Holders in the way are recalled, again and again
 *    until they give back or their session ends; they are told how much the others want.
 * 2. Upgrade: who waits for the exclusive lease keeps the shared one, unless that is recalled too (two that upgrade at once:
 *    the head of the queue has the other recalled). It is converted, never given up in between, and gets another grant.
 * 3. A client asks with the grant that it has (`held`). If the table has another one for it, an answer is lost or on its
 *    way to the client, or a release on its way from it. The table can't know which; if the lease ended here, the client
 *    might be using it. So it stays as it is, is recalled if it is in the way, and is converted when the request's turn
 *    has come, never to less than it was. A recall that comes a second time tells a client that the answer is lost: it
 *    gives back what it never got.
 * 4. Covers: what a session creates is its own from the moment in which the creation is queued; see transactions.ts.
 * 5. The table is the leader's memory only. After a reconnect a client states what it has, and what it doesn't state is
 *    gone. The same leader keeps what both know. A grant that it has replaced, and the client does not know it, it takes
 *    back: the session had the lease all the time. A leader that has just started believes what it is told; where two
 *    claim what can't be, the higher grant was given later, when the other had already given back.
 *
 * 6. Split: several clients work on the data of one file at the same time. The split lease of a file excludes the shared and
 *    the exclusive one, not itself. Under it the file's size stands still, and each chunk's data has a lease of its own, in
 *    the same table (namespace/chunk-leases.ts). It is given to who asks for data while others have it, or when a file is
 *    taken back and forth (contention.ts). It is never converted: who needs another gives it back before. The leases on
 *    chunks end with it, so an answer that brings one says under which split lease it stands.
 *
 * After a restart nothing is granted before all clients have stated what they have (sessions.ts).
 */
import { BrineError } from "../errors/brine-error.ts";
import { fileOfKey, indexOfKey, isChunkKey } from "../namespace/chunk-leases.ts";
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import { coverGrant, type Grants } from "./grants.ts";
import { type LeaseBounds, LeaseLimits } from "./lease-limits.ts";
import { LeaseRecalls } from "./lease-recalls.ts";
import { type Holder, LeaseTable, none } from "./lease-table.ts";
import { LeaseWaiters, type Waiter } from "./lease-waiters.ts";
import type { Lifetime } from "./lifetime.ts";
import type { Recalls } from "./recalls.ts";
import { SplitFiles } from "./split-files.ts";
import type { Waits } from "./waits.ts";

export interface StatedLease {
  readonly inode: number;
  readonly mode: LeaseMode;
  readonly grant: number;
}

export interface LeasesParts {
  readonly lifetime: Lifetime;
  readonly waits: Waits;
  readonly grants: Grants;
  readonly recalls: Recalls;
  readonly recallAgainMs: number;
  readonly bounds: LeaseBounds;
  /** Of a session, for people. */
  readonly nameOf: (session: number) => string;
}

/** The leases of one volume. */
export class Leases {
  readonly #parts: LeasesParts;
  readonly #table: LeaseTable;
  readonly #waiters = new LeaseWaiters();
  readonly #recalls: LeaseRecalls;
  readonly limits: LeaseLimits;
  /** What of it concerns files on which several work at once. */
  readonly split: SplitFiles;

  constructor(parts: LeasesParts) {
    this.#parts = parts;
    this.#table = new LeaseTable(() => parts.lifetime.nowMs());
    this.#recalls = new LeaseRecalls(this.#table, parts.recalls);
    const waitingOf = (session: number) => this.#waiters.countOf(session);
    this.limits = new LeaseLimits(this.#table, this.#recalls, parts.bounds, waitingOf);
    this.split = new SplitFiles(this.#table, () => parts.lifetime.nowMs());
    parts.lifetime.repeat(parts.recallAgainMs, () => {
      this.#recalls.again();
      for (const slot of this.split.alone()) {
        if (!this.#waiters.has(this.#table.inode(slot))) this.#recalls.recall(slot, "exclusive");
      }
    });
  }

  // --- taking ---

  /**
   * Gives the session a lease of at least this mode, or `forData` a split one. The grant; a promise while others are in the way.
   * Errors: busy (it has far too many), sessionExpired; closed (the client has a new connection and asks there).
   */
  acquire(session: number, inode: number, mode: LeaseMode, held: number, forData = false): number | Promise<number> {
    const slot = this.#table.find(session, inode);
    if (slot !== none && this.#table.grant(slot) === held) {
      if (mode === "shared" && this.#table.mode(slot) !== "split") return held;
      // It would not ask if it had the exclusive one: it has gone down to shared, and says so in a moment.
      if (this.#table.isExclusive(slot)) this.#goDown(slot);
    } else if (slot === none) this.limits.check(session);
    const waiter = this.#waiters.find(session, inode);
    if (waiter?.promise !== undefined) {
      // Its client asks again, or for something else as well: it keeps its place. Two answers never bring the same grant.
      if (mode === "exclusive") waiter.mode = mode;
      if (!forData) waiter.forData = false;
      return waiter.promise.then(() => this.renew(session, inode) ?? 0);
    }
    if (waiter !== undefined) this.withdraw(waiter);
    const available = this.#waiters.has(inode) ? undefined : this.#available(session, inode, mode, forData);
    if (available !== undefined) return this.#grant(session, inode, available);
    if (forData && mode === "exclusive") this.split.wanted(session, inode);
    return this.#wait(session, inode, mode, forData);
  }

  /** A lease on a chunk of a split file, of a session that has the split lease: like `acquire`. */
  acquireChunk(session: number, key: number, mode: LeaseMode, held: number): number | Promise<number> {
    this.split.used(session, fileOfKey(key));
    return this.acquire(session, key, mode, held);
  }

  /** The session's lease, as it is, under another grant; undefined if it has none. */
  renew(session: number, inode: number): number | undefined {
    const slot = this.#table.find(session, inode);
    if (slot === none) return undefined;
    this.#replace(slot, this.#parts.grants.next(), this.#table.mode(slot));
    this.#serve(inode);
    return this.#table.grant(slot);
  }

  /** A number for leases on different inodes that go out in one answer. */
  nextGrant(): number {
    return this.#parts.grants.next();
  }

  /** A lease under this grant, or the exclusive one in place of the shared one, if it can be had at once. */
  takeNow(session: number, inode: number, mode: LeaseMode, grant: number): boolean {
    if (this.split.grantOf(session, inode) !== 0) return false;
    if (this.#waiters.has(inode) || !this.#fits(session, inode, mode) || this.has(session, inode, mode)) return false;
    const slot = this.#table.find(session, inode);
    if (slot !== none) this.#replace(slot, grant, mode);
    else if (this.limits.isFull(session)) return false;
    else this.#add(session, inode, grant, mode);
    return true;
  }

  /** Whether the session has such a lease on the inode, or waits for one. */
  isConcerned(session: number, inode: number, mode: LeaseMode): boolean {
    return this.has(session, inode, mode) || this.#waiters.find(session, inode) !== undefined;
  }

  /** Takes a place in the queue. Check `isConcerned` first. */
  enqueue(waiter: Waiter): void {
    this.#waiters.add(waiter);
    this.#serve(waiter.inode);
  }

  /** Gives the place up, if it is still there: `granted` is called with 0. */
  withdraw(waiter: Waiter): void {
    if (!this.#waiters.remove(waiter)) return;
    waiter.granted(0);
    this.#serve(waiter.inode);
  }

  /** The session creates this inode: nobody else can know of it. */
  cover(session: number, inode: number): void {
    if (this.#table.first(inode) === none) this.#add(session, inode, coverGrant, "exclusive");
  }

  // --- giving back ---

  /** The session has given the lease back, or down to shared. False if it doesn't have it with this grant. */
  release(session: number, inode: number, grant: number, keepShared = false): boolean {
    const slot = this.#table.find(session, inode);
    if (slot === none || this.#table.grant(slot) !== grant) return false;
    if (keepShared) this.#goDown(slot);
    else this.#removeAndServe(slot);
    return true;
  }

  /** The session has ended: all that it has and waits for. */
  drop(session: number): void {
    this.#refuseWaiters(session, new BrineError("sessionExpired", `session ${session} has ended`));
    this.#removeAll(session, () => true);
  }

  /**
   * The client has a new connection and says what it has; see 5. Requests that wait on the old one fail with `closed`.
   *
   * @param isKnown false if this leader has never heard of the session's leases before
   * @param isUnborn whether an inode isn't there: its creation may be on its way
   */
  restate(
    session: number,
    stated: Iterable<StatedLease>,
    { isKnown, isUnborn }: { isKnown: boolean; isUnborn: (inode: number) => boolean },
  ): void {
    this.#refuseWaiters(session, new BrineError("closed", "the client has a new connection"));
    for (const slot of this.#table.ofSession(session)) this.#table.mark(slot, true);
    for (const { inode, mode, grant } of stated) {
      const slot = this.#table.find(session, inode);
      if (slot !== none) {
        // The split lease comes from nothing, and goes as a whole.
        if ((mode === "split") !== (this.#table.mode(slot) === "split")) continue;
        const isStill = mode === "exclusive" && this.#table.isExclusive(slot);
        this.#replace(slot, grant, mode === "split" || isStill ? mode : "shared");
        this.#serve(inode);
      } else if (!isKnown) this.#believe(session, inode, grant, mode);
      else if (grant === coverGrant && isUnborn(inode)) this.cover(session, inode);
    }
    this.#removeAll(session, (slot) => this.#table.isMarked(slot));
  }

  // --- asking ---

  has(session: number, inode: number, mode: LeaseMode): boolean {
    const slot = this.#table.find(session, inode);
    return slot !== none && (this.#table.isExclusive(slot) || this.#table.mode(slot) === mode);
  }

  /** The mode of the session's lease if it has this grant. */
  modeOf(session: number, inode: number, grant: number): LeaseMode | undefined {
    const slot = this.#table.find(session, inode);
    return slot !== none && this.#table.grant(slot) === grant ? this.#table.mode(slot) : undefined;
  }

  /** Whether anyone has or waits for a lease on the inode. */
  isWanted(inode: number): boolean {
    return this.#table.first(inode) !== none || this.#waiters.has(inode);
  }

  /** Whether another client may be setting advisory locks on the inode by itself. */
  othersSetLocks(session: number, inode: number): boolean {
    for (let slot = this.#table.first(inode); slot !== none; slot = this.#table.next(slot)) {
      if (this.#table.session(slot) === session) continue;
      if (this.#table.isExclusive(slot) && !this.#table.hasLocksElsewhere(slot)) return true;
    }
    return false;
  }

  /** What the session is being told with its exclusive lease: whether it may set advisory locks by itself. */
  tellLocks(session: number, inode: number, areElsewhere: boolean): void {
    const slot = this.#table.find(session, inode);
    if (slot !== none) this.#table.setLocksElsewhere(slot, areElsewhere);
  }

  /** Who has the inode. */
  holders(inode: number): Holder[] {
    return this.#table.holders(inode);
  }

  /** Of all sessions. */
  get totalCount(): number {
    return this.#table.totalCount;
  }

  count(session: number): number {
    return this.#table.count(session);
  }

  // --- the rules ---

  /** Grants what can be granted, and recalls what is in the way of the head. */
  #serve(inode: number): void {
    for (;;) {
      const head = this.#waiters.of(inode)[0];
      if (head === undefined) return;
      const available = this.#available(head.session, inode, head.mode, head.forData);
      if (available === undefined) {
        this.#recalls.recallFor(head, this.#waiters.of(inode));
        return;
      }
      this.#waiters.remove(head);
      head.granted(this.#grant(head.session, inode, available));
    }
  }

  /** The mode in which the session can have the lease now; undefined if others are in the way. */
  #available(session: number, inode: number, mode: LeaseMode, forData: boolean): LeaseMode | undefined {
    const maySplitIt = forData && this.split.mayBeGiven(session, inode);
    if (maySplitIt && this.split.isOthers(session, inode)) return "split";
    if (!this.#fits(session, inode, mode)) return undefined;
    return maySplitIt && mode === "exclusive" && this.split.isContested(inode) ? "split" : mode;
  }

  /** Whether no other session's lease is in the way of this one. */
  #fits(session: number, inode: number, mode: LeaseMode): boolean {
    for (let slot = this.#table.first(inode); slot !== none; slot = this.#table.next(slot)) {
      if (this.#table.session(slot) === session) continue;
      if (mode === "exclusive" || this.#table.mode(slot) !== mode) return false;
    }
    return true;
  }

  /** What the session has on the inode is converted, but not weakened: it may be in use (3). */
  #grant(session: number, inode: number, mode: LeaseMode): number {
    const grant = this.#parts.grants.next();
    const slot = this.#table.find(session, inode);
    if (slot === none) this.#add(session, inode, grant, mode);
    else this.#replace(slot, grant, this.#table.isExclusive(slot) ? "exclusive" : mode);
    return grant;
  }

  #add(session: number, inode: number, grant: number, mode: LeaseMode): void {
    if (!this.#fits(session, inode, mode)) throw new Error(`inode ${inode}: a ${mode} lease that is in another's way`);
    this.#table.add(session, inode, grant, mode);
    if (isChunkKey(inode)) this.split.add(inode);
    this.limits.added(session);
  }

  /** It is not recalled any more. */
  #replace(slot: number, grant: number, mode: LeaseMode): void {
    this.#table.replace(slot, grant, mode);
    this.limits.added(this.#table.session(slot));
  }

  #remove(slot: number): void {
    const [session, inode, mode] = [this.#table.session(slot), this.#table.inode(slot), this.#table.mode(slot)];
    this.#table.remove(slot);
    if (isChunkKey(inode)) this.split.remove(inode);
    else if (mode === "split") this.#removeChunksOf(session, inode);
  }

  /** The split lease has gone, and what stood under it goes with it. */
  #removeChunksOf(session: number, inode: number): void {
    for (const key of this.split.chunksOf(inode)) {
      const slot = this.#table.find(session, key);
      if (slot !== none) this.#removeAndServe(slot);
    }
  }

  /** Those of a session for which `which` is true. One may take others with it. */
  #removeAll(session: number, which: (slot: number) => boolean): void {
    const inodes: number[] = [];
    for (const slot of this.#table.ofSession(session)) if (which(slot)) inodes.push(this.#table.inode(slot));
    for (const inode of inodes) {
      const slot = this.#table.find(session, inode);
      if (slot !== none && which(slot)) this.#removeAndServe(slot);
    }
  }

  #goDown(slot: number): void {
    this.#replace(slot, this.#table.grant(slot), "shared");
    this.#serve(this.#table.inode(slot));
  }

  #removeAndServe(slot: number): void {
    const inode = this.#table.inode(slot);
    this.#remove(slot);
    this.#serve(inode);
  }

  /** What a leader that knows nothing is told; of two claims the higher grant stands. */
  #believe(session: number, inode: number, grant: number, mode: LeaseMode): void {
    if (isChunkKey(inode) && this.split.grantOf(session, fileOfKey(inode)) === 0) return;
    const others: number[] = [];
    if (!this.#fits(session, inode, mode)) {
      for (let slot = this.#table.first(inode); slot !== none; slot = this.#table.next(slot)) others.push(slot);
      if (others.some((slot) => this.#table.grant(slot) > grant)) return;
    }
    for (const slot of others) this.#remove(slot);
    this.#add(session, inode, grant, mode);
  }

  // --- waiting ---

  #wait(session: number, inode: number, mode: LeaseMode, forData: boolean): Promise<number> {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const wait = this.#parts.waits.begin("lease", () => {
      const of = isChunkKey(inode) ? { inode: fileOfKey(inode), chunk: indexOfKey(inode) } : { inode };
      return { client: this.#parts.nameOf(session), session, ...of, mode, heldBy: this.#heldBy(inode, session) };
    });
    const granted = (grant: number): void => {
      wait.end();
      resolve(grant);
    };
    const refused = (reason: BrineError): void => {
      wait.end();
      reject(reason);
    };
    this.enqueue({ session, inode, mode, forData, promise, granted, refused });
    return promise;
  }

  #heldBy(inode: number, besides: number): string {
    const others = this.holders(inode).filter(({ session }) => session !== besides);
    return others.map(({ session }) => this.#parts.nameOf(session)).join(", ");
  }

  #refuseWaiters(session: number, reason: BrineError): void {
    for (const waiter of this.#waiters.ofSession(session)) {
      if (!this.#waiters.remove(waiter)) continue;
      waiter.refused(reason);
      this.#serve(waiter.inode);
    }
  }
}
