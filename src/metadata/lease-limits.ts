/**
 * How many leases a session may have, in four steps:
 *
 * 1. At `keptMax` its oldest are recalled. So always fewer than that are not recalled, however slowly it gives back.
 * 2. While it has `keptMax`, recalled ones among them, it gets none on the side.
 * 3. At twice as many, with those that it waits for, it gets none that it asks for either.
 * 4. At three times as many it creates nothing: its journal waits. What it is to give back may have changes in the journal, behind
 *    creations. But of what isn't committed a client has at most `keptMax` (write-back-limits.ts). So when the last of these is, after
 *    no more creations than that from step 3 on, all that was recalled by then can come back, and that is more than `keptMax`.
 */
import { BrineError } from "../errors/brine-error.ts";
import type { LeaseRecalls } from "./lease-recalls.ts";
import type { LeaseTable } from "./lease-table.ts";

export interface LeaseBounds {
  /** Leases of one session: at so many the oldest are recalled. */
  readonly keptMax: number;
  /** Recalled at once from a session that has too many. */
  readonly recalledAtOnce: number;
}

export const leaseBounds: LeaseBounds = {
  // Clients keep at most 200,000, and what is on its way: 10 MB.
  keptMax: 262_144,
  recalledAtOnce: 4_096,
};

export class LeaseLimits {
  readonly #table: LeaseTable;
  readonly #recalls: LeaseRecalls;
  readonly #bounds: LeaseBounds;
  /** For how many leases the session waits. */
  readonly #waitingOf: (session: number) => number;

  constructor(table: LeaseTable, recalls: LeaseRecalls, bounds: LeaseBounds, waitingOf: (session: number) => number) {
    this.#table = table;
    this.#recalls = recalls;
    this.#bounds = bounds;
    this.#waitingOf = waitingOf;
  }

  /** The session has so many leases that it gets none but those for which somebody waits. */
  isFull(session: number): boolean {
    return this.#table.count(session) >= this.#bounds.keptMax;
  }

  /** It may create something, on which it has a lease then. */
  mayCreate(session: number): boolean {
    return this.#table.count(session) < 3 * this.#bounds.keptMax;
  }

  /** Leases that the session was not told to give back. */
  keptCount(session: number): number {
    return this.#table.keptCount(session);
  }

  /** Before it gets another. Error: busy. */
  check(session: number): void {
    const limit = 2 * this.#bounds.keptMax;
    if (this.#table.count(session) + this.#waitingOf(session) < limit) return;
    throw new BrineError("busy", `session ${session} has ${limit} leases and gives none back`);
  }

  /** One has come, or one that was recalled goes on. */
  added(session: number): void {
    if (this.keptCount(session) < this.#bounds.keptMax) return;
    let recalled = 0;
    for (const slot of this.#table.ofSession(session)) {
      if (this.#table.recalledFor(slot) === "exclusive") continue;
      this.#recalls.recall(slot, "exclusive");
      recalled += 1;
      if (recalled === this.#bounds.recalledAtOnce) return;
    }
  }
}
