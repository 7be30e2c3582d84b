/**
 * Keeps the event loop awake for a moment after a message, because the next one usually comes at once.
 *
 * A task that works on the mount has one request under way at a time: it sleeps until we answer, and we sleep until it
 * asks. To wake one who sleeps on another core costs 5 µs, and 50 µs in a virtual machine whose idle cores are given
 * back to the host: many times what most requests cost. So the loop looks for new events without sleeping:
 *
 * 1. After a message it looks for `windowMs` more, if the one before came as shortly before; a message extends that.
 * 2. If none came, it sleeps. After such a vain look, 1, 2, 4, … 64 messages go by before the next, until one has paid
 *    off: on a busy machine, where whoever asks can't run while we look, looking costs next to nothing.
 *
 * The same is known as busy polling from the kernel's network and block devices, which look for 50 to 100 µs.
 */
import { realClock } from "../../platform/real-clock.ts";

/** As long as a wake-up takes in a virtual machine, and some more: then looking costs no more than sleeping. */
const windowMs = 0.2;
const skippedMax = 64;

/** How it sees the time and the event loop's turns. */
export interface Turns {
  nowMs(): number;
  /** Calls back after the loop has looked for events once, which it then does without waiting. */
  afterLooking(callback: () => void): void;
}

/** A timer of no time is called after the loop has looked for events. */
const eventLoop: Turns = {
  nowMs: () => realClock.nowMs(),
  afterLooking: (callback) => void realClock.startTimer(0, callback),
};

export class BusyPolling {
  readonly #turns: Turns;
  #lastMs = Number.NEGATIVE_INFINITY;
  #isLooking = false;
  /** A message came since it began to look. */
  #hasPaid = false;
  /** Messages that go by before it looks again, and how many it is after the next vain look. */
  #skip = 0;
  #skipNext = 1;

  constructor(turns: Turns = eventLoop) {
    this.#turns = turns;
  }

  /** A message has come, and what could be done at once has been done. */
  afterMessage(): void {
    const nowMs = this.#turns.nowMs();
    const isQuick = nowMs - this.#lastMs < 2 * windowMs;
    this.#lastMs = nowMs;
    if (this.#isLooking) {
      this.#hasPaid = true;
      this.#skipNext = 1;
    } else if (isQuick && --this.#skip < 0) {
      this.#isLooking = true;
      this.#hasPaid = false;
      this.#turns.afterLooking(this.#look);
    }
  }

  readonly #look = (): void => {
    if (this.#turns.nowMs() - this.#lastMs < windowMs) {
      this.#turns.afterLooking(this.#look);
      return;
    }
    this.#isLooking = false;
    if (this.#hasPaid) return;
    this.#skip = this.#skipNext;
    this.#skipNext = Math.min(2 * this.#skipNext, skippedMax);
  };
}
