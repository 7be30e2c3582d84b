/** Where files of volumes go: all of it in memory. A volume for which nothing was said has no row. */
import { encode } from "../../codec/schema.ts";
import { numberOfKey, placementKey, table, tableEnd, tableKey } from "../keys.ts";
import { defaultFailureDomain, type PlacementRecord, placementRecord } from "../model.ts";
import { decodeRow } from "../rows.ts";
import { type CountedState, scanUpTo } from "../state.ts";

const nothingSaid: PlacementRecord = { version: 0, failureDomain: defaultFailureDomain, pools: [], rules: [] };

export class PlacementTable {
  readonly #state: CountedState;
  readonly #records = new Map<number, PlacementRecord>();

  constructor(state: CountedState) {
    this.#state = state;
    const rows = scanUpTo(state, tableKey(table.placement), tableEnd(table.placement), Number.POSITIVE_INFINITY);
    for (const [key, row] of rows) this.#records.set(numberOfKey(key), decodeRow(placementRecord, row, key));
  }

  /** Records are never changed, but replaced. */
  get(volume: number): PlacementRecord {
    return this.#records.get(volume) ?? nothingSaid;
  }

  hasPool(volume: number, pool: number): boolean {
    return pool === 0 || this.get(volume).pools.some((one) => one.pool === pool);
  }

  put(volume: number, record: PlacementRecord): void {
    this.#records.set(volume, record);
    this.#state.put(placementKey(volume), encode(placementRecord, record));
  }

  /** The volume is gone. */
  release(volume: number): void {
    if (!this.#records.delete(volume)) return;
    this.#state.delete(placementKey(volume));
  }
}
