/** Rests of work that goes on in the background, which all end at once when there is something to do, or it is stopped. */
import type { Clock } from "./clock.ts";

export class Sleeper {
  readonly #clock: Clock;
  readonly #wakers = new Set<() => void>();
  #stopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  /** Resolves after the time, or when it is stopped or woken. */
  sleep(delayMs: number): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        timer.cancel();
        this.#wakers.delete(wake);
        resolve();
      };
      const timer = this.#clock.startTimer(delayMs, wake);
      this.#wakers.add(wake);
    });
  }

  /** There is something to do. */
  wake(): void {
    for (const wake of [...this.#wakers]) wake();
  }

  stop(): void {
    this.#stopped = true;
    this.wake();
  }
}
