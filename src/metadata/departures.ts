/**
 * Members in sync that are to leave a group while they may be serving it: they are made to stop before the group goes on without them.
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
 *
 * A store that can't be serving has stopped already. One that has lost its connection may serve on for a while; if it is about to register,
 * it is told on the connection on which it does, else its time is waited for.
 */
import { hasCode } from "../errors/brine-error.ts";
import type { GroupRecord } from "../namespace/model.ts";
import type { Move } from "../placement/plan-moves.ts";
import { leaveGroups } from "../wire/catalogue/store.ts";
import type { Peer } from "../wire/peer.ts";
import type { Leader } from "./leader.ts";
import type { Stores } from "./stores.ts";

interface Departure {
  readonly store: number;
  readonly group: number;
  readonly generation: number;
  /** On which it was told. */
  readonly peer: Peer;
}

export class Departures {
  readonly #leader: Leader;
  readonly #stores: Stores;
  /** Members that serve a group no more, by store and group. */
  readonly #left = new Map<string, Departure>();
  /** Stores that are not taken in before they have left groups. */
  readonly #registering = new Map<number, Peer>();

  constructor(leader: Leader, stores: Stores) {
    this.#leader = leader;
    this.#stores = stores;
  }

  /** A store that is about to register can be told on this connection until `work` ends. */
  async whileRegistering(store: number, peer: Peer, work: () => Promise<void>): Promise<void> {
    this.#registering.set(store, peer);
    try {
      await work();
    } finally {
      if (this.#registering.get(store) === peer) this.#registering.delete(store);
    }
  }

  /** Those that can be committed: who leaves by them serves no more. */
  async before(moves: readonly Move[]): Promise<Move[]> {
    const refused = new Set<number>();
    const leaving = new Map<number, GroupRecord[]>();
    for (const { group, leaving: stores } of moves) {
      for (const store of stores) leaving.set(store, [...(leaving.get(store) ?? []), group]);
    }
    await Promise.all(
      [...leaving].map(async ([store, groups]) => {
        if (!(await this.#leave(store, groups))) for (const { group } of groups) refused.add(group);
      }),
    );
    return moves.filter(({ group }) => !refused.has(group.group));
  }

  /** Only these are still to leave: the others serve their groups again. */
  takeBackOthers(moves: readonly Move[]): void {
    const leaving = new Set(moves.flatMap((move) => move.leaving.map((store) => keyOf(store, move.group.group))));
    const groups = this.#leader.namespace.groups();
    const generations = new Map(groups.map(({ group, generation }) => [group, generation]));
    for (const [key, { store, group, generation, peer }] of this.#left) {
      if (leaving.has(key)) continue;
      const isOver = generations.get(group) !== generation || peer.closed;
      // One that is still about to register on it has its turn when it has.
      if (!isOver && this.#stores.peer(store) !== peer) continue;
      this.#left.delete(key);
      if (!isOver) this.#stores.revoke(store, peer, `it is needed in group ${group} after all`);
    }
  }

  /** True when the store serves the groups no more. */
  async #leave(store: number, groups: readonly GroupRecord[]): Promise<boolean> {
    const peer = this.#peer(store);
    if (peer === undefined) return false;
    const body = { groups: groups.map(({ group, generation }) => ({ group, generation })) };
    for (const { group, generation } of groups) {
      this.#left.set(keyOf(store, group), { store, group, generation, peer });
    }
    try {
      await peer.request(leaveGroups, body, { timeoutMs: this.#leader.timeouts.leaveGroupsMs, urgent: true });
      // It serves them again if it has registered anew meanwhile.
      return this.#peer(store) === peer;
    } catch (error) {
      if (this.#leader.lifetime.stopped) return false;
      if (!hasCode(error, "closed", "timedOut", "notServing")) throw error;
      const reason = `it did not leave its groups: ${error.message}`;
      this.#stores.revoke(store, peer, reason);
      peer.close(reason);
      return false;
    }
  }

  /** Over which the store is heard: what it says last counts. */
  #peer(store: number): Peer | undefined {
    return this.#registering.get(store) ?? this.#stores.peer(store);
  }
}

function keyOf(store: number, group: number): string {
  return `${store} ${group}`;
}
