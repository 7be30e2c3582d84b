/**
 * The guard beside the process that serves a mount (fuse/transport/guard-process.ts has the same rules): when the time is
 * over until which the session counts, it tells the kernel to forget names, and the pages of each file. Where that blocks,
 * because the kernel waits for an answer of the process, it cuts the connection.
 *
 * It is a process of its own: when the other one is stopped it goes on. The process tells it the time, and which files have
 * pages; one that runs has taken its pages back before (`pagesGoEarlierMs`), so that nothing is left to do.
 */
import type { Clock, Timer } from "../platform/clock.ts";
import type { Incarnation } from "./incarnation.ts";
import type { ScheduledEvent } from "./scheduler.ts";
import type { SimulatedRandom } from "./simulated-random.ts";

/** As in fuse/notifications.ts. */
const pagesGoEarlierMs = 500;
/** As in fuse/transport/guard-process.ts. */
const lookEveryMs = 200;
const patienceMs = 200;
const usPerMs = 1_000;

export interface GuardParts {
  readonly incarnation: Incarnation;
  readonly clock: Clock;
  readonly random: SimulatedRandom;
  /** Files of which the kernel may have pages, as the process has said. */
  readonly filesWithPages: () => number[];
  readonly forgetNames: () => void;
  /** The process takes a file's pages back. */
  readonly forget: (inode: number) => Promise<void>;
  /** The kernel gives a file's pages up, whatever it has to wait for. */
  readonly drop: (inode: number) => Promise<void>;
  readonly cut: () => void;
}

export class KernelGuard {
  readonly #parts: GuardParts;
  /** Until when the session counts. */
  #untilMs = 0;
  /** In the process. */
  #lapse: Timer | undefined;
  /** In the guard. */
  #look: ScheduledEvent | undefined;
  /** Whose pages went since the time was over. */
  readonly #done = new Set<number>();
  #busy = false;
  #isOver = false;

  constructor(parts: GuardParts) {
    this.#parts = parts;
  }

  /** The process has heard it. */
  standsUntil(untilMs: number): void {
    if (this.#isOver) return;
    const { clock, filesWithPages, forget } = this.#parts;
    this.#untilMs = untilMs;
    this.#lapse?.cancel();
    this.#lapse = clock.startTimer(Math.max(0, untilMs - pagesGoEarlierMs - clock.nowMs()), () => {
      for (const inode of filesWithPages()) void forget(inode);
    });
    this.#done.clear();
    this.#look?.cancel();
    this.#lookIn(untilMs - clock.nowMs() + this.#parts.random.below(lookEveryMs));
  }

  /** The connection has ended. */
  end(): void {
    this.#isOver = true;
    this.#lapse?.cancel();
    this.#look?.cancel();
  }

  /** Whether the process is stopped or not. */
  #lookIn(delayMs: number): void {
    const { incarnation } = this.#parts;
    const delayUs = Math.max(0, delayMs) * usPerMs;
    this.#look = incarnation.scheduler.schedule(delayUs, `${incarnation.name} guard`, () => {
      if (!incarnation.alive || this.#isOver) return;
      this.#lookIn(lookEveryMs);
      if (!this.#busy && this.#hasPassed()) void this.#takePages();
    });
  }

  #hasPassed(): boolean {
    return this.#parts.clock.nowMs() >= this.#untilMs;
  }

  async #takePages(): Promise<void> {
    const { filesWithPages, forgetNames, drop } = this.#parts;
    const left = filesWithPages().filter((inode) => !this.#done.has(inode));
    if (left.length === 0) return;
    this.#busy = true;
    forgetNames();
    for (const inode of left) {
      // It woke up, and heard that its session stands.
      if (!this.#hasPassed()) break;
      this.#done.add(inode);
      await this.#patiently(drop(inode));
    }
    this.#busy = false;
  }

  async #patiently(dropped: Promise<void>): Promise<void> {
    const { incarnation, cut } = this.#parts;
    const patience = incarnation.scheduler.schedule(patienceMs * usPerMs, `${incarnation.name} guard cuts`, () => {
      if (incarnation.alive && !this.#isOver) cut();
    });
    await dropped;
    patience.cancel();
  }
}
