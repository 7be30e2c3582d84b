/**
 * How far the making of copies is, for people: begun when the first was missing, over when none is. The end is where the pace
 * so far leads; copies that come to be missing meanwhile put it off.
 */
import { copiesUnderWay } from "../placement/plan-moves.ts";
import type { ClusterStatus } from "../wire/catalogue/admin.ts";
import type { Leader } from "./leader.ts";
import type { Stores } from "./stores.ts";

/** Before so much is done, the pace says nothing. */
const fractionMin = 0.02;
/** Without any progress for so long, the pace so far says nothing any more. */
const standstillMs = 30_000;

export class Healing {
  readonly #leader: Leader;
  readonly #stores: Stores;
  /** Since copies are missing: the most that were, and how many are. */
  #episode:
    | { readonly sinceMs: number; copies: number; missing: number; fraction: number; progressMs: number }
    | undefined;

  constructor(leader: Leader, stores: Stores) {
    this.#leader = leader;
    this.#stores = stores;
  }

  /** So many copies are missing now. Called again and again while some are. */
  noticed(missing: number): void {
    if (missing === 0) {
      this.#episode = undefined;
      return;
    }
    const nowMs = this.#leader.lifetime.nowMs();
    this.#episode ??= { sinceMs: nowMs, copies: missing, missing, fraction: 0, progressMs: nowMs };
    // More than before: what was done stays done.
    this.#episode.copies += Math.max(0, missing - this.#episode.missing);
    this.#episode.missing = missing;
    const { copies } = this.#episode;
    const fraction = Math.min(1, (copies - missing + this.#underWay().fractions) / copies);
    if (fraction > this.#episode.fraction) this.#episode.progressMs = nowMs;
    this.#episode.fraction = fraction;
  }

  status(): ClusterStatus["healing"] {
    if (this.#episode === undefined) return undefined;
    const { sinceMs, copies, missing, fraction, progressMs } = this.#episode;
    const nowMs = this.#leader.lifetime.nowMs();
    const forMs = nowMs - sinceMs;
    const mayTell = fraction >= fractionMin && nowMs - progressMs < standstillMs;
    const leftMs = mayTell ? Math.round((forMs / fraction) * (1 - fraction)) : undefined;
    const { copiedBytes } = this.#underWay();
    return {
      copies,
      missing,
      donePermille: Math.floor(fraction * 1000),
      forMs: Math.round(forMs),
      leftMs,
      copiedBytes,
    };
  }

  /** Of copies that are not finished. */
  #underWay(): { fractions: number; copiedBytes: number } {
    let fractions = 0;
    let copiedBytes = 0;
    const groups = new Map(this.#leader.namespace.groups().map((group) => [group.group, group]));
    for (const { store, catchUps } of this.#stores.all()) {
      for (const one of catchUps) {
        const group = groups.get(one.group);
        if (group === undefined || !copiesUnderWay(group).includes(store)) continue;
        fractions += group.nextNumber === 0 ? 0 : Math.min(1, one.position / group.nextNumber);
        copiedBytes += one.copiedBytes;
      }
    }
    return { fractions, copiedBytes };
  }
}
