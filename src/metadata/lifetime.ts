/**
 * The time between start and end of one metadata server: timers and background work belong to it and end with it.
 * After every await the work asks `stopped`: what was started before the end must not act after it.
 */
import type { Clock, Timer } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";

/** Timers are late by some milliseconds on a healthy machine. */
const lateMsMax = 100;

export class Lifetime {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #isReachable: () => boolean;
  readonly #timers = new Set<Timer>();
  readonly #sleepers = new Set<() => void>();
  #stopped = false;

  /** @param isReachable whether this server hears what others send: it listens, and may answer */
  constructor(clock: Clock, log: Logger, isReachable: () => boolean = () => true) {
    this.#clock = clock;
    this.#log = log;
    this.#isReachable = isReachable;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  nowMs(): number {
    return this.#clock.nowMs();
  }

  /** As Clock.startTimer, but the callback does not run after the end. */
  startTimer(delayMs: number, callback: () => void): Timer {
    if (this.#stopped) return { cancel: () => {} };
    const timer = this.#clock.startTimer(delayMs, () => {
      this.#timers.delete(timer);
      if (!this.#stopped) callback();
    });
    this.#timers.add(timer);
    return {
      cancel: () => {
        this.#timers.delete(timer);
        timer.cancel();
      },
    };
  }

  /** Resolves after `delayMs`, or at the end: the caller asks `stopped`. */
  sleep(delayMs: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        this.#sleepers.delete(done);
        resolve();
      };
      this.#sleepers.add(done);
      this.startTimer(delayMs, done);
    });
  }

  /**
   * Calls `callback` every `intervalMs`, with the time since the last call in which nobody could be heard: by which the call is late, and
   * all of it while this server can't be reached. 0: everybody could.
   */
  repeat(intervalMs: number, callback: (deafMs: number) => void): void {
    let dueMs = this.nowMs() + intervalMs;
    const next = () => {
      const nowMs = this.nowMs();
      const lateMs = nowMs - dueMs > lateMsMax ? nowMs - dueMs : 0;
      const deafMs = this.#isReachable() ? lateMs : nowMs - dueMs + intervalMs;
      dueMs = nowMs + intervalMs;
      callback(deafMs);
      this.startTimer(intervalMs, next);
    };
    this.startTimer(intervalMs, next);
  }

  /** Runs work that nobody waits for. An error that it does not handle itself is a defect and is logged. */
  run(what: string, work: () => Promise<void>): void {
    if (this.#stopped) return;
    work().catch((error: unknown) => {
      if (this.#stopped) return;
      const stack = error instanceof Error ? error.stack : String(error);
      this.#log.error("background work failed unexpectedly", { what, error: stack });
    });
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    for (const wake of [...this.#sleepers]) wake();
  }
}
