/** Trying again: which errors pass by themselves, and how long to wait in between. */
import { hasCode } from "../errors/brine-error.ts";
import type { Timer } from "../platform/clock.ts";
import type { Platform } from "../platform/platform.ts";

/** The first wait: about two round trips, so that a switch of generations costs next to nothing. */
const firstDelayMs = 5;

/** True for errors that say nothing of the request itself: the other side is away, new, or not ready yet. */
export function isTransient(error: unknown): boolean {
  return hasCode(error, "unreachable", "closed", "timedOut", "notLeader", "notServing", "busy");
}

/** Waits that grow twofold up to a bound, with jitter, so that many clients don't come back in step. */
export class Backoff {
  readonly #platform: Platform;
  readonly #delayMsMax: number;
  #delayMs = firstDelayMs;
  #timer: Timer | undefined;
  #wake: (() => void) | undefined;

  constructor(platform: Platform, delayMsMax: number) {
    this.#platform = platform;
    this.#delayMsMax = delayMsMax;
  }

  reset(): void {
    this.#delayMs = firstDelayMs;
  }

  /** Waits between half and the whole of the present delay, or until `cancel`. */
  async wait(): Promise<void> {
    const half = this.#delayMs / 2;
    const delayMs = half + (half * this.#platform.random.below(1000)) / 1000;
    this.#delayMs = Math.min(this.#delayMs * 2, this.#delayMsMax);
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      this.#timer = this.#platform.clock.startTimer(delayMs, resolve);
    });
    this.#timer = undefined;
    this.#wake = undefined;
  }

  /** Ends a wait under way. */
  cancel(): void {
    this.#timer?.cancel();
    this.#wake?.();
  }
}
