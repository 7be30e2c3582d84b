/**
 * Leases on inodes' data: who may read, who may write, who waits.
 *
 * The problem: an exclusive lease must never overlap with any other, although messages cross on the way: a client asks
 * for a lease while it is told to give one back, or an answer that grants one is lost with its connection.
 *
 * Each inode has holders (one exclusive, or any number of shared ones) and a queue of those who wait, served in order:
 *
 * 1. Only the head of the queue is looked at. It is granted when no holder is in its way; shared ones behind it then
 *    follow as far as they fit. So nobody starves.
 * 2. Holders in the way are recalled, again and again until they give back or their session ends.
 * 3. A client asks for a lease only while it has none on the inode, and after all its releases were answered (it gives
 *    a shared one back to get the exclusive one, so two that upgrade at once can't wait for each other). So what the
 *    table says of a session that asks is a grant whose answer was lost: it ends, and a new grant is made.
 * 4. A client that asks again because it has waited too long keeps its place.
 * 5. The table is the leader's memory only. After a reconnect a client states what it has. The same leader knows better
 *    what was given back meanwhile: it only keeps what both know. A new leader believes what it is told; where two
 *    claim what can't be, the higher grant was given later, when the other had already given back.
 *
 * After a restart nothing is granted before all clients have stated what they have (sessions.ts).
 */
import { BrineError } from "../errors/brine-error.ts";
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import type { Grants } from "./grants.ts";
import type { Lifetime } from "./lifetime.ts";
import type { OpenWait, Waits } from "./waits.ts";

export interface StatedLease {
  readonly inode: number;
  readonly mode: LeaseMode;
  readonly grant: number;
}

interface Holder {
  readonly session: number;
  readonly grant: number;
  /** Its client has been told to give it back. */
  recalled: boolean;
}

interface Waiter {
  readonly session: number;
  mode: LeaseMode;
  readonly promise: Promise<number>;
  readonly resolve: (grant: number) => void;
  readonly reject: (error: BrineError) => void;
  readonly wait: OpenWait;
}

interface Lease {
  mode: LeaseMode;
  holders: Holder[];
  /** Undefined while nobody waits, which is nearly always. */
  queue: Waiter[] | undefined;
}

export interface LeasesParts {
  readonly lifetime: Lifetime;
  readonly waits: Waits;
  readonly grants: Grants;
  /** Tells the session's client to give the lease back, if it is connected. */
  readonly recall: (session: number, inode: number) => void;
  readonly recallAgainMs: number;
}

/** The leases of one volume. */
export class Leases {
  readonly #parts: LeasesParts;
  readonly #leases = new Map<number, Lease>();
  readonly #bySession = new Map<number, Set<number>>();
  /** Inodes for which each session waits. */
  readonly #waitingBySession = new Map<number, Set<number>>();
  /** Inodes with recalled holders. */
  readonly #recalling = new Set<number>();

