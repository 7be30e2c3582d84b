/**
 * The machine's clocks. Time is CLOCK_BOOTTIME: it runs while the machine sleeps, so a lease that ended meanwhile is
 * seen to have ended. Node's timers run on CLOCK_MONOTONIC, which stands still in a suspend: a long timer is cut into
 * slices, and each slice looks at the real time. So a timer never fires early, and after a suspend at most one slice late.
 */
import type { Clock, Timer } from "./clock.ts";
import { CLOCK_BOOTTIME, CLOCK_REALTIME, clockMs, clockNs } from "./libc.ts";

/** Short enough that a time-out is noticed soon after a resume, long enough to cost nothing; far below 2^31 ms. */
const longestSliceMs = 10_000;

export const realClock: Clock = {
  nowMs: () => clockMs(CLOCK_BOOTTIME),
  wallNs: () => clockNs(CLOCK_REALTIME),
  startTimer: (delayMs, callback) => new RealTimer(delayMs, callback),
};

class RealTimer implements Timer {
  readonly #deadlineMs: number;
  readonly #callback: () => void;
  #timeout: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;

  constructor(delayMs: number, callback: () => void) {
    if (!(delayMs >= 0)) throw new RangeError(`a timer of ${delayMs} ms`);
    this.#callback = callback;
    this.#deadlineMs = clockMs(CLOCK_BOOTTIME) + delayMs;
    if (delayMs === 0) this.#immediate = setImmediate(callback);
    else this.#arm(delayMs);
  }

  cancel(): void {
    clearTimeout(this.#timeout);
    clearImmediate(this.#immediate);
  }

  #arm(remainingMs: number): void {
    this.#timeout = setTimeout(
      () => {
        const leftMs = this.#deadlineMs - clockMs(CLOCK_BOOTTIME);
        if (leftMs > 0) this.#arm(leftMs);
        else this.#callback();
      },
      Math.ceil(Math.min(remainingMs, longestSliceMs)),
    );
  }
}
