/** Mirror groups and stores: all of them in memory. */
import { encode } from "../../codec/schema.ts";
import { groupKey, lastInSyncKey, storeKey, table, tableEnd, tableKey, turnKey } from "../keys.ts";
import { defaultFailureDomain, type GroupRecord, groupRecord, type StoreRecord, storeRecord } from "../model.ts";
import { decodeRow, groupRow, type LastInSync, lastInSyncRow } from "../rows.ts";
import { type CountedState, scanUpTo } from "../state.ts";

export class GroupTable {
  readonly #state: CountedState;
  readonly #groups = new Map<number, GroupRecord>();
  readonly #stores = new Map<number, StoreRecord>();

  constructor(state: CountedState) {
    this.#state = state;
    const all = Number.POSITIVE_INFINITY;
    for (const [key, row] of scanUpTo(state, tableKey(table.group), tableEnd(table.group), all)) {
      const group = decodeRow(groupRecord, row, key);
      this.#groups.set(group.group, group);
    }
    for (const [key, row] of scanUpTo(state, tableKey(table.store), tableEnd(table.store), all)) {
      const store = decodeRow(storeRecord, row, key);
      this.#stores.set(store.store, store);
    }
  }

  /** By number. Records are never changed, but replaced. */
  groups(): GroupRecord[] {
    return [...this.#groups.values()];
  }

  group(group: number): GroupRecord | undefined {
    return this.#groups.get(group);
  }

  putGroup(record: GroupRecord): void {
    this.#groups.set(record.group, record);
    this.#state.put(groupKey(record.group), encode(groupRecord, record));
  }

  /** Members that were in sync once and are no more. */
  lastInSync(group: number): LastInSync {
    const key = lastInSyncKey(group);
    const row = this.#state.get(key);
    return row === undefined ? [] : decodeRow(lastInSyncRow, row, key).members;
  }

  putLastInSync(group: number, members: LastInSync): void {
    if (members.length > 0) this.#state.put(lastInSyncKey(group), encode(lastInSyncRow, { members }));
    else if (this.lastInSync(group).length > 0) this.#state.delete(lastInSyncKey(group));
  }

  /** By number. */
  stores(): StoreRecord[] {
    return [...this.#stores.values()];
  }

  store(store: number): StoreRecord | undefined {
    return this.#stores.get(store);
  }

  storeOfServer(serverId: string): StoreRecord | undefined {
    for (const store of this.#stores.values()) if (store.serverId === serverId) return store;
    return undefined;
  }

  putStore(record: StoreRecord): void {
    this.#stores.set(record.store, record);
    this.#state.put(storeKey(record.store), encode(storeRecord, record));
  }

  /** Those of a volume, by number. */
  groupsOf(volume: number): GroupRecord[] {
    return this.groups().filter((group) => group.volume === volume);
  }

  /** The group of this pool that got the last grant; 0 before the first. */
  lastTurn(volume: number, pool: number): number {
    const key = turnKey(volume, pool);
    const row = this.#state.get(key);
    return row === undefined ? 0 : decodeRow(groupRow, row, key).group;
  }

  putLastTurn(volume: number, pool: number, group: number): void {
    this.#state.put(turnKey(volume, pool), encode(groupRow, { group }));
  }

  /** A volume is gone: another one may take its groups over. */
  release(volume: number): void {
    for (const group of this.groupsOf(volume)) {
      this.putGroup({ ...group, volume: 0, pool: 0, labels: [], failureDomain: defaultFailureDomain });
      this.#state.delete(turnKey(volume, group.pool));
    }
  }
}
