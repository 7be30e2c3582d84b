/**
 * The journal: every change that this client has made under its leases and answered already, in order, on its way to the
 * leader. What a client's death leaves behind is a prefix of it (P3).
 *
 * 1. `append` takes a transaction that was just executed on the cached records. Positions count up from 1.
 * 2. Entries are sent in order, in batches (transactions.ts). An entry waits until its data (of a write that maps chunks or
 *    moves the end) and all data before it are on all members' disks, and has its own flushed meanwhile. One that only
 *    overwrites exposes nothing, and is sent beside data; it is committed when both are there. Bytes that were mapped before
 *    are overwritten on the stores only when the entries on which they depend are committed (content/dirty-blocks.ts): so
 *    what is first in line is flushed again whenever some are.
 * 3. Nothing is sent at once: a write that continues the last entry, or another chmod of the same file, joins it. An entry
 *    is *released* when somebody waits for it, it is old, or there are many. Writes that add to a file and writes that
 *    overwrite it don't join: the bytes of the later would reach the stores before the transaction of the earlier.
 * 4. Who waits for an entry with data waits for those before it as well: they are kept back until the data is there, and go
 *    in one request, which the leader makes durable at once. Unless somebody waits for less, the data waits for them, or
 *    it takes long: the leader then knows at least the names, for those who ask what is waited for.
 * 5. A result that comes back is a success; it was predicted. Anything else is a defect of leases: it is logged, and told to
 *    fsync and close, and what is cached of it is forgotten.
 */
import { errnoName } from "../errors/errno.ts";
import type { FileError } from "../errors/file-error.ts";
import type { Operation as NamespaceOperation, Result } from "../namespace/operation.ts";
import type { Clock, Timer } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import { type Entry, type EntryData, joinOperations, mayJoin, movesOrGuards, onlyOverwrites } from "./journal-entry.ts";
import type { Node } from "./node.ts";
import type { Outgoing, OutgoingSource } from "./transactions.ts";
import type { Operation } from "./waits.ts";
import { type WriteBackLimits, writeBackLimits } from "./write-back-limits.ts";

type JournalLimits = Pick<WriteBackLimits, "dirtyOperationsMax" | "dirtyAgeMs">;

/** So many together are a batch that is worth sending. */
const releasedAtOnce = 128;
/** Entries behind the first unsent one whose data is flushed ahead. */
const flushedAheadMax = 1024;

/** Entries that are kept back for the next one's data. */
const keptBackMax = 16;
const keptBackMs = 20;

/** Committed entries that are kept at most. */
const droppedAtOnce = 4096;

function isDurable(entry: Entry | undefined): boolean {
  return entry?.data === undefined || entry.data.content.isDurable(entry.data.mark);
}

interface Waiter {
  readonly position: number;
  readonly resolve: () => void;
  readonly reject: (failure: FileError) => void;
}

export class Journal implements OutgoingSource {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #limits: JournalLimits;
  /** The entry at position p is at `p − #firstPosition`. Those that are committed go now and then, many at once. */
  #entries: Entry[] = [];
  #firstPosition = 1;
  #position = 0;
  #sentPosition = 0;
  /** Of those that were sent, the data up to here is on the stores. Behind it are only overwrites. */
  #durablePosition = 0;
  #answeredPosition = 0;
  #committedPosition = 0;
  #releasedPosition = 0;
  #directoryPosition = 0;
  #flushedAhead = 0;
  /** What could go is kept back: see 4. */
  #isKeptBack = false;
  #keepTimer: Timer | undefined;
  /** Up to here nothing is kept back any more. */
  #keptLongEnough = 0;
  #waiters: Waiter[] = [];
  #roomWaiters: Waiter[] = [];
  #timer: Timer | undefined;
  #failure: FileError | undefined;
  /** Sends what is ready. */
  onReady: () => void = () => {};
  /** What is cached of these nodes is not what the leader has. */
  onMismatch: (nodes: readonly Node[]) => void = () => {};

  constructor(clock: Clock, log: Logger, limits: JournalLimits = writeBackLimits) {
    this.#clock = clock;
    this.#log = log;
    this.#limits = limits;
  }

  /** Of the last entry; 0 before the first. */
  get position(): number {
    return this.#position;
  }

  /** All entries up to this one are in effect at the leader, and durable. */
  get committedPosition(): number {
    return this.#committedPosition;
  }

  /** The last entry that moves a directory, or changes who may use it: bytes that are written below it later depend on that. */
  get directoryPosition(): number {
    return this.#directoryPosition;
  }

  /** Entries that are not committed. */
  get length(): number {
    return this.#position - this.#committedPosition;
  }

  get hasRoom(): boolean {
    return this.length < this.#limits.dirtyOperationsMax;
  }

