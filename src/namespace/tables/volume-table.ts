/** Volumes: all of them in memory, changed ones written with the batch, because every create changes a counter. */
import { encode } from "../../codec/schema.ts";
import { table, tableEnd, tableKey, volumeKey } from "../keys.ts";
import { type VolumeRecord, volumeRecord } from "../model.ts";
import { decodeRow } from "../rows.ts";
import { type CountedState, scanUpTo } from "../state.ts";

export class VolumeTable {
  readonly #state: CountedState;
  readonly #volumes = new Map<number, VolumeRecord>();
  readonly #changed = new Set<number>();

  constructor(state: CountedState) {
    this.#state = state;
    const rows = scanUpTo(state, tableKey(table.volume), tableEnd(table.volume), Number.POSITIVE_INFINITY);
    for (const [key, row] of rows) {
      const volume = decodeRow(volumeRecord, row, key);
      this.#volumes.set(volume.volume, volume);
    }
  }

  /** In the order in which they were made. Records are never changed, but replaced. */
  all(): VolumeRecord[] {
    return [...this.#volumes.values()];
  }

  get(volume: number): VolumeRecord | undefined {
    return this.#volumes.get(volume);
  }

  /** The volume of this name that isn't deleted. */
  byName(name: string): VolumeRecord | undefined {
    for (const volume of this.#volumes.values()) if (volume.name === name && !volume.deleted) return volume;
    return undefined;
  }

  put(record: VolumeRecord): void {
    this.#state.changeCount += 1;
    this.#volumes.set(record.volume, record);
    this.#changed.add(record.volume);
  }

  /** Adds to a volume's counters. */
  count(volume: number, inodes: number, chunks: number): void {
    if (inodes === 0 && chunks === 0) return;
    const record = this.#volumes.get(volume)!;
    this.put({ ...record, inodeCount: record.inodeCount + inodes, chunkCount: record.chunkCount + chunks });
  }

  delete(volume: number): void {
    this.#volumes.delete(volume);
    this.#changed.delete(volume);
    this.#state.delete(volumeKey(volume));
  }

  flush(): void {
    for (const volume of this.#changed) {
      this.#state.put(volumeKey(volume), encode(volumeRecord, this.#volumes.get(volume)!));
    }
    this.#changed.clear();
  }
}
