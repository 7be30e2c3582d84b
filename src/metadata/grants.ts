/**
 * Grant numbers: they name a lease in recalls and releases, and are the upper part of the versions of blocks. A number
 * given later is higher, also across restarts: the ledger's term is its upper part, and every start commits a higher term.
 *
 * Terms are few, and used up for good: by a server that dies over and over (its supervisor starts it every second or two), and by
 * restores. So `brine status` tells long before, while the files can still be copied into a new cluster.
 */
import { BrineError } from "../errors/brine-error.ts";
import { termMax } from "../wire/catalogue/term.ts";

/**
 * By a restore: starts of the lost leader since the backup, a quarter of an hour of a server that dies every second. If there were more,
 * nothing is lost: whoever has met that leader refuses the restored one, whose term is lower, and the restored one itself, told so, says
 * how to go on (newer-leader.ts): a backup of it, restored, is again so much higher. There is room for 260 restores.
 */
const termsSkipped = 1_000;
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
    if (term > termMax) {
      throw new BrineError(
        "invalid",
        `term ${term} is above ${termMax}: this metadata was served, or restored, too often`,
        {
          advice: "no server can lead with it any more: go on in a new cluster with copies of the files from elsewhere",
        },
      );
    }
    if (term < 1) throw new RangeError(`term ${term} does not fit into grant numbers`);
    this.#term = term;
  }

  next(): number {
    this.#counter += 1;
    if (this.#counter >= grantsPerTerm) throw new RangeError("the grant numbers of this term are used up");
    return this.#term * grantsPerTerm + this.#counter;
  }
}

/** What is to be told when half of them are used; undefined before. */
export function termsProblem(term: number): string | undefined {
  if (term <= termMax / 2) return undefined;
  return `The metadata server has been started, or restored, so often that ${termMax - term} of ${termMax} starts are left. Find out in its log why it ends, and copy the files into a new cluster before it can't start any more.`;
}

/** Above every term that the leader of a backup can have had since. Errors: invalid (none is left to lead under). */
export function termAfterRestore(term: number): number {
  if (term + termsSkipped < termMax) return term + termsSkipped;
  throw new BrineError(
    "invalid",
    `the terms are used up: the metadata was served or restored too often (term ${term})`,
    {
      advice: "copy the files into a new cluster while the server that the backup is of can still be started",
    },
  );
}
