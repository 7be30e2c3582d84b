/**
 * Leases on inodes: taken when needed, shared by all operations of this mount, kept until the leader recalls them, they lie
 * idle, or there are too many.
 *
 * The states of a node are drawn in node.ts. The rules:
 *
 * 1. `use` pins a node whose lease is held, strong enough and not leaving; else it waits, in order.
 * 2. A recall makes the lease *leaving*: nobody new gets it, those who use it finish, and giving-back.ts sees to the rest.
 *    What the others want decides whether it goes entirely or down to shared.
 * 3. A client with the shared lease that wants the exclusive one asks for it and keeps what it has meanwhile, unless that is
 *    recalled too. So two that upgrade at once get it one after the other.
 * 4. A recall may overtake the answer that grants the lease. Then those who waited get it all the same, once, before it
 *    goes: each round trip serves somebody, and two clients that fight for an inode both get on.
 * 5. A grant number names the lease in every message, so a recall can't be taken for one of another lease of that inode.
 *    One of a grant that isn't held is remembered: an answer may be on its way. At the second time it is lost: given back.
 * 6. An operation on several inodes waits for the next one with only those pinned that have lower numbers. So no two
 *    clients can wait for each other (access.ts).
 * 7. Who wants only data can do with the split lease, and then takes those on chunks (split-data.ts). It goes before another
 *    is asked for, and what stands under it before that.
 * 8. Exclusive leases that will be wanted next are wished for (leases-ahead.ts). Who wants one meanwhile waits for that answer.
 */
import { FileError } from "../errors/file-error.ts";
import { fileOfKey, isChunkKey, keyText } from "../namespace/chunk-leases.ts";
import type { InodeRecord } from "../namespace/model.ts";
import type { Platform } from "../platform/platform.ts";
import { acquireLease, type LeasedInode, type LeaseMode } from "../wire/catalogue/leader.ts";
import { ChunkNodes } from "./chunk-nodes.ts";
import { EarlyRecalls } from "./early-recalls.ts";
import { LeaseBatches } from "./lease-batches.ts";
import { isSplitUnder, leaseTimeoutMs, type Queue, satisfies, serves, servesNow, type Waiter } from "./lease-rules.ts";
import { LeasesAhead } from "./leases-ahead.ts";
import { Node } from "./node.ts";
import type { Session } from "./session.ts";
import type { Soon } from "./soon.ts";
import { type UnusedLeaseLimits, UnusedLeases } from "./unused-leases.ts";
import type { Operation } from "./waits.ts";

export interface LeasesParts {
  readonly platform: Platform;
  readonly session: Session;
  readonly limits: UnusedLeaseLimits;
  /** The node is leaving and nobody uses it. Called once for each leaving; answers with `given` or `goOn`. */
  readonly giveBack: (node: Node) => void;
  /** Only the leader knows of this lease. */
  readonly giveBackUnknown: (inode: number, grant: number) => void;
  /** A lease was granted on an inode of which nothing was known. */
  readonly fresh: (node: Node, leased: LeasedInode) => void;
}

export class Leases {
  readonly #parts: LeasesParts;
  readonly #session: Session;
  /** All with a lease or with open handles. */
  readonly #nodes = new Map<number, Node>();
  readonly #queues = new Map<number, Queue>();
  /** Under the split leases of these files. */
  readonly #chunks = new ChunkNodes();
  readonly #earlyRecalls: EarlyRecalls;
  readonly #ahead: LeasesAhead;
  readonly batches: LeaseBatches;
  readonly unused: UnusedLeases;

