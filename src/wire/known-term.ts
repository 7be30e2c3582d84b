/**
 * The leader that was met last: its term, and up to which entry its ledger went. Who leads under a lower term is outdated, and so is
 * who leads under a higher one without those entries: it has an old copy of the metadata (a machine that was set back to a snapshot, a
 * directory that was copied). Nothing is asked of either.
 *
 * A person can decide to go on with less: by restoring a backup, and by promoting a copy of the ledger. Each begins a new *history*,
 * whose entries are not compared with those of any other.
 */
import { BrineError } from "../errors/brine-error.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import type { KnownLedger, LedgerOrigin } from "./catalogue/handshake.ts";

/** No leader was met yet. */
export const noLedger: KnownLedger = { term: 0, startedMs: 0, history: 0, index: 0 };

/** Who says in its hello that it leads. */
export interface Leading {
  /** 0: it doesn't. */
  readonly term: number;
  /** None: nothing is said of its ledger, and only its term counts. */
  readonly origin?: LedgerOrigin | undefined;
}

/** Why a leader is outdated for somebody who knows this of another one; undefined if it isn't. */
export function whyOutdated({ term, origin }: Leading, known: KnownLedger): string | undefined {
  if (term < known.term) return `it leads under term ${term}, and one with term ${known.term} is known`;
  if (origin === undefined) return undefined;
  if (term === known.term) {
    if (known.startedMs === 0 || origin.startedMs === known.startedMs) return undefined;
    return `another server led under the same term, ${term}: one of the two has a copy of the other's metadata`;
  }
  if (origin.history !== known.history || origin.beganIndex >= known.index) return undefined;
  return `its metadata is an old copy: it ends with entry ${origin.beganIndex}, and entry ${known.index} is known`;
}

export class KnownTerm {
  readonly #log: Logger;
  #known: KnownLedger;
  /** Of the leader that was refused last: it is told once. */
  #refused = "";

  /** `known`: from before. */
  constructor(log: Logger, known: KnownLedger = noLedger) {
    this.#log = log;
    this.#known = known;
  }

  get term(): number {
    return this.#known.term;
  }

  get ledger(): KnownLedger {
    return this.#known;
  }

  /** Error: notLeader. */
  check(leader: Leading, address: Address): void {
    const reason = whyOutdated(leader, this.#known);
    if (reason === undefined) return;
    const { term } = leader;
    if (term > 0 && reason !== this.#refused) {
      this.#log.error("an outdated leader is refused", { address, term, known: this.term, reason });
      this.#refused = reason;
    }
    throw new BrineError("notLeader", `${address} is no leader: ${reason}`, {
      advice: "never start a server again that was replaced, nor one from a copy of its data directory",
    });
  }

  /** What will be known once this leader is met, which was not refused. */
  after({ term, origin }: Leading): KnownLedger {
    if (term < this.term) return this.#known;
    if (origin === undefined)
      return { ...this.#known, term, startedMs: term === this.term ? this.#known.startedMs : 0 };
    const { history, beganIndex, startedMs } = origin;
    const index = history === this.#known.history ? Math.max(this.#known.index, beganIndex) : beganIndex;
    return { term, startedMs, history, index };
  }

  met(leader: Leading): void {
    this.#known = this.after(leader);
  }

  /**
   * A leader has said how far its ledger goes under its term. It counts if that is the one that was met: who has begun to lead since
   * the hello did so with entries that are not known here.
   */
  heard(term: number, index: number): void {
    if (term === this.term && index > this.#known.index) this.#known = { ...this.#known, index };
  }
}
