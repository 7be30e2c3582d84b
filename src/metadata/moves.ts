/**
 * Copies that are to be made or given up (placement/plan-moves.ts): gathers what the plan depends on, and makes members that
 * are in sync stop serving a group before it goes on without them.
 *
 * Why before: a member that is in sync may be read. Once the group's next generation is committed, the others take writes in it; a
 * member that has not heard of it would go on answering readers who haven't either, with what was there before those
 * writes. To tell it first after the commit is not enough: the next leader, if this one dies in between, does not know that it
 * ever was a member.
 *
 * 1. The store is told that it leaves, and answers when it serves the group no more. One that doesn't answer is cut off, and the group
 *    stays as it is.
 * 2. The generation without it is committed. If that fails, the group can't be written until it succeeds: it is tried again.
 * 3. If the plan has changed before, the store is cut off: it serves the group again when it has registered anew.
 */
import { hasCode } from "../errors/brine-error.ts";
import type { GroupRecord, StoreRecord } from "../namespace/model.ts";
import { placeOf } from "../placement/failure-domains.ts";
import { isOrphaned } from "../placement/heir.ts";
import { copiesMissing, type Move, type PlannedStore, planMoves, type StoreRole } from "../placement/plan-moves.ts";
import { leaveGroups } from "../wire/catalogue/store.ts";
import type { Leader } from "./leader.ts";
import type { Stores } from "./stores.ts";

/** A store with less room gets no copies: it needs it for those that it has. */
const freeFractionMin = 0.05;

export class Moves {
  readonly #leader: Leader;
  readonly #stores: Stores;
  /** Members that serve a group no more: by store and group, the generation. */
  readonly #left = new Map<string, { store: number; group: number; generation: number }>();

  constructor(leader: Leader, stores: Stores) {
    this.#leader = leader;
    this.#stores = stores;
  }

  /** What can be committed now. */
  async next(): Promise<Move[]> {
    const groups = this.#leader.namespace.groups();
    const moves = planMoves(groups, this.planned(), isOrphaned);
    this.#takeBackOthers(groups, moves);
    const refused = new Set<number>();
    const leaving = new Map<number, GroupRecord[]>();
    for (const { group, leaving: stores } of moves) {
      for (const store of stores) leaving.set(store, [...(leaving.get(store) ?? []), group]);
    }
    await Promise.all(
      [...leaving].map(async ([store, left]) => {
        if (!(await this.#leave(store, left))) for (const { group } of left) refused.add(group);
      }),
    );
    return moves.filter(({ group }) => !refused.has(group.group));
  }

  /** What becomes of what a store has. */
  role(store: number): StoreRole {
    const record = this.#leader.namespace.stores().find((one) => one.store === store);
    return record === undefined ? "removed" : this.#roleOf(record);
  }

  /** Copies that are still to be made, of all groups. */
  get missing(): number {
    const stores = new Map(this.planned().map((store) => [store.store, store]));
    const storeOf = (store: number) => stores.get(store);
    return this.#leader.namespace.groups().reduce((sum, group) => sum + copiesMissing(group, storeOf), 0);
  }

  planned(): PlannedStore[] {
    return this.#leader.namespace.stores().map((record) => ({
      store: record.store,
      role: this.#roleOf(record),
      online: this.#stores.condition(record.store) === "online",
      ...placeOf(record),
    }));
  }

  #roleOf({ store, status }: StoreRecord): StoreRole {
    if (status === "removed") return "removed";
    const state = this.#stores.get(store);
    if (this.#stores.deadForMs(store) > this.#leader.timeouts.rebuildAfterMs) return "lost";
    if (status === "draining") return "leaves";
    const hasRoom = state !== undefined && state.freeBytes > state.totalBytes * freeFractionMin;
    if (!hasRoom || this.#stores.condition(store) !== "online") return "keeps";
    return status === "spare" ? "spare" : "takes";
  }

  /** True when the store serves the groups no more. */
  async #leave(store: number, groups: readonly GroupRecord[]): Promise<boolean> {
    const peer = this.#stores.peer(store);
    if (peer === undefined) return false;
    const body = { groups: groups.map(({ group, generation }) => ({ group, generation })) };
    for (const { group, generation } of groups) this.#left.set(`${store} ${group}`, { store, group, generation });
    try {
      await peer.request(leaveGroups, body, { timeoutMs: this.#leader.timeouts.leaveGroupsMs, urgent: true });
      // It serves them again if it has registered anew meanwhile.
      return this.#stores.peer(store) === peer;
    } catch (error) {
      if (this.#leader.lifetime.stopped) return false;
      if (!hasCode(error, "closed", "timedOut", "notServing")) throw error;
      this.#stores.revoke(store, peer, `it did not leave its groups: ${error.message}`);
      return false;
    }
  }

  #takeBackOthers(groups: readonly GroupRecord[], moves: readonly Move[]): void {
    const leaving = new Set(moves.flatMap((move) => move.leaving.map((store) => `${store} ${move.group.group}`)));
    const generations = new Map(groups.map(({ group, generation }) => [group, generation]));
    for (const [key, { store, group, generation }] of this.#left) {
      if (leaving.has(key)) continue;
      this.#left.delete(key);
      const peer = this.#stores.peer(store);
      if (generations.get(group) !== generation || peer === undefined) continue;
      this.#stores.revoke(store, peer, `it is needed in group ${group} after all`);
    }
  }
}
