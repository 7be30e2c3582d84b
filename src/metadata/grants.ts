/**
 * Grant numbers: they name a lease in recalls and releases, and are the upper part of the versions of blocks. A number
 * given later is higher, also across restarts: the ledger's term is its upper part, and every start commits a higher term.
 */
import { termMax } from "../wire/catalogue/term.ts";

/** Grants in one term: 10,000 a second for forty days. A leader that has used them up has to be started again. */
const grantsPerTerm = 2 ** 35;

/**
 * The grant of all leases on what a client has created and nobody else has had yet. One number for all sessions is enough:
 * inode and grant name the lease together, and an inode is created once. It is below every other, and so are the versions
 * of the blocks that are written under it.
 */
export const coverGrant = 1;

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
