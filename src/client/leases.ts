/**
 * Leases on inodes' data: taken when needed, shared by all operations on the inode, kept until the leader recalls them,
 * they lie idle, or there are too many.
 *
 * Each inode is in one state, and asks the leader one thing at a time, so that a recall can never be taken for another
 * lease of the same inode:
 *
 *                    wanted                 granted                    leaving, and nobody uses it
 *         (no entry) ──────► acquiring ────────────► held ─────────────────────────────────► releasing
 *              ▲                 ▲                                                                │
 *              │ nobody waits    │ somebody waits                                        answered │
 *              └─────────────────┴────────────────────────────────────────────────────────────────┘
 *
 * 1. `use` gets the lease if it is held, strong enough and not leaving; else it waits, in order.
 * 2. A recall makes it *leaving*: nobody new gets it, those who use it finish, then it is given back. So does a request
 *    for the exclusive lease while the shared one is held: an upgrade is a giving back and a new taking. (Two clients
 *    that upgrade in place wait for each other; this way they can't.)
 * 3. A recall may overtake the answer that grants the lease. Then those who waited get it all the same, once, before it
 *    goes: each round trip serves somebody, and two clients that fight for a file both get on.
 * 4. A recall of what we don't hold (it crossed with our giving back) is answered with a giving back: harmless.
 */
import { FileError } from "../errors/file-error.ts";
import type { Timer } from "../platform/clock.ts";
import type { Platform } from "../platform/platform.ts";
import { acquireLease, type LeaseMode, readMappings, releaseLeases } from "../wire/catalogue/leader.ts";
import { ChunkMap } from "./chunk-map.ts";
import { InodeData } from "./inode-data.ts";
import { type ReadAheadBudget, ReadAheadCache } from "./read-ahead-cache.ts";
import type { Session } from "./session.ts";
import type { Operation } from "./waits.ts";

/** Leases kept: some 10 MB here and at the leader. Above it the longest unused go. */
const leasesMax = 10_000;
/** How many go at once when there are too many, so that they share a request. */
const evictedAtOnce = 256;
/** A file that nobody has touched for so long is not in use. */
const idleMs = 60_000;
const idleSweepMs = 10_000;
/** Recalling it from a client that has died takes as long as a session lives, and its fencing. */
const acquireTimeoutMs = 60_000;

interface Waiter {
  readonly mode: LeaseMode;
  readonly operation: Operation;
  readonly resolve: (data: InodeData) => void;
  readonly reject: (error: unknown) => void;
}

interface Entry {
  readonly inode: number;
  state: "acquiring" | "held" | "releasing";
  data: InodeData | undefined;
  uses: number;
  leaving: boolean;
  waiters: Waiter[];
  lastUsedMs: number;
}

export class Leases {
  readonly #platform: Platform;
  readonly #session: Session;
  readonly #budget: ReadAheadBudget;
  /** The longest unused first. */
  readonly #entries = new Map<number, Entry>();
  #toRelease: number[] = [];
  #releasing = false;
  #idleTimer: Timer | undefined;
  #onEmpty: (() => void)[] = [];

  constructor(platform: Platform, session: Session, budget: ReadAheadBudget) {
    this.#platform = platform;
    this.#session = session;
    this.#budget = budget;
    this.#armIdleTimer();
  }

