/**
 * Which leases are given back without being recalled: those that were not used for long, and some when there are too many.
 *
 * A look spares what is in use, and what was used since the last look at it. So where a look can go through all
 * (`lookedAtMax`), not more are kept than `leasesMax`, or than the most that a look has spared, and `evictedAtOnce` on top: so
 * many come between two looks. Where it can't, the leader has the bound (metadata/lease-limits.ts).
 *
 * An operation that finds all leases here doesn't pin them, and may add a node while it relies on others. It has just marked
 * those as used, and no look comes to a node twice.
 */
import type { Clock, Timer } from "../platform/clock.ts";
import type { Node } from "./node.ts";

export interface UnusedLeaseLimits {
  /** Leases kept. Above it those go that were not used for long. */
  readonly leasesMax: number;
  /** How many go at once: each may cost the kernel and the leader something, and a recall is not to wait behind all of them. */
  readonly evictedAtOnce: number;
  /** Nodes looked at for it. */
  readonly lookedAtMax: number;
  /** A lease that was not used for so long is given back. */
  readonly idleMs: number;
  readonly idleSweepMs: number;
}

export const unusedLeaseLimits: UnusedLeaseLimits = {
  // Some 100 MB here and less at the leader.
  leasesMax: 200_000,
  evictedAtOnce: 1_024,
  // Nearly all of many that were just made are recent.
  lookedAtMax: 16 * 1_024,
  idleMs: 300_000,
  idleSweepMs: 10_000,
};

/** Between two lots of idle ones. */
const lotIntervalMs = 250;

export class UnusedLeases {
  readonly #clock: Clock;
  readonly #nodes: Map<number, Node>;
  readonly #leave: (node: Node) => void;
  readonly #limits: UnusedLeaseLimits;
  #timer: Timer | undefined;
  /** Nodes added while there were too many. */
  #added = 0;
  #sparedMost = 0;

  /** @param nodes all that there are, in an order that is this class's to change */
  constructor(clock: Clock, nodes: Map<number, Node>, leave: (node: Node) => void, limits: UnusedLeaseLimits) {
    this.#clock = clock;
    this.#nodes = nodes;
    this.#leave = leave;
    this.#limits = limits;
    this.#arm(limits.idleSweepMs);
  }

  /** The most leases that a look had to leave: in use, or used since the last look at them. */
  get sparedMost(): number {
    return this.#sparedMost;
  }

  /** Leases that are not on their way back. */
  get kept(): number {
    return [...this.#nodes.values()].filter(isKept).length;
  }

  /** Whether so many more can be kept without others having to go. */
  hasRoomFor(count: number): boolean {
    return this.#nodes.size + count <= this.#limits.leasesMax;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** A node has come. Lets others go that were not used since the last look, in the order in which they came. */
  added(): void {
    const { leasesMax, evictedAtOnce, lookedAtMax } = this.#limits;
    if (this.#nodes.size <= leasesMax) return;
    this.#added += 1;
    if (this.#added % evictedAtOnce !== 0) return;
    let [looks, wanted, spared] = [Math.min(lookedAtMax, this.#nodes.size), evictedAtOnce, 0];
    for (const [inode, node] of this.#nodes) {
      if (looks === 0 || wanted === 0) break;
      looks -= 1;
      this.#nodes.delete(inode);
      this.#nodes.set(inode, node);
      if (isUnused(node) && !node.isRecent) {
        wanted -= 1;
        this.#leave(node);
      } else if (isKept(node)) spared += 1;
      node.isRecent = false;
    }
    this.#sparedMost = Math.max(this.#sparedMost, spared);
  }

  #arm(delayMs: number, idle: readonly Node[] = []): void {
    const { evictedAtOnce, idleSweepMs } = this.#limits;
    this.#timer = this.#clock.startTimer(delayMs, () => {
      const due = idle.length > 0 ? idle : this.#sweep();
      for (const node of due.slice(0, evictedAtOnce)) if (isUnused(node) && !node.isRecent) this.#leave(node);
      const left = due.slice(evictedAtOnce);
      if (this.#timer !== undefined) this.#arm(left.length > 0 ? lotIntervalMs : idleSweepMs, left);
    });
  }

  /** Notes what was used; returns what was not for long. */
  #sweep(): Node[] {
    const nowMs = this.#clock.nowMs();
    const idle: Node[] = [];
    for (const node of this.#nodes.values()) {
      if (node.isRecent) {
        node.isRecent = false;
        node.lastUsedMs = nowMs;
      } else if (isUnused(node) && nowMs - node.lastUsedMs > this.#limits.idleMs) idle.push(node);
    }
    return idle;
  }
}

function isUnused({ mode, uses, leaving }: Node): boolean {
  return mode !== undefined && uses === 0 && leaving === undefined;
}

/** It has a lease that is not on its way back. */
function isKept({ mode, leaving }: Node): boolean {
  return mode !== undefined && leaving !== "entirely";
}