  constructor(parts: LeasesParts) {
    this.#parts = parts;
    this.#session = parts.session;
    this.#earlyRecalls = new EarlyRecalls(parts.platform.clock, (inode, grant) => this.#lost(inode, grant));
    const leave = (node: Node) => this.#leave(node, "exclusive");
    this.unused = new UnusedLeases(parts.platform.clock, this.#nodes, leave, parts.limits);
    this.batches = new LeaseBatches({
      session: parts.session,
      nodes: this.#nodes,
      queues: this.#queues,
      unused: this.unused,
      learn: (leased) => this.learn(leased),
      cameAhead: (leased, queue) => this.#granted(leased, queue, true),
      advance: (inode) => this.advance(inode),
    });
    this.#ahead = new LeasesAhead(this.#nodes, (inodes) => this.batches.wish(inodes));
  }

  /** Whatever is known of the inode, under a lease or not. */
  get(inode: number): Node | undefined {
    return this.#nodes.get(inode);
  }

  nodes(): Iterable<Node> {
    return this.#nodes.values();
  }

  get count(): number {
    return this.#nodes.size;
  }

  /** The node if its lease can be relied on right now, without pinning it. */
  held(inode: number, mode: LeaseMode): Node | undefined {
    const node = this.#nodes.get(inode);
    if (node?.mode === undefined || node.leaving !== undefined || node.isBlocked) return undefined;
    if (!satisfies(node.mode, mode)) return undefined;
    if (!this.#session.live) return undefined;
    node.isRecent = true;
    if (node.isAhead && mode === "exclusive") this.#usedAhead(node);
    return node;
  }

  /** The node under a lease of at least `mode`, pinned until `done`. Errors: ENOENT, EIO (the session has ended). */
  use(
    inode: number,
    mode: LeaseMode,
    operation: Operation,
    forData?: "read" | "write",
    takesSplit = false,
  ): Soon<Node> {
    const node = this.held(inode, mode) ?? (takesSplit ? this.held(inode, "split") : undefined);
    if (node === undefined) return this.#useLater(inode, operation, { mode, forData, takesSplit });
    node.uses += 1;
    return node;
  }

  async #useLater(inode: number, operation: Operation, wanted: Omit<Waiter, "resolve" | "reject">): Promise<Node> {
    const waited = await this.#wait(inode, operation, wanted);
    try {
      if (!this.#session.live) await this.#session.whenLive(operation);
      operation.check();
    } catch (error) {
      this.done(waited);
      throw error;
    }
    return waited;
  }

  /** Whoever holds the node's lease already uses it, until `done`. */
  pin(node: Node): void {
    node.uses += 1;
  }

  done(node: Node): void {
    if (node.uses === 0) throw new Error(`inode ${node.inode}: a lease was let go more often than used`);
    node.uses -= 1;
    if (node.uses === 0 && node.leaving !== undefined) this.#parts.giveBack(node);
  }

  /**
   * Takes over a lease that came with an answer. Undefined if it was given back already.
   *
   * @param pins whoever asked: gets the node pinned, even if it was recalled already
   */
  learn(leased: LeasedInode, pins?: Node[]): Node | undefined {
    const { grant, mode, record } = leased;
    const { inode } = record.attributes;
    if (this.#earlyRecalls.isGivenBack(inode, grant)) return undefined;
    const file = isChunkKey(inode) ? this.#nodes.get(fileOfKey(inode)) : undefined;
    // The split lease under which it stood has gone, and it with it.
    if (isChunkKey(inode) && (file === undefined || !isSplitUnder(file, leased.within))) return undefined;
    let node = this.#nodes.get(inode);
    if (node === undefined) {
      node = new Node(inode, record, file);
      this.#nodes.set(inode, node);
      if (file !== undefined) this.#chunks.add(file, node);
    }
    const isFresh = node.mode === undefined;
    if (node.mode === "shared" && mode === "exclusive") node.takeAccessTime(record);
    node.mode = mode;
    node.grant = grant;
    node.versionGrant = Math.max(node.versionGrant, grant);
    node.hasLocksElsewhere = leased.foreignLocks;
    node.isRecent = true;
    if (isFresh) {
      node.record = record;
      this.#parts.fresh(node, leased);
    }
    if (pins !== undefined) {
      node.uses += 1;
      pins.push(node);
    }
    const recalled = this.#earlyRecalls.take(inode, grant);
    if (recalled !== undefined) this.#leave(node, recalled);
    this.unused.added();
    return node;
  }

  /** An inode that this client has made: its own from the start, under the session's cover. */
  cover(record: InodeRecord): Node {
    const node = new Node(record.attributes.inode, record);
    node.mode = "exclusive";
    node.grant = node.versionGrant = this.#session.coverGrant;
    node.isRecent = true;
    this.#nodes.set(node.inode, node);
    this.unused.added();
    return node;
  }

  /** The leader wants these back. */
  recall(recalls: readonly { inode: number; grant: number; wanted: LeaseMode }[]): void {
    for (const { inode, grant, wanted } of recalls) {
      const node = this.#nodes.get(inode);
      if (node?.mode !== undefined && node.grant === grant) {
        if (wanted === "exclusive" || node.mode === "exclusive") this.#leave(node, wanted);
      } else this.#earlyRecalls.add(inode, grant, wanted);
    }
  }

  /** Gives the lease back soon: the inode won't be needed any more, or the lease is doubtful. */
  letGo(node: Node): void {
    if (node.mode !== undefined) this.#leave(node, "exclusive");
  }

  /** What stands under a split lease, which is leaving. */
  chunksOf(file: Node): Node[] {
    return file.mode === "split" ? this.#chunks.of(file) : [];
  }

  /** Nobody relies on the node until its lease has gone and come again: see Node.isBlocked. The caller has it pinned. */
  block(node: Node): void {
    node.isBlocked = true;
  }

  /** For giving-back.ts: the lease is gone, or down to shared. */
  left(node: Node, keptShared: boolean): void {
    node.leaving = undefined;
    if (keptShared) node.mode = "shared";
    else {
      node.isBlocked = false;
      node.mode = undefined;
      node.grant = 0;
      if (node.handles === 0) this.#nodes.delete(node.inode);
      if (node.file !== undefined) this.#chunks.remove(node.file, node);
    }
    this.advance(node.inode);
  }

  /** Forgets a node without lease and handles. */
  forget(node: Node): void {
    if (node.mode === undefined && node.handles === 0) this.#nodes.delete(node.inode);
  }

  /** For giving-back.ts: those who wait to read or write data get it now, though the lease is leaving. */
  serveData(node: Node): void {
    const queue = this.#queues.get(node.inode);
    if (queue === undefined) return;
    // Reads that need more than the present lease wait on: the kernel's pages don't wait for them (fuse/mapped-pages.ts),
    // and memory that was read under a shared lease must not be written to.
    const served = queue.waiters.filter((one) => one.forData !== undefined && satisfies(node.mode, one.mode));
    queue.waiters = queue.waiters.filter((one) => !served.includes(one));
    for (const waiter of served) this.#serve(node, waiter);
  }

  /** The session has ended: nothing is held any more, and who waits gets EIO. */
  lost(failure: FileError): void {
    this.unused.stop();
    const queues = [...this.#queues.values()];
    this.#queues.clear();
    this.#earlyRecalls.clear();
    for (const node of this.#nodes.values()) {
      node.mode = undefined;
      node.leaving = undefined;
    }
    for (const queue of queues) for (const waiter of queue.waiters) waiter.reject(failure);
  }

  // --- waiting ---

  #wait(inode: number, operation: Operation, wanted: Omit<Waiter, "resolve" | "reject">): Promise<Node> {
    operation.waitsFor = `lease (${wanted.mode}) on ${keyText(inode)}`;
    return new Promise((resolve, reject) => {
      if (this.#session.ended) throw new FileError("EIO", "the session has ended");
      const waiter = { ...wanted, resolve, reject };
      const node = this.#nodes.get(inode);
      if (node?.servesData === true && servesNow(node, waiter)) {
        this.#serve(node, waiter);
        return;
      }
      let queue = this.#queues.get(inode);
      if (queue === undefined) {
        queue = { waiters: [], asking: false };
        this.#queues.set(inode, queue);
      }
      queue.waiters.push(waiter);
      operation.onCancel((failure) => this.#withdraw(inode, waiter, failure));
      this.advance(inode);
    });
  }

  /** The operation was cancelled: it waits no more. */
  #withdraw(inode: number, waiter: Waiter, failure: FileError): void {
    const queue = this.#queues.get(inode);
    const at = queue?.waiters.indexOf(waiter) ?? -1;
    if (queue === undefined || at < 0) return;
    queue.waiters.splice(at, 1);
    waiter.reject(failure);
    this.advance(inode);
  }

  /** Moves those who wait for an inode on, as far as it goes without an answer. */
  advance(inode: number): void {
    const queue = this.#queues.get(inode);
    if (queue === undefined) return;
    const node = this.#nodes.get(inode);
    if (node?.mode !== undefined && node.leaving === undefined && !node.isBlocked) {
      while (queue.waiters.length > 0 && serves(node, queue.waiters[0]!)) {
        this.#serve(node, queue.waiters.shift()!);
      }
    }
    if (queue.waiters.length === 0) {
      if (!queue.asking) this.#queues.delete(inode);
      return;
    }
    if (queue.asking || node?.isBlocked === true) return;
    // An exclusive lease that is leaving is given back first; what is left of it is then enough, or asked for.
    if (node?.leaving !== undefined) return;
    if (node?.mode === "split") this.#leave(node, "exclusive");
    else this.#ask(inode, queue);
  }

  /** For the first time since it came. */
  #usedAhead(node: Node): void {
    node.isAhead = false;
    this.#ahead.note(node);
  }

  #serve(node: Node, waiter: Waiter): void {
    node.uses += 1;
    node.isRecent = true;
    if (node.isAhead && waiter.mode === "exclusive") this.#usedAhead(node);
    waiter.resolve(node);
  }

  #ask(inode: number, queue: Queue): void {
    queue.asking = true;
    // The strongest that anybody waits for, so that it need not be asked for again for the next in line.
    const mode = queue.waiters.some((waiter) => waiter.mode === "exclusive") ? "exclusive" : "shared";
    const known = this.#nodes.get(inode);
    const held = known?.grant ?? 0;
    const forData = queue.waiters.every((waiter) => waiter.takesSplit);
    const request = { session: this.#session.id, inode, mode, held, forData } as const;
    this.#session.request(acquireLease, request, undefined, { timeoutMs: leaseTimeoutMs }).then(
      (leased) => {
        if (this.#queues.get(inode) !== queue) return;
        queue.asking = false;
        this.#granted(leased, queue);
      },
      (error) => {
        if (this.#queues.get(inode) !== queue) return;
        this.#queues.delete(inode);
        for (const waiter of queue.waiters) waiter.reject(error);
      },
    );
    if (mode === "exclusive" && known !== undefined && known.file === undefined) this.#ahead.note(known);
  }

  #granted(leased: LeasedInode, queue: Queue, isAhead = false): void {
    const node = this.learn(leased, []);
    if (node === undefined) {
      this.advance(leased.record.attributes.inode);
      return;
    }
    if (isAhead && node.leaving === undefined) node.isAhead = true;
    else if (isAhead) this.#ahead.unused(node);
    // Even if it was recalled already: see 4.
    const served = queue.waiters.filter((waiter) => !node.isBlocked && serves(node, waiter));
    queue.waiters = queue.waiters.filter((waiter) => !served.includes(waiter));
    for (const waiter of served) this.#serve(node, waiter);
    this.done(node);
    this.advance(node.inode);
  }

  // --- leaving ---

  #leave(node: Node, wanted: LeaseMode): void {
    const begins = node.leaving === undefined;
    if (begins) node.leavingSinceMs = this.#parts.platform.clock.nowMs();
    if (node.isAhead) this.#ahead.unused(node);
    node.isAhead = false;
    if (begins || wanted === "exclusive") node.leaving = wanted === "exclusive" ? "entirely" : "toShared";
    if (begins && node.uses === 0) this.#parts.giveBack(node);
  }

  /** Only the leader knows of this lease. What is held of an earlier grant has to go before it. */
  #lost(inode: number, grant: number): void {
    const node = this.#nodes.get(inode);
    if (node?.mode === undefined) {
      this.#earlyRecalls.givenBack(inode, grant);
      this.#parts.giveBackUnknown(inode, grant);
    } else if (node.grant < grant) this.#leave(node, "exclusive");
  }
}
