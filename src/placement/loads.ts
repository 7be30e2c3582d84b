/** How many groups each store is in, of each volume and in all, and how many it is copying. */
import type { GroupRecord } from "../namespace/model.ts";

export class Loads {
  readonly #byVolume = new Map<string, number>();
  readonly #totals = new Map<number, number>();
  readonly #pairs = new Map<string, number>();
  readonly #joins = new Map<number, number>();

  constructor(groups: readonly GroupRecord[]) {
    for (const group of groups) {
      for (const { store, state } of group.members) {
        this.#add(group.volume, store, 1);
        if (state !== "inSync") add(this.#joins, store, 1);
        for (const other of group.members) if (store < other.store) add(this.#pairs, `${store} ${other.store}`, 1);
      }
    }
  }

  of(volume: number, store: number): number {
    return this.#byVolume.get(`${volume} ${store}`) ?? 0;
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

  join({ volume, members }: GroupRecord, store: number): void {
    this.#add(volume, store, 1);
    add(this.#joins, store, 1);
    for (const other of members) {
      add(this.#pairs, `${Math.min(store, other.store)} ${Math.max(store, other.store)}`, 1);
    }
  }

  leave({ volume }: GroupRecord, store: number): void {
    this.#add(volume, store, -1);
  }

  #add(volume: number, store: number, count: number): void {
    add(this.#byVolume, `${volume} ${store}`, count);
    add(this.#totals, store, count);
  }
}

function add<K>(counts: Map<K, number>, key: K, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count);
}
