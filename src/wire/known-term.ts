/** The highest term of a leader that was met. Who leads under a lower one is outdated: nothing is asked of it. */
import { BrineError } from "../errors/brine-error.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";

export class KnownTerm {
  readonly #log: Logger;
  #term: number;
  /** Of the leader that was refused last: it is told once. */
  #refused = 0;

  /** `term`: known from before; 0: no leader was met yet. */
  constructor(log: Logger, term: number) {
    this.#log = log;
    this.#term = term;
  }

  get term(): number {
    return this.#term;
  }

  /** Error: notLeader. */
  check(term: number, address: Address): void {
    if (term >= this.#term) return;
    if (term > 0 && term !== this.#refused) {
      this.#log.error("an outdated leader is refused", { address, term, known: this.#term });
      this.#refused = term;
    }
    throw new BrineError("notLeader", `${address} leads under term ${term}, and one with term ${this.#term} is known`, {
      advice: "never start a server again that was replaced",
    });
  }

  /** A leader that was not refused. */
  met(term: number): void {
    this.#term = Math.max(this.#term, term);
  }
}
