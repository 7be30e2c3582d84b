/** Which leases are given back without being recalled: those that were not used for long, and some when there are too many. */
import type { Clock, Timer } from "../platform/clock.ts";
import type { Node } from "./node.ts";

/** Leases kept: some 100 MB here and less at the leader. Above it those go that were not used for long. */
const leasesMax = 200_000;
/** How many go at once when there are too many. */
const evictedAtOnce = 1024;
/** Nodes looked at for it: nearly all of many that were just made are recent. */
const lookedAtMax = 16 * evictedAtOnce;
/** A lease that was not used for so long is given back. */
const idleMs = 300_000;
const idleSweepMs = 10_000;

export class UnusedLeases {
  readonly #clock: Clock;
  readonly #nodes: Map<number, Node>;
  readonly #leave: (node: Node) => void;
  readonly #leasesMax: number;
  #timer: Timer | undefined;
  /** Nodes added while there were too many. */
  #added = 0;

  /** @param nodes all that there are, in an order that is this class's to change */
  constructor(clock: Clock, nodes: Map<number, Node>, leave: (node: Node) => void, max = leasesMax) {
    this.#clock = clock;
    this.#nodes = nodes;
    this.#leave = leave;
    this.#leasesMax = max;
    this.#arm();
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /** A node has come. Lets others go that were not used since the last look, in the order in which they came. */
  added(): void {
    if (this.#nodes.size <= this.#leasesMax) return;
    this.#added += 1;
    if (this.#added % evictedAtOnce !== 0) return;
    // A second look at each: what was used since the first one stays.
    let [looks, wanted] = [lookedAtMax, evictedAtOnce];
    for (const [inode, node] of this.#nodes) {
      if (looks === 0 || wanted === 0) break;
      looks -= 1;
      this.#nodes.delete(inode);
      this.#nodes.set(inode, node);
      if (node.isRecent) node.isRecent = false;
      else if (isUnused(node)) {
        wanted -= 1;
        this.#leave(node);
      }
    }
  }

  #arm(): void {
    this.#timer = this.#clock.startTimer(idleSweepMs, () => {
      const nowMs = this.#clock.nowMs();
      for (const node of [...this.#nodes.values()]) {
        if (node.isRecent) {
          node.isRecent = false;
          node.lastUsedMs = nowMs;
        } else if (isUnused(node) && nowMs - node.lastUsedMs > idleMs) this.#leave(node);
      }
      if (this.#timer !== undefined) this.#arm();
    });
  }
}

function isUnused({ mode, uses, leaving }: Node): boolean {
  return mode !== undefined && uses === 0 && leaving === undefined;
}
