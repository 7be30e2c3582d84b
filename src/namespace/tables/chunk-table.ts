/**
 * Chunks: what files map, who owns a chunk, and what is to be deleted.
 *
 *     granted, unused ──map──► mapped ──unmap──► deletion list ──chunksDeleted──► gone
 *            │                                        ▲
 *            ├──discard───────────────────────────────┘
 *            └──session ends──► retired grant ──chunksDeleted──► gone
 *
 * A chunk is in exactly one of these places. A session may end with a million unused chunk ids: they are not moved to the
 * deletion list one by one, their grants are retired as they are, and both together are "the chunks to delete".
 */
import { encode } from "../../codec/schema.ts";
import { Grant } from "../grant.ts";
import {
  deletionKey,
  indexOfMappingKey,
  inodeOfKey,
  kept,
  mappingKey,
  numberOfKey,
  ownerKey,
  retiredKey,
  table,
  tableEnd,
  tableKey,
  volumePrefix,
} from "../keys.ts";
import type { Mapping } from "../model.ts";
import { chunkRow, decodeRow, type Owner, ownerRow } from "../rows.ts";
import { type CountedState, scanUpTo } from "../state.ts";
import type { HeaderRow } from "./header.ts";

const noValue = Buffer.alloc(0);

export class ChunkTable {
  readonly #state: CountedState;
  readonly #header: HeaderRow;

  constructor(state: CountedState, header: HeaderRow) {
    this.#state = state;
    this.#header = header;
  }

  /** The chunk at an index of a file, undefined for a hole. */
  mapped(volume: number, inode: number, index: number): number | undefined {
    const key = mappingKey(volume, inode, index);
    const row = this.#state.get(key);
    return row === undefined ? undefined : decodeRow(chunkRow, row, key).chunk;
  }

  /** Maps a chunk that is mapped nowhere at an index that is a hole. */
  map(volume: number, inode: number, index: number, chunk: number): void {
    this.#state.put(mappingKey(volume, inode, index), encode(chunkRow, { chunk }));
    this.#state.put(ownerKey(chunk), encode(ownerRow, { volume, inode, index }));
  }

  /** Makes a mapped index a hole; its chunk is to be deleted. */
  unmap(volume: number, inode: number, index: number, chunk: number): void {
    this.#state.delete(mappingKey(volume, inode, index));
    this.#state.delete(ownerKey(chunk));
    this.addDeletion(chunk);
  }

  /** Mappings of a file from an index on, in order. */
  mappings(volume: number, inode: number, from: number, limit: number): Mapping[] {
    const rows = scanUpTo(
      this.#state,
      kept(mappingKey(volume, inode, from)),
      kept(mappingKey(volume, inode + 1, 0)),
      limit,
    );
    return rows.map(([key, row]) => ({ index: indexOfMappingKey(key), chunk: decodeRow(chunkRow, row, key).chunk }));
  }

  owner(chunk: number): Owner | undefined {
    const key = ownerKey(chunk);
    const row = this.#state.get(key);
    return row === undefined ? undefined : decodeRow(ownerRow, row, key);
  }

  /** Mapped chunks with numbers in [from, to), in order. */
  mappedIn(from: number, to: number, limit: number): number[] {
    return scanUpTo(this.#state, kept(ownerKey(from)), kept(ownerKey(to)), limit).map(([key]) => numberOfKey(key));
  }

  isToDelete(chunk: number): boolean {
    return this.#state.get(deletionKey(chunk)) !== undefined || (this.retiredGrant(chunk)?.has(chunk) ?? false);
  }

  addDeletion(chunk: number): void {
    this.#state.put(deletionKey(chunk), noValue);
    this.#header.addChunksToDelete(1);
  }

  /** What is unused in the grant of a session that ended is to be deleted. */
  retire(grant: Grant): void {
    this.#state.put(retiredKey(grant.first), grant.encode());
    this.#header.addChunksToDelete(grant.unusedCount);
  }

  /** The chunk is deleted. One that was not to be deleted (any more) is left alone. */
  confirmDeleted(chunk: number): void {
    if (this.#state.get(deletionKey(chunk)) !== undefined) {
      this.#state.delete(deletionKey(chunk));
      this.#header.addChunksToDelete(-1);
      return;
    }
    const grant = this.retiredGrant(chunk);
    if (grant === undefined || !grant.has(chunk)) return;
    grant.use(chunk);
    this.#header.addChunksToDelete(-1);
    if (grant.unusedCount === 0) this.#state.delete(retiredKey(grant.first));
    else this.#state.put(retiredKey(grant.first), grant.encode());
  }

  /** The retired grant that covers a chunk. */
  retiredGrant(chunk: number): Grant | undefined {
    const [row] = this.#state.scan(tableKey(table.retired), retiredKey(chunk + 1), 1, true);
    if (row === undefined) return undefined;
    const grant = Grant.decode(row[1], row[0]);
    return grant.covers(chunk) ? grant : undefined;
  }

  /** Chunks to delete above `after`, in order. */
  toDelete(after: number, limit: number): number[] {
    const listed = scanUpTo(this.#state, kept(deletionKey(after + 1)), tableEnd(table.deletion), limit);
    const chunks = listed.map(([key]) => numberOfKey(key));
    const covering = this.retiredGrant(after);
    let grants = covering === undefined ? [] : [covering];
    let unusedCount = 0;
    let last = after;
    // Both kinds are ordered by chunk and disjoint: the lowest `limit` of their union are among the lowest of each.
    while (grants.length > 0 || unusedCount < limit) {
      for (const grant of grants) {
        const unused = grant.unused(after, limit - unusedCount);
        unusedCount += unused.length;
        for (const chunk of unused) chunks.push(chunk);
        last = Math.max(last, grant.first + grant.count - 1);
      }
      if (unusedCount >= limit) break;
      const rows = this.#state.scan(kept(retiredKey(last + 1)), tableEnd(table.retired), retiredRowsPerScan);
      if (rows.length === 0) break;
      grants = rows.map(([key, row]) => Grant.decode(row, key));
    }
    return chunks.sort((left, right) => left - right).slice(0, limit);
  }

  /** Unmaps up to `limit` chunks of a volume's files; returns their number. */
  removeOfVolume(volume: number, limit: number): number {
    const rows = scanUpTo(
      this.#state,
      volumePrefix(table.mapping, volume),
      volumePrefix(table.mapping, volume + 1),
      limit,
    );
    for (const [key, row] of rows) {
      this.unmap(volume, inodeOfKey(key), indexOfMappingKey(key), decodeRow(chunkRow, row, key).chunk);
    }
    return rows.length;
  }
}

/** A retired grant mostly holds hundreds of unused chunks: a few fill the answer. */
const retiredRowsPerScan = 8;
