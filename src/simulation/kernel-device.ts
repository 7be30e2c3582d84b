/**
 * The way of a request from the kernel to the process that serves the mount, and of its answer back. The process may be
 * stopped; the kernel is not. Between the moment in which the process answers and the one in which the caller in the kernel
 * uses the answer, some time passes, and other things happen.
 */
import type { Soon } from "../client/soon.ts";
import { FileError } from "../errors/file-error.ts";
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
  #isCut = false;
  /** Called when the connection is cut: for requests that have not come to the process. */
  readonly #onCut = new Set<(error: FileError) => void>();

  constructor(incarnation: Incarnation, random: SimulatedRandom) {
    this.#incarnation = incarnation;
    this.#random = random;
  }

  get unanswered(): number {
    return this.#unanswered;
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  /**
   * The connection ends: no request gets to the process any more, and none has another answer than ENOTCONN. (Whoever waits
   * for one that the process is at gets it when that is done. The kernel says it at once; then the request takes effect
   * behind its caller's back.)
   */
  cut(): void {
    this.#isCut = true;
    for (const fail of this.#onCut) fail(notConnected());
    this.#onCut.clear();
  }

  /**
   * `serve` runs in the process when the request has come there; `take` in the very turn in which its answer is there.
   */
  async ask<A, T>(label: string, serve: () => Soon<A>, take: (answer: A) => T): Promise<T> {
    if (this.#isCut) throw notConnected();
    this.#unanswered += 1;
    try {
      await this.#comes(label);
      const answer = await serve();
      if (this.#isCut) throw notConnected();
      const taken = take(answer);
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

  #comes(label: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#onCut.add(reject);
      this.#incarnation.after(this.#wakeUs(), `request ${label}`, () => {
        this.#onCut.delete(reject);
        resolve();
      });
    });
  }

  #used(label: string): Promise<void> {
    const { scheduler, name } = this.#incarnation;
    return new Promise((resolve) => scheduler.schedule(this.#wakeUs(), `${name} answer ${label}`, resolve));
  }

  #wakeUs(): number {
    return this.#random.below(this.#random.chance(lateChance) ? lateWakeUsMax : wakeUsMax);
  }
}

export function notConnected(): FileError {
  return new FileError("ENOTCONN", "the connection to the kernel was cut");
}
