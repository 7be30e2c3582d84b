/**
 * Which group new chunk ids come from: groups take turns, each the more often the more room its members have, so that disks of
 * different sizes get full at about the same time.
 *
 * Who asks may use the ids much later. So a group with little room is passed over while others have more, and what it has is for
 * the chunks that are there.
 *
 * The namespace knows nothing of free space: the leader names the group in the operation that it puts into the ledger.
 */
import type { GroupRecord } from "../namespace/model.ts";
import type { Operation } from "../namespace/operation.ts";
import { grantedCount, usableGroups } from "../namespace/operations/grant-chunks.ts";
import type { Leader } from "./leader.ts";

/** On a store: what is not granted, above what has grants recalled; and what it said last to be free. */
export interface StoreRoom {
  readonly ampleBytes: number;
  readonly freeBytes: number;
}

export class GroupTurns {
  readonly #leader: Leader;
  readonly #roomOn: (stores: ReadonlySet<number>) => ReadonlyMap<number, StoreRoom>;
  /** Turns that a group should have had by now and hasn't: parts of one, or less than none. */
  readonly #owed = new Map<number, number>();

  constructor(leader: Leader, roomOn: (stores: ReadonlySet<number>) => ReadonlyMap<number, StoreRoom>) {
    this.#leader = leader;
    this.#roomOn = roomOn;
  }

  /** The operation as it goes to the ledger; as it is if no group is known to have room. */
  named(volume: number, operation: Operation): Operation {
    if (operation.kind !== "grantChunks") return operation;
    const { count, pool } = operation;
    const group = this.#next(volume, pool, grantedCount(count));
    return group === undefined ? operation : { kind: "grantChunksOf", count, pool, group };
  }

  /** Each gets its share of a turn; who is owed the most has the turn (smooth weighted round-robin). */
  #next(volume: number, pool: number, count: number): number | undefined {
    const groups = usableGroups(this.#leader.namespace.groups(), { volume, pool, count });
    const weights = this.#weightsOf(groups);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    if (total === 0) return undefined;
    let chosen: number | undefined;
    let most = Number.NEGATIVE_INFINITY;
    for (const [index, { group }] of groups.entries()) {
      const share = weights[index]! / total;
      if (share === 0) continue;
      const owed = (this.#owed.get(group) ?? 0) + share;
      this.#owed.set(group, owed);
      if (owed > most) [chosen, most] = [group, owed];
    }
    this.#owed.set(chosen!, most - 1);
    return chosen;
  }

  /** By ample room; where nobody has any, by what is free. */
  #weightsOf(groups: readonly GroupRecord[]): number[] {
    const writable = groups.map(({ members }) => members.filter(({ state }) => state !== "behind"));
    const rooms = this.#roomOn(new Set(writable.flat().map(({ store }) => store)));
    const weighBy = (pick: (room: StoreRoom) => number): number[] =>
      // The product: of two groups with the same small disk the one whose other disks are larger has more turns.
      writable.map((members) => members.reduce((product, { store }) => product * pick(rooms.get(store)!), 1));
    const ample = weighBy(({ ampleBytes }) => ampleBytes);
    return ample.some((weight) => weight > 0) ? ample : weighBy(({ freeBytes }) => freeBytes);
  }
}
