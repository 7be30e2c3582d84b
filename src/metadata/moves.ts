/**
 * Copies that are to be made or given up: gathers what the plan (placement/plan-moves.ts) depends on.
 */
import type { StoreRecord } from "../namespace/model.ts";
import { placeOf } from "../placement/failure-domains.ts";
import { isOrphaned } from "../placement/heir.ts";
import { lackingRoom } from "../placement/lacking-room.ts";
import { copiesMissing, type Move, type PlannedStore, planMoves, type StoreRole } from "../placement/plan-moves.ts";
import type { Leader } from "./leader.ts";
import type { Stores } from "./stores.ts";

/** A store with less room gets no copies: it needs it for those that it has. */
const freeFractionMin = 0.05;

export class Moves {
  readonly #leader: Leader;
  readonly #stores: Stores;

  constructor(leader: Leader, stores: Stores) {
    this.#leader = leader;
    this.#stores = stores;
  }

  /** The next step of each group that is to become another. */
  next(): Move[] {
    return planMoves(this.#leader.namespace.groups(), this.planned(), isOrphaned);
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

  /** Why some of them are not, as a sentence for people. */
  get problem(): string | undefined {
    const { copies, stores } = lackingRoom(this.#leader.namespace.groups(), this.planned());
    if (copies === 0) return undefined;
    const what = copies === 1 ? "1 copy" : `${copies} copies`;
    const who = stores.length === 1 ? `store ${stores[0]} has` : `stores ${stores.join(", ")} have`;
    const least = freeFractionMin * 100;
    return `${what} can't be made: ${who} too little room (less than ${least} % free), and no other may have them. Add a store, or delete files.`;
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
}