  /** The inode's data under a lease of at least `mode`, until `done`. Errors: ENOENT, EIO (the session has ended). */
  async use(inode: number, mode: LeaseMode, operation: Operation): Promise<InodeData> {
    const data = this.#useNow(inode, mode) ?? (await this.#wait(inode, mode, operation));
    try {
      if (!this.#session.live) await this.#session.whenLive(operation);
      operation.check();
    } catch (error) {
      this.done(data);
      throw error;
    }
    return data;
  }

  /** The data if a lease is held, whatever its mode, until `done`. */
  useHeld(inode: number): InodeData | undefined {
    return this.#useNow(inode, "shared");
  }

  /** The use is over. */
  done(data: InodeData): void {
    const entry = this.#entries.get(data.inode);
    if (entry === undefined || entry.data !== data) {
      if (this.#session.ended) return;
      throw new Error(`inode ${data.inode}: a lease that is not held was given back`);
    }
    if (entry.uses === 0) throw new Error(`inode ${data.inode}: a lease was given back more often than used`);
    entry.uses -= 1;
    if (entry.uses === 0) this.#advance(entry);
  }

  /** The leader wants it back. */
  recall(inode: number): void {
    const entry = this.#entries.get(inode);
    if (entry === undefined) {
      // As an entry, so that nobody takes it anew before this giving back is answered.
      this.#entries.set(inode, { ...this.#newEntry(inode), state: "releasing" });
      this.#queueRelease(inode);
      return;
    }
    entry.leaving = true;
    if (entry.state === "held") this.#advance(entry);
  }

  /** Gives the lease back soon, if there is one: the inode won't be needed any more, or the lease is doubtful. */
  giveBack(inode: number): void {
    const entry = this.#entries.get(inode);
    if (entry?.state !== "held") return;
    entry.leaving = true;
    this.#advance(entry);
  }

  /** What the leader is to know after a reconnect. */
  holdings(): { inode: number; mode: LeaseMode; grant: number }[] {
    const held = [];
    for (const { inode, data } of this.#entries.values()) {
      if (data !== undefined) held.push({ inode, mode: data.mode, grant: data.grant });
    }
    return held;
  }

  /** Gives everything back; resolves when it is. New uses are not expected any more. */
  async giveBackAll(): Promise<void> {
    this.#idleTimer?.cancel();
    for (const entry of [...this.#entries.values()]) {
      entry.leaving = true;
      this.#advance(entry);
    }
    if (this.#entries.size > 0) await new Promise<void>((resolve) => this.#onEmpty.push(resolve));
  }

  /** The session has ended: nothing is held any more, and who waits gets EIO. */
  lost(reason: string): void {
    this.#idleTimer?.cancel();
    const entries = [...this.#entries.values()];
    this.#entries.clear();
    for (const entry of entries) {
      entry.data?.readAhead.clear();
      for (const waiter of entry.waiters) waiter.reject(new FileError("EIO", `the session ended: ${reason}`));
    }
    this.#checkEmpty();
  }

  get count(): number {
    return this.#entries.size;
  }

  // --- the states ---

  #useNow(inode: number, mode: LeaseMode): InodeData | undefined {
    const entry = this.#entries.get(inode);
    if (entry?.state !== "held" || entry.leaving || entry.waiters.length > 0) return undefined;
    if (!satisfies(entry.data!.mode, mode)) return undefined;
    return this.#grant(entry);
  }

  #grant(entry: Entry): InodeData {
    entry.uses += 1;
    entry.lastUsedMs = this.#platform.clock.nowMs();
    this.#entries.delete(entry.inode);
    this.#entries.set(entry.inode, entry);
    return entry.data!;
  }

  #wait(inode: number, mode: LeaseMode, operation: Operation): Promise<InodeData> {
    operation.waitsFor = `lease (${mode}) on inode ${inode}`;
    return new Promise((resolve, reject) => {
      if (this.#session.ended) throw new FileError("EIO", "the session has ended");
      let entry = this.#entries.get(inode);
      const isNew = entry === undefined;
      if (entry === undefined) {
        entry = this.#newEntry(inode);
        this.#entries.set(inode, entry);
      }
      entry.waiters.push({ mode, operation, resolve, reject });
      if (isNew) {
        this.#acquire(entry);
        this.#evict();
      } else this.#advance(entry);
    });
  }

  #newEntry(inode: number): Entry {
    const lastUsedMs = this.#platform.clock.nowMs();
    return { inode, state: "acquiring", data: undefined, uses: 0, leaving: false, waiters: [], lastUsedMs };
  }

  /** Moves an entry on, as far as it goes without an answer. */
  #advance(entry: Entry): void {
    if (entry.state !== "held") return;
    const mode = entry.data!.mode;
    if (!entry.leaving) {
      while (entry.waiters.length > 0 && satisfies(mode, entry.waiters[0]!.mode)) this.#serve(entry);
      if (entry.waiters.length > 0) entry.leaving = true;
    }
    if (!entry.leaving || entry.uses > 0) return;
    entry.state = "releasing";
    entry.data!.readAhead.clear();
    this.#queueRelease(entry.inode);
  }

  #serve(entry: Entry): void {
    const waiter = entry.waiters.shift()!;
    if (!waiter.operation.cancelled) waiter.resolve(this.#grant(entry));
    else waiter.reject(new FileError("EINTR"));
  }

  #acquire(entry: Entry): void {
    entry.state = "acquiring";
    entry.data = undefined;
    entry.leaving = false;
    // The strongest that anybody waits for, so that it need not be given back for the next in line.
    const mode = entry.waiters.some((waiter) => waiter.mode === "exclusive") ? "exclusive" : "shared";
    const session = this.#session.id;
    const request = { session, inode: entry.inode, mode };
    this.#session.request(acquireLease, request, undefined, { timeoutMs: acquireTimeoutMs }).then(
      ({ grant, attributes, mappings, mappedBelow }) => {
        if (this.#entries.get(entry.inode) !== entry) return;
        const { inode } = entry;
        const fetch = (from: number) => this.#session.request(readMappings, { session, inode, from });
        const map = new ChunkMap(mappings, mappedBelow, fetch);
        const readAhead = new ReadAheadCache(this.#budget);
        entry.data = new InodeData({ inode, mode, grant, size: attributes.size, map, readAhead });
        this.#granted(entry);
      },
      (error) => {
        if (this.#entries.get(entry.inode) !== entry) return;
        this.#remove(entry);
        for (const waiter of entry.waiters) waiter.reject(error);
      },
    );
  }

  #granted(entry: Entry): void {
    entry.state = "held";
    // Even if it was recalled already: see 3.
    while (entry.waiters.length > 0 && satisfies(entry.data!.mode, entry.waiters[0]!.mode)) this.#serve(entry);
    this.#advance(entry);
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry.inode);
    this.#checkEmpty();
  }

