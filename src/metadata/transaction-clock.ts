/**
 * The time that transactions get: the leader's wall clock, but that it never goes back. Where that is set back (by an hour, because
 * it had been wrong), transaction time goes on at half speed until the wall clock has caught up: it neither falls nor stands, so
 * that two changes hours apart don't have one time.
 */
import type { Clock } from "../platform/clock.ts";

export class TransactionClock {
  readonly #clock: Clock;
  #lastNs = 0n;
  #lastMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lastMs = clock.nowMs();
  }

  /** A transaction of an earlier leader has this time: none gets a lower one. */
  mayNotFallBelow(timeNs: bigint): void {
    if (timeNs > this.#lastNs) this.#lastNs = timeNs;
  }

  /** Nanoseconds since 1970. */
  nowNs(): bigint {
    const nowMs = this.#clock.nowMs();
    const slowNs = this.#lastNs + BigInt(Math.floor(((nowMs - this.#lastMs) * 1e6) / 2));
    const wallNs = this.#clock.wallNs();
    this.#lastMs = nowMs;
    this.#lastNs = wallNs > slowNs ? wallNs : slowNs;
    return this.#lastNs;
  }
}
