/** A clock that stands still until a test moves it. */
import type { Clock, Timer } from "../../platform/clock.ts";

/** Microtasks that a chain of awaits in these tests can need between two timers. */
const drainTurns = 200;

interface Pending {
  readonly dueMs: number;
  readonly number: number;
  readonly callback: () => void;
}

export class ManualClock implements Clock {
  #nowMs = 1_000;
  #number = 0;
  #pending: Pending[] = [];
  /** The wall clock, which tests may set back. */
  wallOffsetNs = 1_700_000_000_000_000_000n;

  nowMs(): number {
    return this.#nowMs;
  }

  wallNs(): bigint {
    return this.wallOffsetNs + BigInt(Math.round(this.#nowMs * 1e6));
  }

  startTimer(delayMs: number, callback: () => void): Timer {
    const timer: Pending = { dueMs: this.#nowMs + delayMs, number: this.#number++, callback };
    this.#pending.push(timer);
    return {
      cancel: () => {
        this.#pending = this.#pending.filter((one) => one !== timer);
      },
    };
  }

  /** Lets time pass: timers run in their order, and all that follows from each before the next. */
  async advance(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    await drain();
    for (;;) {
      const next = this.#pending
        .filter((timer) => timer.dueMs <= untilMs)
        .sort((left, right) => left.dueMs - right.dueMs || left.number - right.number)[0];
      if (next === undefined) break;
      this.#pending = this.#pending.filter((one) => one !== next);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.callback();
      await drain();
    }
    this.#nowMs = untilMs;
  }

  /** Time passes, but this process is held up: its timers run only afterwards, late, behind what comes in `first`. */
  async holdUp(ms: number, first: () => void = () => {}): Promise<void> {
    this.#nowMs += ms;
    first();
    await this.advance(0);
  }
}

/** Lets everything run that waits for nothing but its turn. */
export async function drain(turns = drainTurns): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await Promise.resolve();
}
