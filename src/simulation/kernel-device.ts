/**
 * The way of a request from the kernel to the process that serves the mount, and of its answer back. The process may be
 * stopped; the kernel is not. Between the moment in which the process answers and the one in which the caller in the kernel
 * uses the answer, some time passes, and other things happen.
 */
import type { Soon } from "../client/soon.ts";
import type { Incarnation } from "./incarnation.ts";
import type { SimulatedRandom } from "./simulated-random.ts";

/** A wake-up of the process, or of the caller: mostly a few microseconds, now and then a time slice. */
const wakeUsMax = 40;
const lateWakeUsMax = 4_000;
const lateChance = 0.03;

export class KernelDevice {
  readonly #incarnation: Incarnation;
  readonly #random: SimulatedRandom;
  #unanswered = 0;

  constructor(incarnation: Incarnation, random: SimulatedRandom) {
    this.#incarnation = incarnation;
    this.#random = random;
  }

  get unanswered(): number {
    return this.#unanswered;
  }

  /**
   * `serve` runs in the process when the request has come there; `take` in the very turn in which its answer is there.
   */
  async ask<A, T>(label: string, serve: () => Soon<A>, take: (answer: A) => T): Promise<T> {
    this.#unanswered += 1;
    try {
      await this.#incarnation.delay(this.#wakeUs(), `request ${label}`);
      const taken = take(await serve());
      await this.#used(label);
      return taken;
    } catch (error) {
      await this.#used(label);
      throw error;
    } finally {
      this.#unanswered -= 1;
    }
  }

  /** A caller does something else for a while. */
  idle(forUs: number): Promise<void> {
    const { scheduler, name } = this.#incarnation;
    return new Promise((resolve) => scheduler.schedule(forUs, `${name} idle`, resolve));
  }

  #used(label: string): Promise<void> {
    const { scheduler, name } = this.#incarnation;
    return new Promise((resolve) => scheduler.schedule(this.#wakeUs(), `${name} answer ${label}`, resolve));
  }

  #wakeUs(): number {
    return this.#random.below(this.#random.chance(lateChance) ? lateWakeUsMax : wakeUsMax);
  }
}