  constructor(parts: LeasesParts) {
    this.#parts = parts;
    parts.lifetime.repeat(parts.recallAgainMs, () => this.#recallAgain());
  }

  /**
   * Resolves with the grant when the session has the lease. Errors: sessionExpired; closed (the client has a new
   * connection and asks there).
   */
  acquire(session: number, inode: number, mode: LeaseMode): Promise<number> {
    const lease = this.#lease(inode);
    this.#remove(lease, session, inode);
    const waiter = lease.queue?.find((one) => one.session === session);
    if (waiter !== undefined) {
      if (mode === "exclusive") waiter.mode = mode;
      this.#serve(inode, lease);
      return waiter.promise;
    }
    if (lease.queue === undefined && fits(lease, mode))
      return Promise.resolve(this.#grant(lease, inode, session, mode));
    const added = this.#waiter(session, inode, mode);
    lease.queue ??= [];
    lease.queue.push(added);
    setOf(this.#waitingBySession, session).add(inode);
    this.#serve(inode, lease);
    return added.promise;
  }

  /** The session has given the leases back. Those it doesn't have are skipped. */
  release(session: number, inodes: readonly number[]): void {
    for (const inode of inodes) {
      const lease = this.#leases.get(inode);
      if (lease !== undefined && this.#remove(lease, session, inode)) this.#serve(inode, lease);
    }
  }

  /**
   * The client has a new connection and says what it has; see 5. Requests that wait on the old one fail with `closed`.
   *
   * @param isKnown false if this leader has never heard of the session's leases before
   */
  restate(session: number, stated: readonly StatedLease[], isKnown: boolean): void {
    const before = new Map<number, Holder>();
    for (const inode of this.#bySession.get(session) ?? []) {
      before.set(inode, this.#leases.get(inode)!.holders.find((holder) => holder.session === session)!);
    }
    const affected = this.#forget(session, new BrineError("closed", "the client has a new connection"));
    for (const { inode, mode, grant } of stated) {
      if (isKnown && before.get(inode)?.grant !== grant) continue;
      const lease = this.#lease(inode);
      if (this.#prevails(lease, mode, grant, inode)) this.#add(lease, inode, mode, { session, grant, recalled: false });
      affected.add(inode);
    }
    for (const inode of affected) this.#serveIfThere(inode);
  }

  /** The session has ended: all that it has and waits for. */
  drop(session: number): void {
    const affected = this.#forget(session, new BrineError("sessionExpired", `session ${session} has ended`));
    for (const inode of affected) this.#serveIfThere(inode);
  }

  has(session: number, inode: number, mode: LeaseMode): boolean {
    const lease = this.#leases.get(inode);
    if (lease === undefined || (mode === "exclusive" && lease.mode !== "exclusive")) return false;
    return lease.holders.some((holder) => holder.session === session);
  }

  count(session: number): number {
    return this.#bySession.get(session)?.size ?? 0;
  }

  /** Inodes to which the session may have unfinished writes. */
  exclusiveInodes(session: number): number[] {
    const inodes = [...(this.#bySession.get(session) ?? [])];
    return inodes.filter((inode) => this.#leases.get(inode)!.mode === "exclusive");
  }

  // --- the rules ---

  /** Grants what can be granted, and recalls what is in the way of the head. */
  #serve(inode: number, lease: Lease): void {
    while (lease.queue !== undefined) {
      const head = lease.queue[0]!;
      if (!fits(lease, head.mode)) {
        for (const holder of lease.holders) this.#recall(holder, inode);
        break;
      }
      this.#dequeue(lease, head, inode);
      head.resolve(this.#grant(lease, inode, head.session, head.mode));
    }
    if (lease.holders.length === 0 && lease.queue === undefined) this.#leases.delete(inode);
  }

  #serveIfThere(inode: number): void {
    const lease = this.#leases.get(inode);
    if (lease !== undefined) this.#serve(inode, lease);
  }

  #grant(lease: Lease, inode: number, session: number, mode: LeaseMode): number {
    const grant = this.#parts.grants.next();
    this.#add(lease, inode, mode, { session, grant, recalled: false });
    return grant;
  }

  #add(lease: Lease, inode: number, mode: LeaseMode, holder: Holder): void {
    if (!fits(lease, mode))
      throw new Error(`inode ${inode}: a ${mode} lease beside ${lease.holders.length} ${lease.mode} ones`);
    lease.mode = mode;
    lease.holders.push(holder);
    setOf(this.#bySession, holder.session).add(inode);
  }

  #remove(lease: Lease, session: number, inode: number): boolean {
    const at = lease.holders.findIndex((holder) => holder.session === session);
    if (at < 0) return false;
    lease.holders.splice(at, 1);
    if (!lease.holders.some((holder) => holder.recalled)) this.#recalling.delete(inode);
    deleteFrom(this.#bySession, session, inode);
    return true;
  }

  /** Whether a claim stands against those that were stated before; the ones that it outdoes are removed. */
  #prevails(lease: Lease, mode: LeaseMode, grant: number, inode: number): boolean {
    if (fits(lease, mode)) return true;
    if (lease.holders.some((holder) => holder.grant > grant)) return false;
    for (const holder of [...lease.holders]) this.#remove(lease, holder.session, inode);
    return true;
  }

  /** Removes the session as holder and waiter everywhere; returns the inodes where others may have their turn now. */
  #forget(session: number, reason: BrineError): Set<number> {
    const affected = new Set(this.#bySession.get(session));
    for (const inode of affected) this.#remove(this.#leases.get(inode)!, session, inode);
    for (const inode of [...(this.#waitingBySession.get(session) ?? [])]) {
      const lease = this.#leases.get(inode)!;
      const waiter = lease.queue!.find((one) => one.session === session)!;
      this.#dequeue(lease, waiter, inode);
      waiter.reject(reason);
      affected.add(inode);
    }
    return affected;
  }

  #dequeue(lease: Lease, waiter: Waiter, inode: number): void {
    lease.queue = lease.queue!.filter((one) => one !== waiter);
    if (lease.queue.length === 0) lease.queue = undefined;
    deleteFrom(this.#waitingBySession, waiter.session, inode);
    waiter.wait.end();
  }

  #recall(holder: Holder, inode: number): void {
    if (holder.recalled) return;
    holder.recalled = true;
    this.#recalling.add(inode);
    this.#parts.recall(holder.session, inode);
  }

  /** A recall is lost with its connection. */
  #recallAgain(): void {
    for (const inode of this.#recalling) {
      for (const { session, recalled } of this.#leases.get(inode)!.holders) {
        if (recalled) this.#parts.recall(session, inode);
      }
    }
  }

  #lease(inode: number): Lease {
    let lease = this.#leases.get(inode);
    if (lease === undefined) {
      lease = { mode: "shared", holders: [], queue: undefined };
      this.#leases.set(inode, lease);
    }
    return lease;
  }

  #waiter(session: number, inode: number, mode: LeaseMode): Waiter {
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    const wait = this.#parts.waits.begin("lease", () => {
      const held = this.#leases.get(inode)?.holders.map((holder) => holder.session) ?? [];
      return { session, inode, mode, heldBySessions: held.join(",") };
    });
    return { session, mode, promise, resolve, reject, wait };
  }
}

/** Whether one more lease of this mode can stand beside those that are held. */
function fits(lease: Lease, mode: LeaseMode): boolean {
  return lease.holders.length === 0 || (mode === "shared" && lease.mode === "shared");
}

function setOf(map: Map<number, Set<number>>, key: number): Set<number> {
  let set = map.get(key);
  if (set === undefined) {
    set = new Set();
    map.set(key, set);
  }
  return set;
}

function deleteFrom(map: Map<number, Set<number>>, key: number, value: number): void {
  const set = map.get(key);
  set?.delete(value);
  if (set?.size === 0) map.delete(key);
}
