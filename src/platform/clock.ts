/** Time as the rest of brinefs sees it. The real one reads CLOCK_BOOTTIME; the simulation has virtual time. */

export interface Timer {
  /** Idempotent; after it the callback will not run. */
  cancel(): void;
}

export interface Clock {
  /**
   * Milliseconds on a clock that never goes back and runs through suspend (CLOCK_BOOTTIME, clock_gettime(2)).
   * Its zero means nothing; only differences within one machine do.
   */
  nowMs(): number;
  /** Wall-clock time in nanoseconds since 1970 (CLOCK_REALTIME). May jump; never used for time-outs. */
  wallNs(): bigint;
  /** Runs `callback` once, `delayMs` (≥ 0) from now. The owner cancels it when it is no longer wanted. */
  startTimer(delayMs: number, callback: () => void): Timer;
}

/** Resolves after `delayMs`. Only for waits that need no cancelling: loops that stop should hold a Timer. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  return new Promise((resolve) => clock.startTimer(delayMs, resolve));
}
