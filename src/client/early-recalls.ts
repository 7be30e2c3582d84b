/**
 * Recalls of leases that aren't held here. The answer that grants the lease may be on its way, and be overtaken; or it came
 * when nobody waited for it any more, and only the leader knows of the lease. Then nobody could ever have it, so it must be
 * given back.
 *
 * The leader sends a recall again after a second, on the same connection as the answer, and behind it. So at the second time
 * the answer has arrived. It may be in the same piece of data, and not be looked at yet (this process was paused): therefore
 * the verdict comes a turn of the event loop later.
 */
import type { Clock } from "../platform/clock.ts";
import type { LeaseMode } from "../wire/catalogue/leader.ts";

/** Bounds the memory; one that is forgotten is recalled again. */
const recallsMax = 4_096;

interface EarlyRecall {
  readonly grant: number;
  readonly wanted: LeaseMode;
}

export class EarlyRecalls {
  readonly #clock: Clock;
  readonly #onLost: (inode: number, grant: number) => void;
  readonly #recalls = new Map<number, EarlyRecall>();

  /** @param onLost called for a lease that only the leader knows of, unless it is held by then */
  constructor(clock: Clock, onLost: (inode: number, grant: number) => void) {
    this.#clock = clock;
    this.#onLost = onLost;
  }

  add(inode: number, grant: number, wanted: LeaseMode): void {
    if (this.#recalls.get(inode)?.grant === grant) {
      this.#clock.startTimer(0, () => this.#onLost(inode, grant));
      return;
    }
    if (this.#recalls.size >= recallsMax) this.#recalls.delete(this.#recalls.keys().next().value!);
    this.#recalls.set(inode, { grant, wanted });
  }

  /** What others want of this lease, which has just been granted. */
  take(inode: number, grant: number): LeaseMode | undefined {
    const early = this.#recalls.get(inode);
    if (early === undefined) return undefined;
    this.#recalls.delete(inode);
    return early.grant === grant ? early.wanted : undefined;
  }

  clear(): void {
    this.#recalls.clear();
  }
}
