/** Leases on many inodes, asked for in one request. */
import { acquireLeases, type LeasedInode, type LeaseMode } from "../wire/catalogue/leader.ts";
import { leaseTimeoutMs, type Queue, satisfies } from "./lease-rules.ts";
import type { Node } from "./node.ts";
import type { Session } from "./session.ts";
import type { UnusedLeases } from "./unused-leases.ts";
import type { Operation } from "./waits.ts";

export interface LeaseBatchesParts {
  readonly session: Session;
  readonly nodes: ReadonlyMap<number, Node>;
  /** Of those who wait for an inode. */
  readonly queues: Map<number, Queue>;
  readonly unused: UnusedLeases;
  readonly learn: (leased: LeasedInode) => void;
  /** A lease has come that was wished for, with those who wait for it by now. */
  readonly cameAhead: (leased: LeasedInode, queue: Queue) => void;
  /** Moves those on who wait for an inode. */
  readonly advance: (inode: number) => void;
}

export class LeaseBatches {
  readonly #parts: LeaseBatchesParts;

  constructor(parts: LeaseBatchesParts) {
    this.#parts = parts;
  }

  /**
   * Asks for the leases of many inodes at once, or for the exclusive ones in place of shared ones; those that can be had
   * soon are there afterwards. Resolves with whether all were.
   */
  async acquire(inodes: readonly number[], mode: LeaseMode, operation: Operation): Promise<boolean> {
    const { session, learn } = this.#parts;
    const wanted = inodes.filter((inode) => this.#isLacking(inode, mode));
    if (wanted.length === 0) return true;
    const body = { session: session.id, mode, inodes: wanted, recall: true };
    const answer = await session.request(acquireLeases, body, operation, { timeoutMs: leaseTimeoutMs });
    for (const leased of answer.leases) learn(leased);
    return answer.leases.length === wanted.length;
  }

  /**
   * Asks for exclusive leases as far as no other client has or wants any on the inodes; nothing if there is no room for more leases.
   * Whoever wants one here meanwhile waits for the answer. Resolves with how many were asked for, and how many came.
   */
  async wish(inodes: readonly number[]): Promise<{ asked: number; came: number }> {
    const { session, queues, unused, cameAhead, advance } = this.#parts;
    const wanted = inodes.filter((inode) => this.#isLacking(inode, "exclusive"));
    if (wanted.length === 0 || !unused.hasRoomFor(wanted.length)) return { asked: 0, came: 0 };
    const waiting = new Map(wanted.map((inode) => [inode, { waiters: [], asking: true } as Queue]));
    for (const [inode, queue] of waiting) queues.set(inode, queue);
    const body = { session: session.id, mode: "exclusive", inodes: wanted, recall: false } as const;
    const asking = session.request(acquireLeases, body, undefined, { timeoutMs: leaseTimeoutMs });
    // Who wants one of them by then asks by himself, and is told of the error.
    const { leases } = await asking.catch(() => ({ leases: [] }));
    const came = new Map(leases.map((leased) => [leased.record.attributes.inode, leased]));
    for (const [inode, queue] of waiting) {
      // The session has ended.
      if (queues.get(inode) !== queue) continue;
      queue.asking = false;
      const leased = came.get(inode);
      if (leased === undefined) advance(inode);
      else cameAhead(leased, queue);
    }
    return { asked: wanted.length, came: leases.length };
  }

  #isLacking(inode: number, mode: LeaseMode): boolean {
    const { nodes, queues } = this.#parts;
    if (queues.has(inode)) return false;
    const node = nodes.get(inode);
    if (node?.mode === undefined) return true;
    return node.mode !== "split" && !satisfies(node.mode, mode) && node.leaving === undefined && !node.isBlocked;
  }
}
