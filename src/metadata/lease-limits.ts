/** How many leases a session may have: above it, its oldest are recalled. */
import { BrineError } from "../errors/brine-error.ts";
import type { LeaseRecalls } from "./lease-recalls.ts";
import type { LeaseTable } from "./lease-table.ts";

/** Leases of one session. Clients keep at most 200,000 (and what is on its way); beyond it the oldest are recalled. */
export const leasesPerSessionMax = 262_144;
/** Recalled at once from a session that has too many. */
const recalledAtOnce = 4_096;
/** Where a session that gives nothing back gets nothing more: 20 MB. */
const leasesPerSessionLimit = 2 * leasesPerSessionMax;

export class LeaseLimits {
  readonly #table: LeaseTable;
  readonly #recalls: LeaseRecalls;
  /** Of sessions with too many leases: with how many the next ones are recalled. */
  readonly #nextTrim = new Map<number, number>();

  constructor(table: LeaseTable, recalls: LeaseRecalls) {
    this.#table = table;
    this.#recalls = recalls;
  }

  /** The session has so many leases that it gets none but those for which somebody waits. */
  isFull(session: number): boolean {
    return this.#table.count(session) >= leasesPerSessionMax;
  }

  /** Before it gets another. Error: busy. */
  check(session: number): void {
    if (this.#table.count(session) < leasesPerSessionLimit) return;
    throw new BrineError("busy", `session ${session} has ${leasesPerSessionLimit} leases and gives none back`);
  }

  added(session: number): void {
    const count = this.#table.count(session);
    if (count > (this.#nextTrim.get(session) ?? leasesPerSessionMax)) this.#trim(session, count);
  }

  removed(session: number): void {
    if (this.#nextTrim.size > 0 && this.#table.count(session) < leasesPerSessionMax) this.#nextTrim.delete(session);
  }

  #trim(session: number, count: number): void {
    this.#nextTrim.set(session, count + recalledAtOnce);
    let recalled = 0;
    for (const slot of this.#table.ofSession(session)) {
      if (this.#table.recalledFor(slot) !== undefined) continue;
      this.#recalls.recall(slot, "exclusive");
      recalled += 1;
      if (recalled === recalledAtOnce) return;
    }
  }
}
