/** The leader's wall clock as far as it is known here: changes of all clients get their times from it. */
import type { Clock } from "../platform/clock.ts";

const nsPerMs = 1e6;
/** A clock read from an answer that took so long may be wrong by half of it. */
const slowAnswerMs = 200;
/** Better than no answer after all this time: the leader's clock may have been set. */
const knownForMs = 30_000;

export class LeaderClock {
  readonly #clock: Clock;
  /** The leader's wall clock less our clock that never jumps: what becomes of our wall clock meanwhile doesn't matter. */
  #offsetNs: bigint;
  /** When an answer was last believed. */
  #heardMs = Number.NEGATIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#offsetNs = clock.wallNs() - this.#ownNs();
  }

  /** Nanoseconds since 1970. May go back a little when the leader is heard of again; times of an inode never do. */
  nowNs(): bigint {
    return this.#ownNs() + this.#offsetNs;
  }

  /** An answer to a question of `sentMs` says what the leader's clock showed: half-way between sending and now, or so. */
  heard(sentMs: number, leaderNs: bigint): void {
    const nowMs = this.#clock.nowMs();
    const tookMs = nowMs - sentMs;
    if (tookMs >= slowAnswerMs && nowMs - this.#heardMs < knownForMs) return;
    this.#heardMs = nowMs;
    const halfNs = BigInt(Math.round((tookMs / 2) * nsPerMs));
    this.#offsetNs = leaderNs + halfNs - this.#ownNs();
  }

  #ownNs(): bigint {
    return BigInt(Math.round(this.#clock.nowMs() * nsPerMs));
  }
}
