/**
 * How fast a store copies from others, or reads for a scrub: a bound on its bytes a second, and a quarter of that while clients are at work, whose
 * requests wait for the same disks and wires.
 */
import type { Clock } from "../platform/clock.ts";

/** Half of what a good disk does, so that even with nobody there the members that are copied from can breathe. */
export const defaultHealBytesPerSecond = 512 * 1024 * 1024;
/** Of the rate, while clients are at work. */
const busyFraction = 1 / 4;
/** What may go at once after a rest. */
const burstMs = 50;

export class Pace {
  readonly #clock: Clock;
  readonly #bytesPerSecond: () => number;
  readonly #isBusy: () => boolean;
  /** When all that was let go has had its time. */
  #paidMs = 0;

  /** @param isBusy whether clients are at work */
  constructor(clock: Clock, bytesPerSecond: () => number, isBusy: () => boolean) {
    this.#clock = clock;
    this.#bytesPerSecond = bytesPerSecond;
    this.#isBusy = isBusy;
  }

  /** What is let go now. */
  get bytesPerSecond(): number {
    return this.#bytesPerSecond() * (this.#isBusy() ? busyFraction : 1);
  }

  /** How long to wait before so many bytes are copied, which are counted. */
  waitMs(bytes: number): number {
    const nowMs = this.#clock.nowMs();
    const perSecond = this.bytesPerSecond;
    const startMs = Math.max(this.#paidMs, nowMs - burstMs);
    this.#paidMs = startMs + (bytes / perSecond) * 1000;
    return Math.max(0, startMs - nowMs);
  }
}
