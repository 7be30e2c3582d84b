/** All rows of a namespace's state, decoded. */
import { Grant } from "../grant.ts";
import {
  cookieOfKey,
  directoryOfCountingKey,
  indexOfMappingKey,
  inodeOfKey,
  nameOfEntryKey,
  numberOfKey,
  sequenceOfKey,
  table,
  tableEnd,
  tableKey,
  volumeOfKey,
} from "../keys.ts";
import {
  type EntryRecord,
  entryRecord,
  type GroupRecord,
  groupRecord,
  type InodeRecord,
  inodeRecord,
  type PlacementRecord,
  placementRecord,
  type QuotaRecord,
  quotaRecord,
  type SessionRecord,
  type SessionUser,
  type StoreRecord,
  sessionRecord,
  sessionUser,
  storeRecord,
  type VolumeRecord,
  volumeRecord,
} from "../model.ts";
import { chunkRow, cookieRow, decodeRow, type Header, headerRow, type Owner, ownerRow, volumeRow } from "../rows.ts";
import { type State, scanUpTo } from "../state.ts";

type StoredSession = Omit<SessionRecord, "inodeRanges" | "chunkRanges" | "user">;

export interface SnapshotEntry extends EntryRecord {
  readonly volume: number;
  readonly directory: number;
  readonly name: string;
}

export interface Snapshot {
  readonly header: Header;
  readonly volumes: Map<number, VolumeRecord>;
  /** By inode number, which is unique in the cluster. */
  readonly inodes: Map<number, { volume: number; record: InodeRecord }>;
  readonly entries: SnapshotEntry[];
  /** The same, from the index by cookie. */
  readonly cookies: SnapshotEntry[];
  readonly mappings: (Owner & { chunk: number })[];
  readonly owners: Map<number, Owner>;
  /** Orphans with their volume. */
  readonly orphans: Map<number, number>;
  readonly quotas: { volume: number; record: QuotaRecord }[];
  /** Directories that are being counted. */
  readonly counting: { volume: number; tree: number; directory: number }[];
  readonly deletions: number[];
  readonly retired: Grant[];
  readonly sessions: Map<number, StoredSession>;
  readonly users: Map<number, SessionUser>;
  readonly results: { session: number; sequence: number }[];
  readonly inodeGrants: { session: number; grant: Grant }[];
  readonly chunkGrants: { session: number; grant: Grant }[];
  readonly groups: Map<number, GroupRecord>;
  readonly stores: Map<number, StoreRecord>;
  /** By volume. */
  readonly placements: Map<number, PlacementRecord>;
  /** What is wrong with the rows as such. */
  readonly problems: string[];
}

export function readSnapshot(state: State): Snapshot {
  const rows = (number: (typeof table)[keyof typeof table]) =>
    scanUpTo(state, tableKey(number), tableEnd(number), Number.POSITIVE_INFINITY);
  const grants = (number: typeof table.inodeGrant | typeof table.chunkGrant) =>
    rows(number).map(([key, row]) => ({ session: numberOfKey(key), grant: Grant.decode(row, key) }));
  const [headerEntry] = rows(table.header);
  if (headerEntry === undefined) throw new Error("the state has no header: no batch was ever applied");
  return {
    header: decodeRow(headerRow, headerEntry[1], headerEntry[0]),
    volumes: new Map(
      rows(table.volume)
        .map(([key, row]) => decodeRow(volumeRecord, row, key))
        .map((one) => [one.volume, one]),
    ),
    inodes: new Map(
      rows(table.inode).map(([key, row]) => [
        inodeOfKey(key),
        { volume: volumeOfKey(key), record: decodeRow(inodeRecord, row, key) },
      ]),
    ),
    entries: rows(table.entry).map(([key, row]) => ({
      ...decodeRow(entryRecord, row, key),
      volume: volumeOfKey(key),
      directory: inodeOfKey(key),
      name: nameOfEntryKey(key),
    })),
    cookies: rows(table.cookie).map(([key, row]) => ({
      ...decodeRow(cookieRow, row, key),
      volume: volumeOfKey(key),
      directory: inodeOfKey(key),
      cookie: cookieOfKey(key),
    })),
    mappings: rows(table.mapping).map(([key, row]) => ({
      volume: volumeOfKey(key),
      inode: inodeOfKey(key),
      index: indexOfMappingKey(key),
      chunk: decodeRow(chunkRow, row, key).chunk,
    })),
    owners: new Map(rows(table.owner).map(([key, row]) => [numberOfKey(key), decodeRow(ownerRow, row, key)])),
    orphans: new Map(rows(table.orphan).map(([key, row]) => [numberOfKey(key), decodeRow(volumeRow, row, key).volume])),
    quotas: rows(table.quota).map(([key, row]) => ({
      volume: volumeOfKey(key),
      record: decodeRow(quotaRecord, row, key),
    })),
    counting: rows(table.counting).map(([key]) => ({
      volume: volumeOfKey(key),
      tree: inodeOfKey(key),
      directory: directoryOfCountingKey(key),
    })),
    deletions: rows(table.deletion).map(([key]) => numberOfKey(key)),
    retired: rows(table.retired).map(([key, row]) => Grant.decode(row, key)),
    sessions: new Map(rows(table.session).map(([key, row]) => [numberOfKey(key), decodeRow(sessionRecord, row, key)])),
    users: new Map(rows(table.sessionUser).map(([key, row]) => [numberOfKey(key), decodeRow(sessionUser, row, key)])),
    results: rows(table.result).map(([key]) => ({ session: numberOfKey(key), sequence: sequenceOfKey(key) })),
    inodeGrants: grants(table.inodeGrant),
    chunkGrants: grants(table.chunkGrant),
    groups: new Map(
      rows(table.group)
        .map(([key, row]) => decodeRow(groupRecord, row, key))
        .map((one) => [one.group, one]),
    ),
    stores: new Map(
      rows(table.store)
        .map(([key, row]) => decodeRow(storeRecord, row, key))
        .map((one) => [one.store, one]),
    ),
    placements: new Map(
      rows(table.placement).map(([key, row]) => [numberOfKey(key), decodeRow(placementRecord, row, key)]),
    ),
    problems: strayRows(state),
  };
}

/** Rows outside of all tables. */
function strayRows(state: State): string[] {
  const known = new Set<number>(Object.values(table));
  const stray: string[] = [];
  let from: Uint8Array = Buffer.of(0);
  for (;;) {
    const [row] = state.scan(from, Buffer.alloc(16, 0xff), 1);
    if (row === undefined) return stray;
    const number = row[0][0]!;
    if (!known.has(number)) stray.push(`a row of no table: ${Buffer.from(row[0]).toString("hex")}`);
    from = Buffer.of(number + 1);
  }
}
