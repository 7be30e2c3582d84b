/**
 * How long a store pauses between two rounds of the search for its leader.
 *
 * Without a leader the store serves on for some seconds only, and a leader that has just started may not live for long (a server
 * that is killed again and again, a machine that is short of memory). Clients find it at once; if the store came a second later,
 * it could miss leader after leader until it serves nothing, and every write would wait through all of them. So the pause grows
 * to a fraction of that time only: to ask for a leader where none is costs a refused connection.
 *
 * A leader that is there and doesn't take the store in, or drops it at once, is left in peace for longer: a registration is work
 * for it, and may be an entry in the ledger.
 */
import type { Random } from "../platform/random.ts";

const pauseMsMin = 20;
/** Nobody leads: as often as clients ask. */
const awayMsMax = 250;
/** A leader refuses the store, or ties to it break at once. */
const refusedMsMax = 1_000;
/** A tie that held for so long was a good one: the next is tried without delay. */
const steadyMs = 1_000;

/** How a round has ended. `tied`: the store was registered, for so long. */
export type Round =
  | { readonly kind: "nobody" }
  | { readonly kind: "refused" }
  | { readonly kind: "tied"; readonly forMs: number };

export class SearchPauses {
  readonly #random: Random;
  #pauseMs = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Milliseconds until the next round: more each time, up to a bound; not the same for two stores. */
  after(round: Round): number {
    if (round.kind === "tied" && round.forMs >= steadyMs) this.#pauseMs = 0;
    const maxMs = round.kind === "nobody" ? awayMsMax : refusedMsMax;
    const pauseMs = Math.min(this.#pauseMs, maxMs);
    this.#pauseMs = Math.min(Math.max(pauseMsMin, pauseMs * 2), maxMs);
    return pauseMs + this.#random.below(pauseMsMin);
  }
}
