/**
 * The namespace: a deterministic state machine without I/O. In: committed transactions, with time and ids in them. Out:
 * results, and the changed rows in an ordered map. The same transactions give the same rows, on every server.
 *
 * The map is a checkpoint of the ledger: it holds the index that it has applied up to, in the same commit as everything
 * else. So its owner commits between calls of `applyBatch`, never within, and replays the ledger from `appliedIndex + 1`.
 *
 *     operations/   the rules, one file an operation      tables/   rows with types, and what of them is in memory
 *     apply.ts      exactly once                          keys.ts   the order of rows
 */
import { decode, encode } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import { FileError } from "../errors/file-error.ts";
import { applyTransaction } from "./apply.ts";
import { table, tableEnd, tableKey } from "./keys.ts";
import type {
  EntryRecord,
  GroupRecord,
  InodeRecord,
  Mapping,
  PlacementRecord,
  QuotaRecord,
  QuotaSubject,
  Range,
  SessionRecord,
  StoreRecord,
  VolumeRecord,
} from "./model.ts";
import { firstChunkOf } from "./model.ts";
import type { Result, Transaction } from "./operation.ts";
import { formatRow, formatVersion, type Owner } from "./rows.ts";
import { CountedState, type State } from "./state.ts";
import type { ListedEntry } from "./tables/entry-table.ts";
import type { Counting } from "./tables/quota-table.ts";
import { Tables } from "./tables/tables.ts";

export type { State } from "./state.ts";
export type { ListedEntry } from "./tables/entry-table.ts";

/** What `mappings` answers for the end of a file: every index below it was spoken of. */
export const mappedToEnd = 2 ** 32 - 1;

/** Directories above each other that `pathOf` walks through: far more than a path of PATH_MAX bytes has. */
const pathDepthMax = 10_000;

export class Namespace {
  readonly #state: CountedState;
  readonly #tables: Tables;
  /** Set when a batch could not be applied to its end: the tables then hold half of it. */
  #broken = false;

  /** Errors: BrineError versionMismatch for a state of another format version, internal for a damaged one. */
  constructor(state: State) {
    checkFormat(state);
    this.#state = new CountedState(state);
    this.#tables = new Tables(this.#state);
  }

  /** Index of the last batch applied; 0 before the first. */
  get appliedIndex(): number {
    return this.#tables.header.appliedIndex;
  }

