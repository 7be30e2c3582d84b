/**
 * Grant numbers: the upper part of the versions of blocks. A number given later is higher, also across restarts:
 * the ledger's term is its upper part, and every start commits a higher term.
 */

/** Starts of the metadata server: one a second for twelve days, or one an hour for a century. */
const termMax = 2 ** 20 - 1;
/** Grants in one term: 10,000 a second for five days. A leader that has used them up has to be started again. */
const grantsPerTerm = 2 ** 32;

export class Grants {
  readonly #term: number;
  #counter = 0;

  constructor(term: number) {
    if (term < 1 || term > termMax) throw new RangeError(`term ${term} does not fit into grant numbers`);
    this.#term = term;
  }

  next(): number {
    this.#counter += 1;
    if (this.#counter >= grantsPerTerm) throw new RangeError("the grant numbers of this term are used up");
    return this.#term * grantsPerTerm + this.#counter;
  }
}
