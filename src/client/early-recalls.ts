/**
 * Recalls of leases that aren't held here. The answer that grants the lease may be on its way, and be overtaken; or it came
 * when nobody waited for it any more, and only the leader knows of the lease. Then nobody could ever have it, so it must be
 * given back.
 *
 * The leader sends a recall again after a second, on the same connection as the answer, and behind it. So at the second time
 * the answer has arrived. It may be in the same piece of data, and not be looked at yet (this process was paused): therefore
 * the verdict comes a turn of the event loop later.
 *
 * That is a guess: an answer about many leases is sent some time after the first of them was granted, and a recall may be
 * sent again at once when others want more. So what was given back like that is remembered, and an answer that brings it
 * all the same brings nothing.
 */
import type { Clock } from "../platform/clock.ts";
import type { LeaseMode } from "../wire/catalogue/leader.ts";

/** Bounds the memory; one that is forgotten is recalled again. */
const recallsMax = 4_096;

interface EarlyRecall {
  readonly grant: number;
  readonly wanted: LeaseMode;
  isGivenBack: boolean;
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
    const known = this.#recalls.get(inode);
    if (known?.grant === grant) {
      // The answer may have come by then.
      this.#clock.startTimer(0, () => this.#recalls.get(inode) === known && this.#onLost(inode, grant));
      return;
    }
    if (this.#recalls.size >= recallsMax) this.#recalls.delete(this.#recalls.keys().next().value!);
    this.#recalls.set(inode, { grant, wanted, isGivenBack: false });
  }

  /** The leader is told that nobody has this lease. */
  givenBack(inode: number, grant: number): void {
    const known = this.#recalls.get(inode);
    if (known?.grant === grant) known.isGivenBack = true;
  }

  /** Whether it was given back: an answer that brings it comes too late. */
  isGivenBack(inode: number, grant: number): boolean {
    const known = this.#recalls.get(inode);
    return known?.grant === grant && known.isGivenBack;
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
