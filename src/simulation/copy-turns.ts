/**
 * Who takes copies away, for good or with the metadata that is on the same server, and who lets copies rot, do it by turns: with both at once the
 * only good copy of a block could be the one that goes. What is done to the cluster in any other way goes on.
 */
const pollMs = 100;

export class CopyTurns {
  readonly #wait: (ms: number) => Promise<void>;
  #taking = 0;
  #isRotten = false;

  constructor(wait: (ms: number) => Promise<void>) {
    this.#wait = wait;
  }

  /** Somebody may be taking the only good copy of a block away. */
  get isTaken(): boolean {
    return this.#taking > 0;
  }

  /** Nobody takes copies away until `end` is called. */
  rotten(): () => void {
    this.#isRotten = true;
    return () => {
      this.#isRotten = false;
    };
  }

  /** When nothing is rotten. @param take copies may be fewer while it runs */
  async take<T>(take: () => Promise<T>): Promise<T> {
    while (this.#isRotten) await this.#wait(pollMs);
    this.#taking += 1;
    try {
      return await take();
    } finally {
      this.#taking -= 1;
    }
  }
}
