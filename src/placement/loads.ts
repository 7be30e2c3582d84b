/** How many groups each store is in, of each pool and in all, and how many it is copying. */
import type { GroupRecord } from "../namespace/model.ts";

export class Loads {
  readonly #byPool = new Map<string, number>();
  readonly #totals = new Map<number, number>();
  readonly #pairs = new Map<string, number>();
  readonly #joins = new Map<number, number>();

  constructor(groups: readonly GroupRecord[]) {
    for (const group of groups) {
      for (const { store, state } of group.members) {
        this.#add(group, store, 1);
        if (state !== "inSync") add(this.#joins, store, 1);
        for (const other of group.members) if (store < other.store) add(this.#pairs, `${store} ${other.store}`, 1);
      }
    }
  }

  /** Groups of the pool to which the group belongs. */
  of({ volume, pool }: Pick<GroupRecord, "volume" | "pool">, store: number): number {
    return this.#byPool.get(`${volume} ${pool} ${store}`) ?? 0;
  }

  total(store: number): number {
    return this.#totals.get(store) ?? 0;
  }

  /** Groups of which it has no copy yet that is in sync. */
  joins(store: number): number {
    return this.#joins.get(store) ?? 0;
  }

  /** Groups that a store shares with these. */
  shared(store: number, others: readonly number[]): number {
    const key = (other: number) => `${Math.min(store, other)} ${Math.max(store, other)}`;
    return others.reduce((sum, other) => sum + (this.#pairs.get(key(other)) ?? 0), 0);
  }

  join(group: GroupRecord, store: number): void {
    this.#add(group, store, 1);
    add(this.#joins, store, 1);
    for (const other of group.members) {
      add(this.#pairs, `${Math.min(store, other.store)} ${Math.max(store, other.store)}`, 1);
    }
  }

  leave(group: GroupRecord, store: number): void {
    this.#add(group, store, -1);
  }

  #add({ volume, pool }: GroupRecord, store: number, count: number): void {
    add(this.#byPool, `${volume} ${pool} ${store}`, count);
    add(this.#totals, store, count);
  }
}

function add<K>(counts: Map<K, number>, key: K, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}
