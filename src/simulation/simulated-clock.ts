/** A host's clocks: both start somewhere else than everyone's, and run a little fast or slow. */
import type { Clock, Timer } from "../platform/clock.ts";
import type { Incarnation } from "./incarnation.ts";
import type { SimulatedRandom } from "./simulated-random.ts";

/** Far more than quartz does: two clocks may drift apart by almost what the margins allow (metadata/timeouts.ts: 1 %). */
const driftMax = 4e-3;
/** Wall clocks of a well-kept network differ by less. */
const wallOffsetMsMax = 2_000;
/** Virtual 2026: file times look as they would. */
const epochNs = 1_767_225_600_000_000_000n;

/** What a host keeps over restarts of its processes. */
export class HostClock {
  readonly #rate: number;
  readonly #offsetMs: number;
  readonly #wallOffsetNs: bigint;

  constructor(random: SimulatedRandom) {
    this.#rate = 1 + (random.below(2_001) / 1_000 - 1) * driftMax;
    this.#offsetMs = random.below(100_000_000);
    this.#wallOffsetNs = BigInt(random.between(-wallOffsetMsMax, wallOffsetMsMax)) * 1_000_000n;
  }

  nowMs(nowUs: number): number {
    return this.#offsetMs + (nowUs / 1_000) * this.#rate;
  }

  wallNs(nowUs: number): bigint {
    return epochNs + this.#wallOffsetNs + BigInt(Math.floor(nowUs * this.#rate)) * 1_000n;
  }

  /** How long `delayMs` of this clock takes. */
  delayUs(delayMs: number): number {
    return (delayMs * 1_000) / this.#rate;
  }
}

/** Timers wake up late, as they do on a busy machine. */
const lateUsMax = 500;

export class SimulatedClock implements Clock {
  readonly #incarnation: Incarnation;
  readonly #clock: HostClock;
  readonly #random: SimulatedRandom;

  constructor(incarnation: Incarnation, clock: HostClock, random: SimulatedRandom) {
    this.#incarnation = incarnation;
    this.#clock = clock;
    this.#random = random;
  }

  nowMs(): number {
    return this.#clock.nowMs(this.#incarnation.scheduler.nowUs);
  }

  wallNs(): bigint {
    return this.#clock.wallNs(this.#incarnation.scheduler.nowUs);
  }

  startTimer(delayMs: number, callback: () => void): Timer {
    if (!(delayMs >= 0) || delayMs > 2 ** 31) throw new RangeError(`a timer of ${delayMs} ms`);
    return this.#incarnation.after(this.#clock.delayUs(delayMs) + this.#random.below(lateUsMax), "timer", callback);
  }
}
