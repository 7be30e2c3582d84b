/**
 * Memory of the cache in which the bytes of a read lie, lent to the reader: it is not used for anything else until he says
 * that he has passed them on. So large reads are neither copied for the reader, nor does their memory have to be collected.
 */

/** Counts those who still look at it. */
export interface Lent {
  retain(): void;
  release(): void;
}

export class Loan {
  #lent: Lent[] = [];

  /** For the lender. After the end nobody looks at it any more: it is then left to the collector. */
  add(memory: Lent): void {
    memory.retain();
    this.#lent.push(memory);
  }

  /** The reader has passed the bytes on, or got none. */
  end(): void {
    for (const memory of this.#lent) memory.release();
    this.#lent = [];
  }
}
