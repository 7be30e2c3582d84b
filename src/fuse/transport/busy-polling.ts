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
 * 3. While it looks, a message that comes within `directMs` of the one before is taken without a turn of the event loop, which
 *    costs as much as most requests; for `turnMs` at most, then the loop sees to everything else.
 *
 * The same is known as busy polling from the kernel's network and block devices, which look for 50 to 100 µs.
 */
import { realClock } from "../../platform/real-clock.ts";

/** As long as a wake-up takes in a virtual machine, and some more: then looking costs no more than sleeping. */
const windowMs = 0.2;
const skippedMax = 64;
/** In which a task that was answered asks again, if it does nothing else. */
const directMs = 0.03;
/** As long as anything else may wait for the event loop. */
const turnMs = 0.25;

/** What a look at the descriptor has brought; `stop`: somebody waits for the event loop, or has ended all. */
export type Taken = "message" | "nothing" | "stop";

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

  /** After a message: deals with those that follow at once. `takeNext` takes one and deals with it, `afterMessage` included. */
  serveOn(takeNext: () => Taken): void {
    const untilMs = this.#lastMs + turnMs;
    for (let nowMs = this.#lastMs; this.#isLooking && nowMs < untilMs; nowMs = this.#turns.nowMs()) {
      const taken = takeNext();
      if (taken === "stop" || (taken === "nothing" && nowMs - this.#lastMs > directMs)) return;
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
