/**
 * Keeps segments whole under readers: a reader looks up extents, then reads them from the disk, and meanwhile they may
 * die. What is dead is given back only after every read has ended that had begun when it was alive.
 *
 * Reads belong to the phase in which they began. `quiesce` begins a new phase and waits for the reads of the old one; only
 * one waits at a time, so earlier phases are empty already.
 */
export class ReadGate {
  #phase = 0;
  readonly #reading = [0, 0];
  #onQuiet: (() => void) | undefined;

  /** Begins a read; `leave` takes what it returns. */
  enter(): number {
    const phase = this.#phase;
    this.#reading[phase]! += 1;
    return phase;
  }

  leave(phase: number): void {
    this.#reading[phase]! -= 1;
    if (phase !== this.#phase && this.#reading[phase] === 0) {
      this.#onQuiet?.();
      this.#onQuiet = undefined;
    }
  }

  /** Resolves when all reads have ended that are under way now. One at a time. */
  quiesce(): Promise<void> {
    if (this.#onQuiet !== undefined) throw new Error("somebody waits already");
    const old = this.#phase;
    this.#phase = 1 - old;
    if (this.#reading[old] === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onQuiet = resolve;
    });
  }
}
