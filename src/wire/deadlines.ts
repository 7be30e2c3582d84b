/**
 * One timer for many waits. Most requests are answered long before their deadline, so a timer for each would be made
 * and cancelled for nothing. This one runs at the earliest deadline it was told of; its owner then looks at all its
 * waits and says which deadline is the earliest now. Answered requests cost nothing, and an owner with waits of t
 * milliseconds looks through them at most every t milliseconds.
 */
import type { Clock, Timer } from "../platform/clock.ts";

export class Deadlines {
  readonly #clock: Clock;
  readonly #onDue: (nowMs: number) => number;
  #timer: Timer | undefined;
  #dueMs = Number.POSITIVE_INFINITY;

  /** @param onDue ends the waits that are due, and returns the earliest deadline of the others, or Infinity */
  constructor(clock: Clock, onDue: (nowMs: number) => number) {
    this.#clock = clock;
    this.#onDue = onDue;
  }

  /** A wait that begins at `nowMs` and ends at `deadlineMs`. */
  add(nowMs: number, deadlineMs: number): void {
    if (deadlineMs >= this.#dueMs) return;
    this.#timer?.cancel();
    this.#dueMs = deadlineMs;
    this.#timer = this.#clock.startTimer(Math.max(0, deadlineMs - nowMs), () => this.#due());
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#dueMs = Number.POSITIVE_INFINITY;
  }

  #due(): void {
    this.#timer = undefined;
    this.#dueMs = Number.POSITIVE_INFINITY;
    const nowMs = this.#clock.nowMs();
    const nextMs = this.#onDue(nowMs);
    if (nextMs < Number.POSITIVE_INFINITY) this.add(nowMs, nextMs);
  }
}
