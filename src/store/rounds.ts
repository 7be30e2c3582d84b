/**
 * Work that goes through everything there is: asked for at any time, done in one round at a time, and once more if it was asked for
 * while a round ran.
 */
export class Rounds {
  readonly #round: () => Promise<void>;
  #isAsked = false;
  #running: Promise<void> | undefined;
  #stopped = false;

  /** `round` looks at `stopped` after each wait. Never rejects. */
  constructor(round: () => Promise<void>) {
    this.#round = round;
  }

  get stopped(): boolean {
    return this.#stopped;
  }

  ask(): void {
    this.#isAsked = true;
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
    });
  }

  /** Resolves when the present round has ended; there are no others. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#isAsked && !this.#stopped) {
      this.#isAsked = false;
      await this.#round();
    }
  }
}
