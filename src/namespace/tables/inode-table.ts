/** Inodes, and the list of those that have lost their last name. */
import { encode } from "../../codec/schema.ts";
import { inodeKey, kept, numberOfKey, orphanKey, table, tableEnd, volumePrefix } from "../keys.ts";
import { type InodeRecord, inodeRecord } from "../model.ts";
import { decodeRow, volumeRow } from "../rows.ts";
import { type CountedState, scanUpTo } from "../state.ts";
import type { QuotaTable } from "./quota-table.ts";

/**
 * Decoded inodes that are kept: the directories in which work goes on and the files just made. Two maps take turns:
 * when the young one is full it becomes the old one, and what the old one held unused is forgotten.
 */
const cachedInodesMax = 4096;

interface CachedInode {
  readonly volume: number;
  readonly record: InodeRecord;
}

export class InodeTable {
  readonly #state: CountedState;
  readonly #quotas: QuotaTable;
  #young = new Map<number, CachedInode>();
  #old = new Map<number, CachedInode>();

  constructor(state: CountedState, quotas: QuotaTable) {
    this.#state = state;
    this.#quotas = quotas;
  }

  /** Records are shared: who wants to change one puts a changed copy. */
  get(volume: number, inode: number): InodeRecord | undefined {
    const cached = this.#young.get(inode) ?? this.#old.get(inode);
    // Inode numbers are unique in the cluster: one that is cached for another volume is not in this one.
    if (cached !== undefined) return cached.volume === volume ? cached.record : undefined;
    const key = inodeKey(volume, inode);
    const row = this.#state.get(key);
    if (row === undefined) return undefined;
    const record = decodeRow(inodeRecord, row, key);
    this.#remember(volume, record);
    return record;
  }

  /** One that is there. */
  put(volume: number, record: InodeRecord): void {
    this.#quotas.moved(volume, this.get(volume, record.attributes.inode), record);
    this.#write(volume, record);
  }

  /** A new one. */
  add(volume: number, record: InodeRecord): void {
    this.#quotas.moved(volume, undefined, record);
    this.#write(volume, record);
  }

  delete(volume: number, inode: number): void {
    this.#quotas.moved(volume, this.get(volume, inode), undefined);
    this.#state.delete(inodeKey(volume, inode));
    this.#young.delete(inode);
    this.#old.delete(inode);
  }

  isOrphan(inode: number): boolean {
    return this.#state.get(orphanKey(inode)) !== undefined;
  }

  addOrphan(volume: number, inode: number): void {
    this.#state.put(orphanKey(inode), encode(volumeRow, { volume }));
  }

  deleteOrphan(inode: number): void {
    this.#state.delete(orphanKey(inode));
  }

  orphans(after: number, limit: number): { volume: number; inode: number }[] {
    const rows = scanUpTo(this.#state, kept(orphanKey(after + 1)), tableEnd(table.orphan), limit);
    return rows.map(([key, row]) => ({ volume: decodeRow(volumeRow, row, key).volume, inode: numberOfKey(key) }));
  }

  /** Removes up to `limit` inodes of a volume, orphans too; returns their number. */
  removeOfVolume(volume: number, limit: number): number {
    const rows = scanUpTo(this.#state, volumePrefix(table.inode, volume), volumePrefix(table.inode, volume + 1), limit);
    for (const [key, row] of rows) {
      const { attributes } = decodeRow(inodeRecord, row, key);
      if (attributes.linkCount === 0) this.deleteOrphan(attributes.inode);
      this.delete(volume, attributes.inode);
    }
    return rows.length;
  }

  #write(volume: number, record: InodeRecord): void {
    this.#state.put(inodeKey(volume, record.attributes.inode), encode(inodeRecord, record));
    this.#remember(volume, record);
  }

  #remember(volume: number, record: InodeRecord): void {
    this.#young.set(record.attributes.inode, { volume, record });
    if (this.#young.size < cachedInodesMax) return;
    this.#old = this.#young;
    this.#young = new Map();
  }
}