  #checkEmpty(): void {
    if (this.#entries.size > 0) return;
    const waiting = this.#onEmpty;
    this.#onEmpty = [];
    for (const resolve of waiting) resolve();
  }

  // --- giving back ---

  /** One request at a time; what comes meanwhile shares the next. */
  #queueRelease(inode: number): void {
    this.#toRelease.push(inode);
    if (!this.#releasing) void this.#release();
  }

  async #release(): Promise<void> {
    this.#releasing = true;
    while (this.#toRelease.length > 0 && !this.#session.ended) {
      const inodes = this.#toRelease.splice(0, 65_536);
      try {
        await this.#session.request(releaseLeases, { session: this.#session.id, inodes }, undefined, { urgent: true });
      } catch {
        // Only the end of the session gets here, and `lost` has seen to the entries.
        break;
      }
      for (const inode of inodes) this.#released(inode);
    }
    this.#releasing = false;
  }

  #released(inode: number): void {
    const entry = this.#entries.get(inode);
    if (entry?.state !== "releasing") return;
    entry.waiters = entry.waiters.filter((waiter) => {
      if (waiter.operation.cancelled) waiter.reject(new FileError("EINTR"));
      return !waiter.operation.cancelled;
    });
    if (entry.waiters.length > 0) this.#acquire(entry);
    else this.#remove(entry);
  }

  #evict(): void {
    if (this.#entries.size <= leasesMax) return;
    let wanted = evictedAtOnce;
    for (const entry of this.#entries.values()) {
      if (wanted === 0) break;
      if (entry.state !== "held" || entry.uses > 0 || entry.leaving) continue;
      entry.leaving = true;
      this.#advance(entry);
      wanted -= 1;
    }
  }

  #armIdleTimer(): void {
    this.#idleTimer = this.#platform.clock.startTimer(idleSweepMs, () => {
      const idleSinceMs = this.#platform.clock.nowMs() - idleMs;
      for (const entry of this.#entries.values()) {
        if (entry.lastUsedMs > idleSinceMs) break;
        if (entry.state !== "held" || entry.uses > 0) continue;
        entry.leaving = true;
        this.#advance(entry);
      }
      this.#armIdleTimer();
    });
  }
}

function satisfies(held: LeaseMode, wanted: LeaseMode): boolean {
  return held === "exclusive" || wanted === "shared";
}
