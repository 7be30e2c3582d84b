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

/** Since copies are missing. */
interface Episode {
  readonly sinceMs: number;
  /** The most that were missing, and how many are. */
  copies: number;
  missing: number;
  /** Of copies that are not finished. */
  copiedBytes: number;
  /** Done, of all, and when that was last less. */
  fraction: number;
  progressMs: number;
}

export class Healing {
  readonly #leader: Leader;
  readonly #stores: Stores;
  #episode: Episode | undefined;

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
    this.#episode ??= { sinceMs: nowMs, copies: missing, missing, copiedBytes: 0, fraction: 0, progressMs: nowMs };
    const episode = this.#episode;
    // More than before: what was done stays done.
    episode.copies += Math.max(0, missing - episode.missing);
    episode.missing = missing;
    const { fractions, copiedBytes } = this.#underWay();
    episode.copiedBytes = copiedBytes;
    const fraction = Math.min(1, (episode.copies - missing + fractions) / episode.copies);
    if (fraction > episode.fraction) episode.progressMs = nowMs;
    episode.fraction = fraction;
  }

  status(): ClusterStatus["healing"] {
    if (this.#episode === undefined) return undefined;
    const { sinceMs, copies, missing, copiedBytes, fraction, progressMs } = this.#episode;
    const nowMs = this.#leader.lifetime.nowMs();
    const forMs = nowMs - sinceMs;
    const mayTell = fraction >= fractionMin && nowMs - progressMs < standstillMs;
    const leftMs = mayTell ? Math.round((forMs / fraction) * (1 - fraction)) : undefined;
    const donePermille = Math.floor(fraction * 1000);
    return { copies, missing, donePermille, forMs: Math.round(forMs), leftMs, copiedBytes };
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
