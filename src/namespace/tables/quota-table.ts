/**
 * Usage and limits of a volume's quotas: all of them in memory, changed ones written with the batch. Usage is kept for each
 * user, group and directory with a quota, and for the volume, whether there is a limit or not: so a limit on a user holds from the
 * moment in which it is set. Nothing is refused here: clients have their grants (metadata/quota-grants.ts).
 *
 * A quota on a directory is its *tree*: all inodes that carry the directory's number. An existing tree is gone through a
 * directory at a time; those that are still to be looked at are rows of their own, so it goes on after a restart.
 */
import { encode } from "../../codec/schema.ts";
import {
  countingKey,
  directoryOfCountingKey,
  inodeOfKey,
  kept,
  quotaKey,
  table,
  tableEnd,
  tableKey,
  volumeOfKey,
  volumePrefix,
} from "../keys.ts";
import { type InodeRecord, type QuotaKind, type QuotaLimits, type QuotaRecord, quotaRecord } from "../model.ts";
import { countingRow, decodeRow } from "../rows.ts";
import { type CountedState, scanUpTo } from "../state.ts";
import { accountOf, allocatedBytes, hasLimits, isSameAccount } from "../usage.ts";

/** In keys. */
export const kindNumber: Readonly<Record<QuotaKind, number>> = { volume: 0, tree: 1, user: 2, group: 3 };

/** A directory whose entries behind `after` are still to be looked at. */
export interface Counting {
  readonly volume: number;
  readonly tree: number;
  readonly directory: number;
  readonly after: number;
}

const noLimits: QuotaLimits = { bytes: undefined, inodes: undefined };

export class QuotaTable {
  readonly #state: CountedState;
  readonly #volumes = new Map<number, Record<QuotaKind, Map<number, QuotaRecord>>>();
  readonly #changed = new Map<QuotaRecord, number>();

  constructor(state: CountedState) {
    this.#state = state;
    const all = Number.POSITIVE_INFINITY;
    for (const [key, row] of scanUpTo(state, tableKey(table.quota), tableEnd(table.quota), all)) {
      const record = decodeRow(quotaRecord, row, key);
      this.#of(volumeOfKey(key), record.subject.kind).set(record.subject.id, record);
    }
  }

  /** By kind and in no order beyond. Records must not be changed. */
  all(volume: number): QuotaRecord[] {
    const kinds = this.#volumes.get(volume);
    return kinds === undefined ? [] : Object.values(kinds).flatMap((records) => [...records.values()]);
  }

  get(volume: number, kind: QuotaKind, id: number): QuotaRecord | undefined {
    return this.#volumes.get(volume)?.[kind].get(id);
  }

  /** Directories with a quota. */
  trees(volume: number): QuotaRecord[] {
    return [...(this.#volumes.get(volume)?.tree.values() ?? [])];
  }

  setLimits(volume: number, kind: QuotaKind, id: number, limits: QuotaLimits): void {
    this.#change(volume, kind, id).limits = limits;
  }

  /** An inode's record was one and is another now. */
  moved(volume: number, before: InodeRecord | undefined, after: InodeRecord | undefined): void {
    if (before !== undefined && after !== undefined && isSameAccount(accountOf(before), accountOf(after))) {
      this.#add(volume, after, allocatedBytes(after.attributes) - allocatedBytes(before.attributes), 0);
      return;
    }
    if (before !== undefined) this.#add(volume, before, -allocatedBytes(before.attributes), -1);
    if (after !== undefined) this.#add(volume, after, allocatedBytes(after.attributes), 1);
  }

  /** Writes what has changed. What has neither usage nor limits goes, and so does a directory's quota that nothing counts for. */
  flush(): void {
    for (const [record, volume] of this.#changed) {
      const { subject, limits, bytes, inodes } = record;
      const key = quotaKey(volume, kindNumber[subject.kind], subject.id);
      const isLimited = subject.kind !== "tree" && hasLimits(limits);
      if (isLimited || bytes > 0 || inodes > 0) this.#state.put(key, encode(quotaRecord, record));
      else {
        this.#state.delete(key);
        this.#volumes.get(volume)?.[subject.kind].delete(subject.id);
      }
    }
    this.#changed.clear();
  }

  /** After its inodes have gone. */
  removeOfVolume(volume: number): void {
    for (const { subject } of this.all(volume)) {
      this.#state.delete(quotaKey(volume, kindNumber[subject.kind], subject.id));
    }
    for (const [record, of] of this.#changed) if (of === volume) this.#changed.delete(record);
    this.#volumes.delete(volume);
    const [from, to] = [volumePrefix(table.counting, volume), volumePrefix(table.counting, volume + 1)];
    for (const [key] of scanUpTo(this.#state, from, to, Number.POSITIVE_INFINITY)) this.#state.delete(key);
  }

  // --- counting of trees ---

  putCounting({ volume, tree, directory, after }: Counting): void {
    this.#state.put(countingKey(volume, tree, directory), encode(countingRow, { after }));
  }

  getCounting(volume: number, tree: number, directory: number): Counting | undefined {
    const key = countingKey(volume, tree, directory);
    const row = this.#state.get(key);
    if (row === undefined) return undefined;
    return { volume, tree, directory, after: decodeRow(countingRow, row, key).after };
  }

  deleteCounting(volume: number, tree: number, directory: number): void {
    this.#state.delete(countingKey(volume, tree, directory));
  }

  isCounting(volume: number, tree: number): boolean {
    const [from, to] = [kept(countingKey(volume, tree, 0)), kept(countingKey(volume, tree + 1, 0))];
    return this.#state.scan(from, to, 1).length > 0;
  }

  /** Directories that are to be looked at, of all volumes or of one. */
  counting(limit: number, volume?: number): Counting[] {
    const from = volume === undefined ? tableKey(table.counting) : volumePrefix(table.counting, volume);
    const to = volume === undefined ? tableEnd(table.counting) : volumePrefix(table.counting, volume + 1);
    return scanUpTo(this.#state, from, to, limit).map(([key, row]) => ({
      volume: volumeOfKey(key),
      tree: inodeOfKey(key),
      directory: directoryOfCountingKey(key),
      after: decodeRow(countingRow, row, key).after,
    }));
  }

  #add(volume: number, record: InodeRecord, bytes: number, inodes: number): void {
    if (bytes === 0 && inodes === 0) return;
    const { uid, gid, tree } = accountOf(record);
    this.#addTo(volume, "volume", 0, bytes, inodes);
    this.#addTo(volume, "user", uid, bytes, inodes);
    this.#addTo(volume, "group", gid, bytes, inodes);
    if (tree !== 0) this.#addTo(volume, "tree", tree, bytes, inodes);
  }

  #addTo(volume: number, kind: QuotaKind, id: number, bytes: number, inodes: number): void {
    const record = this.#change(volume, kind, id);
    record.bytes += bytes;
    record.inodes += inodes;
  }

  #change(volume: number, kind: QuotaKind, id: number): QuotaRecord {
    this.#state.changeCount += 1;
    const records = this.#of(volume, kind);
    let record = records.get(id);
    if (record === undefined) {
      record = { subject: { kind, id }, limits: noLimits, bytes: 0, inodes: 0 };
      records.set(id, record);
    }
    this.#changed.set(record, volume);
    return record;
  }

  #of(volume: number, kind: QuotaKind): Map<number, QuotaRecord> {
    let kinds = this.#volumes.get(volume);
    if (kinds === undefined) {
      kinds = { volume: new Map(), tree: new Map(), user: new Map(), group: new Map() };
      this.#volumes.set(volume, kinds);
    }
    return kinds[kind];
  }
}