  /**
   * Applies the batch at `index`, which must be `appliedIndex + 1`, and returns the result of each transaction. Throws only
   * for a damaged state or a defect; the Namespace is of no use then, and nothing more must be committed.
   */
  applyBatch(index: number, transactions: readonly Transaction[]): Result[] {
    if (this.#broken) throw new BrineError("internal", "an earlier batch was not applied to its end");
    if (index !== this.appliedIndex + 1) {
      throw new BrineError("internal", `batch ${index} can't follow batch ${this.appliedIndex}`);
    }
    this.#broken = true;
    const results = transactions.map((transaction) => applyTransaction(this.#tables, this.#state, transaction));
    this.#tables.header.appliedIndex = index;
    this.#tables.flush();
    this.#broken = false;
    return results;
  }

  // --- inodes and directories ---

  /** An inode, orphans included. The record must not be changed. */
  inode(volume: number, inode: number): InodeRecord | undefined {
    return this.#tables.inodes.get(volume, inode);
  }

  /** Errors: FileError ENOENT (the directory is gone), ENOTDIR. */
  lookup(volume: number, directory: number, name: string): EntryRecord | undefined {
    this.#directory(volume, directory);
    return this.#tables.entries.get(volume, directory, name);
  }

  /**
   * Entries with a cookie above `after` (0: from the start), at most `limit`, in the order of cookies. A removed directory
   * has none. Errors: FileError ENOENT (the directory is gone), ENOTDIR.
   */
  readDirectory(volume: number, directory: number, after: number, limit: number): ListedEntry[] {
    this.#directory(volume, directory);
    return this.#tables.entries.list(volume, directory, after, limit);
  }

  /**
   * Up to `limit` mappings of a file from index `from` on. `mappedBelow` is the first index that they don't speak of, or
   * `mappedToEnd`; an index below it that isn't among them is a hole.
   */
  mappings(volume: number, inode: number, from: number, limit: number): { mappings: Mapping[]; mappedBelow: number } {
    const mappings = this.#tables.chunks.mappings(volume, inode, from, limit);
    const last = mappings.at(-1);
    const mappedBelow = mappings.length < limit || last === undefined ? mappedToEnd : last.index + 1;
    return { mappings, mappedBelow };
  }

  /** The name of a directory's entry. */
  entryName(volume: number, directory: number, cookie: number): string | undefined {
    return this.#tables.entries.at(volume, directory, cookie)?.name;
  }

  /** Path in the volume, for people; undefined for an orphan, or a file whose youngest name was removed again. */
  pathOf(volume: number, inode: number): string | undefined {
    const names: string[] = [];
    const root = this.#tables.volumes.get(volume)?.root;
    let current = inode;
    while (current !== root) {
      const record = this.inode(volume, current);
      if (record === undefined || names.length >= pathDepthMax) return undefined;
      const entry = this.#tables.entries.at(volume, record.parent, record.parentCookie);
      if (entry?.inode !== current) return undefined;
      names.push(entry.name);
      current = record.parent;
    }
    return `/${names.reverse().join("/")}`;
  }

  /** Inodes without a name, with a number above `after`, in the order of numbers. */
  orphans(after: number, limit: number): { volume: number; inode: number }[] {
    return this.#tables.inodes.orphans(after, limit);
  }

  // --- quotas ---

  /** Usage of everything that has some, with its limits. Records must not be changed. */
  quotas(volume: number): QuotaRecord[] {
    return this.#tables.quotas.all(volume);
  }

  quota(volume: number, { kind, id }: QuotaSubject): QuotaRecord | undefined {
    return this.#tables.quotas.get(volume, kind, id);
  }

  /** Directories whose entries are still to be counted, of all volumes or of one. */
  quotaCounting(limit: number, volume?: number): Counting[] {
    return this.#tables.quotas.counting(limit, volume);
  }

  /** Whether what is in the directory is still being counted, or taken out of a quota that has ended. */
  isCountingQuota(volume: number, tree: number): boolean {
    return this.#tables.quotas.isCounting(volume, tree);
  }

  // --- chunks ---

  /** Chunks above `after` that the stores should delete, in order. */
  chunksToDelete(after: number, limit: number): number[] {
    return this.#tables.chunks.toDelete(after, limit);
  }

  get chunksToDeleteCount(): number {
    return this.#tables.header.chunksToDelete;
  }

  /** Chunks of a group that files map, above `after`, in order. */
  mappedChunks(group: number, after: number, limit: number): number[] {
    const first = Math.max(firstChunkOf(group), after + 1);
    return this.#tables.chunks.mappedIn(first, firstChunkOf(group + 1), limit);
  }

  /** Mapped, to be deleted, or granted and not used yet: else a store that has it has it for nothing, for ever. */
  isChunkKnown(chunk: number): boolean {
    const { chunks, sessions } = this.#tables;
    if (chunks.owner(chunk) !== undefined || chunks.isToDelete(chunk)) return true;
    return sessions.all().some((session) => session.chunkGrants.has(chunk));
  }

  /** The file and index that a chunk is mapped at. */
  chunkOwner(chunk: number): Owner | undefined {
    return this.#tables.chunks.owner(chunk);
  }

  /** Chunks of a range above `after` that an open session was granted there, or an ended one, and never used. */
  unmappedChunksOf(range: Range, after: number, limit: number): number[] {
    const end = range.first + range.count;
    const inRange = (chunk: number): boolean => chunk >= range.first && chunk < end;
    for (const session of this.#tables.sessions.all()) {
      const grant = session.chunkGrants.all.find((candidate) => candidate.covers(range.first));
      if (grant !== undefined) return grant.unused(Math.max(after, range.first - 1), limit).filter(inRange);
    }
    const retired = this.#tables.chunks.retiredGrant(range.first);
    return retired?.unused(Math.max(after, range.first - 1), limit).filter(inRange) ?? [];
  }

  // --- volumes, sessions, groups, stores: few, and in memory ---

  /** Also those that are being deleted. */
  volumes(): VolumeRecord[] {
    return this.#tables.volumes.all();
  }

  volume(volume: number): VolumeRecord | undefined {
    return this.#tables.volumes.get(volume);
  }

  /** Not one that is being deleted. */
  volumeByName(name: string): VolumeRecord | undefined {
    return this.#tables.volumes.byName(name);
  }

  /** Live views: their fields change with later batches. */
  sessions(): SessionRecord[] {
    return this.#tables.sessions.all();
  }

  session(session: number): SessionRecord | undefined {
    return this.#tables.sessions.get(session);
  }

  /** Whether the session was granted this inode number and has not used it. */
  mayCreate(session: number, inode: number): boolean {
    return this.#tables.sessions.get(session)?.inodeGrants.has(inode) ?? false;
  }

  /** The result of a transaction that was applied and that the client has not confirmed. */
  storedResult(session: number, sequence: number): Result | undefined {
    const record = this.#tables.sessions.get(session);
    return record === undefined ? undefined : this.#tables.sessions.resultOf(record, sequence);
  }

  /** Every session that was ever opened has a number below this one. */
  get sessionsBelow(): number {
    return this.#tables.header.peek("nextSession");
  }

  /** Every group that was ever made has a number below this one. */
  get groupsBelow(): number {
    return this.#tables.header.peek("nextGroup");
  }

  groups(): GroupRecord[] {
    return this.#tables.groups.groups();
  }

  /** Of members that are not in sync now: the last generation in which they were; 0: in none. */
  lastInSync(group: number, store: number): number {
    return this.#tables.groups.lastInSync(group).find((one) => one.store === store)?.generation ?? 0;
  }

  stores(): StoreRecord[] {
    return this.#tables.groups.stores();
  }

  placement(volume: number): PlacementRecord {
    return this.#tables.placements.get(volume);
  }

  #directory(volume: number, inode: number): void {
    const record = this.inode(volume, inode);
    if (record === undefined) throw new FileError("ENOENT");
    if (record.attributes.type !== "directory") throw new FileError("ENOTDIR");
  }
}

/** Accepts a state of this format version and makes an empty one its own. Older ones are refused. */
function checkFormat(state: State): void {
  const row = state.get(tableKey(table.format));
  if (row === undefined) {
    if (state.scan(tableKey(table.format), tableEnd(table.lastInSync), 1).length > 0) {
      throw new BrineError("internal", "the namespace's state has rows but no format version");
    }
    state.put(tableKey(table.format), encode(formatRow, { version: formatVersion }));
    return;
  }
  const { version } = decode(formatRow, row);
  if (version === formatVersion) return;
  throw new BrineError(
    "versionMismatch",
    `the namespace's state has format version ${version}, this program knows version ${formatVersion}`,
    { advice: adviceFor(version) },
  );
}

function adviceFor(version: number): string {
  if (version > formatVersion) return "use the newer brinefs that wrote it";
  return "use the brinefs that wrote it, or copy the files into a new cluster with that one: there is no upgrade";
}