  /** Undefined if there is room for another entry; else resolves when there is. */
  room(operation: Operation): Promise<void> | undefined {
    if (this.hasRoom) return undefined;
    operation.waitsFor = "the leader, to commit earlier changes";
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) throw this.#failure;
      this.#roomWaiters.push({ position: 0, resolve, reject });
      this.#hurry(this.#position);
    });
  }

  /**
   * Takes a transaction that was executed under leases on these nodes. Returns its position.
   *
   * @param timeNs at which it was executed
   * @param nodes changed by it; first the one that it is about
   */
  append(operation: NamespaceOperation, timeNs: bigint, nodes: readonly Node[], data?: EntryData): number {
    if (!this.#join(operation, nodes, data)) {
      const entry = this.#add({ operation, timeNs, nodes, data, answered: (result) => this.#committed(entry, result) });
    }
    this.#changed(operation, nodes, data);
    return this.#position;
  }

  /** Takes an operation that the leader has to decide; resolves with its result. */
  decide(operation: NamespaceOperation, nodes: readonly Node[]): Promise<Result> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) throw this.#failure;
      const answered = (result: Result) => {
        this.#answeredUpTo(entry.position);
        resolve(result);
      };
      const entry = this.#add({ operation, timeNs: undefined, nodes, data: undefined, answered });
      this.#changed(operation, nodes, undefined);
      this.#addWaiter({ position: entry.position, resolve: () => {}, reject });
      this.#release(entry.position);
    });
  }

  /** Resolves when everything up to `position` is committed. Errors: EIO (the session has ended). */
  async committed(position: number, operation?: Operation): Promise<void> {
    this.#advance();
    if (position <= this.#committedPosition) return;
    if (this.#failure !== undefined) throw this.#failure;
    if (operation !== undefined) operation.waitsFor = "earlier changes to be committed";
    await new Promise<void>((resolve, reject) => {
      this.#addWaiter({ position, resolve, reject });
      this.#hurry(position);
    });
  }

  /** Calls back when everything up to `position` is committed, without hurrying it; never if the session ends before. */
  whenCommitted(position: number, callback: () => void): void {
    if (position <= this.#committedPosition) callback();
    else this.#addWaiter({ position, resolve: callback, reject: () => {} });
  }

  /** What was answered and is not committed, in order. */
  uncommitted(): readonly { readonly kind: string; readonly nodes: readonly Node[] }[] {
    return this.#entries
      .slice(this.#committedPosition + 1 - this.#firstPosition)
      .map(({ operation, nodes }) => ({ kind: operation.kind, nodes }));
  }

  /** Data of some entry has become durable. */
  dataDurable(): void {
    this.#advance();
    if (this.#sentPosition < this.#position) this.onReady();
  }

  dataWaits(): void {
    if (this.#isKeptBack) this.onReady();
  }

  // --- for transactions.ts ---

  next(): Outgoing | undefined {
    const entry = this.#at(this.#sentPosition + 1);
    const isReleased = entry !== undefined && entry.position <= this.#releasedPosition;
    this.#measure();
    this.#flushFirst(isReleased);
    if (!isReleased) return undefined;
    if (!onlyOverwrites(entry.operation, entry.data)) {
      if (this.#durablePosition < this.#sentPosition || !isDurable(entry)) return undefined;
      if (entry.data === undefined && this.#keepsBack(entry.position)) return undefined;
    }
    this.#sentPosition = entry.position;
    return entry;
  }

  lost(failure: FileError): void {
    this.#failure = failure;
    this.#timer?.cancel();
    this.#keepTimer?.cancel();
    const waiters = [...this.#waiters, ...this.#roomWaiters];
    this.#waiters = [];
    this.#roomWaiters = [];
    for (const waiter of waiters) waiter.reject(failure);
  }

  // --- entries ---

  #add(fields: Omit<Entry, "position" | "refused">): Entry {
    this.#position += 1;
    const entry: Entry = { ...fields, position: this.#position, refused: undefined };
    this.#entries.push(entry);
    if (entry.position - this.#releasedPosition >= releasedAtOnce) this.#release(entry.position);
    else this.#arm();
    return entry;
  }

  #changed(operation: NamespaceOperation, nodes: readonly Node[], data: EntryData | undefined): void {
    const isOverwrite = onlyOverwrites(operation, data);
    for (const node of nodes) node.changed(this.#position, isOverwrite);
    if (movesOrGuards(operation, nodes)) this.#directoryPosition = this.#position;
  }

  /** Makes one transaction of the last entry and this one, if the outcome is the same for everybody. */
  #join(operation: NamespaceOperation, nodes: readonly Node[], data: EntryData | undefined): boolean {
    const last = this.#at(this.#position);
    if (last === undefined || last.position <= this.#releasedPosition || last.timeNs === undefined) return false;
    // Another chunk of the same file.
    if (last.nodes[0] !== nodes[0]) return false;
    if (data !== undefined && last.data !== undefined && !mayJoin(last.data, data)) return false;
    const joined = joinOperations(last.operation, operation);
    if (joined === undefined) return false;
    last.operation = joined;
    // The later change has set ctime: executed at that very time, both in one leave the same times.
    last.timeNs = nodes[0]!.record.attributes.ctimeNs;
    last.data = data ?? last.data;
    return true;
  }

  #committed(entry: Entry, result: Result): void {
    if (result.kind === "failed") {
      this.#log.error("the leader's result differs from what was answered: the change is lost", {
        operation: entry.operation.kind,
        inodes: entry.nodes.map((node) => node.inode).join(","),
        leader: errnoName(result.errno),
      });
      for (const node of entry.nodes) node.errorCount += 1;
    }
    this.#answeredUpTo(entry.position);
    if (result.kind === "failed") this.onMismatch(entry.nodes);
  }

  #at(position: number): Entry | undefined {
    return position > this.#position ? undefined : this.#entries[position - this.#firstPosition];
  }

  #answeredUpTo(position: number): void {
    this.#answeredPosition = position;
    this.#advance();
  }

  /** Committed is what the leader has answered and whose data is on the stores. Not while a batch is gathered: it may send. */
  #advance(): void {
    this.#measure();
    const position = Math.min(this.#answeredPosition, this.#durablePosition);
    if (position > this.#committedPosition) this.#committedUpTo(position);
  }

  #measure(): void {
    while (this.#durablePosition < this.#sentPosition && isDurable(this.#at(this.#durablePosition + 1))) {
      this.#durablePosition += 1;
    }
  }

  #committedUpTo(position: number): void {
    this.#committedPosition = position;
    if (position - this.#firstPosition >= droppedAtOnce) {
      this.#entries = this.#entries.slice(position + 1 - this.#firstPosition);
      this.#firstPosition = position + 1;
    }
    // What waited for this one may overwrite its data now.
    if (this.#at(this.#durablePosition + 1)?.data !== undefined) this.onReady();
    while (this.#roomWaiters.length > 0 && this.length < this.#limits.dirtyOperationsMax)
      this.#roomWaiters.shift()!.resolve();
    while (this.#waiters.length > 0 && this.#waiters[0]!.position <= position) this.#waiters.shift()!.resolve();
  }

  /** In the order of positions; nearly always at the end. */
  #addWaiter(waiter: Waiter): void {
    let at = this.#waiters.length;
    while (at > 0 && this.#waiters[at - 1]!.position > waiter.position) at -= 1;
    this.#waiters.splice(at, 0, waiter);
  }

  // --- when to send ---

  /** Somebody waits. */
  #hurry(position: number): void {
    if (this.#isKeptBack) this.onReady();
    this.#release(position);
  }

  #keepsBack(position: number): boolean {
    this.#isKeptBack = position > this.#keptLongEnough && this.#isNextOnItsWay(position);
    if (!this.#isKeptBack) {
      this.#keepTimer?.cancel();
      this.#keepTimer = undefined;
    } else {
      this.#keepTimer ??= this.#clock.startTimer(keptBackMs, () => {
        this.#keepTimer = undefined;
        this.#keptLongEnough = this.#position;
        if (this.#isKeptBack) this.onReady();
      });
    }
    return this.#isKeptBack;
  }

  /** The first data that is not durable goes out as far as it may. With nothing to wait for (a hole) it is durable at once. */
  #flushFirst(isNextReleased: boolean): void {
    const entry = this.#at(this.#durablePosition + 1);
    if (entry?.data === undefined || isDurable(entry)) return;
    if (this.#durablePosition === this.#sentPosition && !isNextReleased) return;
    this.#flushAhead();
    entry.data.content.flush(entry.data.mark);
    this.#measure();
  }

  /** The data of the next entry that has to wait for some is on its way, and nobody waits for less. */
  #isNextOnItsWay(position: number): boolean {
    if (this.#roomWaiters.length > 0) return false;
    const wanted = this.#waiters[0]?.position ?? 0;
    const end = Math.min(wanted, this.#releasedPosition, position + keptBackMax);
    for (let at = position + 1; at <= end; at++) {
      const entry = this.#at(at)!;
      if (entry.data === undefined || isDurable(entry)) continue;
      if (onlyOverwrites(entry.operation, entry.data)) return false;
      this.#flushAhead();
      return !isDurable(entry) && entry.data.content.isUnderWay;
    }
    return false;
  }

  #release(position: number): void {
    if (position <= this.#releasedPosition) return;
    this.#releasedPosition = position;
    this.onReady();
  }

  #arm(): void {
    if (this.#timer !== undefined || this.#failure !== undefined) return;
    this.#timer = this.#clock.startTimer(this.#limits.dirtyAgeMs, () => {
      this.#timer = undefined;
      this.#release(this.#position);
    });
  }

  #flushAhead(): void {
    const end = Math.min(this.#releasedPosition, this.#sentPosition + flushedAheadMax);
    for (let position = Math.max(this.#flushedAhead, this.#sentPosition) + 1; position <= end; position++) {
      this.#flushedAhead = position;
      const { data } = this.#at(position)!;
      data?.content.flush(data.mark);
    }
  }
}
