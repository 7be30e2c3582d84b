/** Copies that are to be made and can't be, because every store that could have them is full. */
import type { GroupRecord } from "../namespace/model.ts";
import { type PlannedStore, roleIn, stays } from "./plan-moves.ts";

export interface LackingRoom {
  readonly copies: number;
  /** Full ones, by number. */
  readonly stores: readonly number[];
}

export function lackingRoom(groups: readonly GroupRecord[], stores: readonly PlannedStore[]): LackingRoom {
  const storeOf = new Map(stores.map((store) => [store.store, store]));
  const fullStores = new Set<number>();
  let copies = 0;
  for (const group of groups) {
    const members = new Set(group.members.map(({ store }) => store));
    const staying = [...members].filter((store) => storeOf.has(store) && stays(roleIn(group, storeOf.get(store)!)));
    if (staying.length >= group.replicas) continue;
    const others = stores.filter((store) => store.online && !members.has(store.store));
    const roles = others.map((store) => roleIn(group, store));
    // One that is online and takes nothing has no room.
    const full = others.filter((_, at) => roles[at] === "keeps");
    if (full.length === 0 || roles.some((role) => role === "takes" || role === "spare")) continue;
    copies += group.replicas - staying.length;
    for (const { store } of full) fullStores.add(store);
  }
  return { copies, stores: [...fullStores].sort((left, right) => left - right) };
}
