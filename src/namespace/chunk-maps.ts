/** Changes of a file's chunk map that several operations share. */
import { FileError } from "../errors/file-error.ts";
import type { FileContext, FileTables } from "./context.ts";
import { blockBytes, chunkBytes, type InodeRecord, type Mapping } from "./model.ts";
import { scanRowsMax } from "./state.ts";

/** A mapping that was checked: what lay at its index before. */
export interface PlannedMapping extends Mapping {
  readonly previous: number | undefined;
}

/** Chunks that a file of this size can have: the indexes below this. */
export function chunksOfSize(sizeBytes: number): number {
  return Math.ceil(sizeBytes / chunkBytes);
}

/**
 * Checks mappings that a client sends. Each chunk is one that the session was granted and has not used; a chunk that is
 * mapped at this very index already is left as it is.
 * Errors: EINVAL for another chunk, an index outside the file, an index or chunk that comes twice.
 */
export function planMappings(
  context: FileContext,
  record: InodeRecord,
  mappings: readonly Mapping[],
  sizeBytes: number,
): PlannedMapping[] {
  const { tables, volume, session } = context;
  const planned: PlannedMapping[] = [];
  const below = chunksOfSize(sizeBytes);
  for (const { index, chunk } of mappings) {
    if (index >= below) throw new FileError("EINVAL", `chunk index ${index} is outside of the file`);
    if (planned.some((other) => other.index === index || other.chunk === chunk)) {
      throw new FileError("EINVAL", `chunk index ${index} or chunk ${chunk} comes twice`);
    }
    const previous = tables.chunks.mapped(volume, record.attributes.inode, index);
    if (previous === chunk) continue;
    if (!session.chunkGrants.has(chunk)) throw new FileError("EINVAL", `chunk ${chunk} is not the session's to map`);
    planned.push({ index, chunk, previous });
  }
  return planned;
}

/**
 * The chunk in which a file leaves whole blocks unwritten that becomes longer: its index, with a hole only if it is mapped. Undefined
 * if no block is passed over, or those of new chunks alone.
 * @param sizeBefore bytes
 * @param until offset in bytes at which the next block that is written begins, or the next write
 */
export function chunkPassedOver(sizeBefore: number, until: number): number | undefined {
  const end = Math.ceil(sizeBefore / blockBytes) * blockBytes;
  if (until < end + blockBytes || end % chunkBytes === 0) return undefined;
  return Math.floor(end / chunkBytes);
}

/** True if a file that becomes longer leaves blocks unwritten in the chunk in which its end lies now. */
export function leavesHole(context: FileContext, { attributes }: InodeRecord, sizeBytes: number): boolean {
  // Its last block is unwritten, too, where the file has only a part of it.
  const index = chunkPassedOver(attributes.size, Math.ceil(sizeBytes / blockBytes) * blockBytes);
  return index !== undefined && context.tables.chunks.mapped(context.volume, attributes.inode, index) !== undefined;
}

/** The record with the chunks that `applyMappings` will have added: what quotas are asked about before. */
export function withChunks(record: InodeRecord, planned: readonly PlannedMapping[]): InodeRecord {
  const added = planned.filter(({ previous }) => previous === undefined).length;
  if (added === 0) return record;
  return { ...record, attributes: { ...record.attributes, chunkCount: record.attributes.chunkCount + added } };
}

/** Maps what was planned; chunks that lay there before are to be deleted. Counts in `draft` and the volume. */
export function applyMappings(context: FileContext, draft: InodeRecord, planned: readonly PlannedMapping[]): void {
  const { tables, volume, session } = context;
  const inode = draft.attributes.inode;
  let added = 0;
  for (const { index, chunk, previous } of planned) {
    if (previous === undefined) added += 1;
    else tables.chunks.unmap(volume, inode, index, previous);
    session.chunkGrants.use(chunk);
    tables.chunks.map(volume, inode, index, chunk);
  }
  draft.attributes.chunkCount += added;
  tables.volumes.count(volume, 0, added);
}

/**
 * Unmaps chunks from an index on, up to `limit` of them, with indexes below `below`; they are to be deleted. Counts in `draft`
 * and the volume.
 */
export function unmapFrom(
  context: { readonly tables: Pick<FileTables, "chunks" | "volumes"> },
  volume: number,
  draft: InodeRecord,
  from: number,
  { limit = Number.POSITIVE_INFINITY, below = Number.POSITIVE_INFINITY } = {},
): number {
  const { chunks, volumes } = context.tables;
  const inode = draft.attributes.inode;
  let unmapped = 0;
  let next = from;
  while (unmapped < limit) {
    const wanted = Math.min(limit - unmapped, scanRowsMax);
    // Not from the start again: there a database would step over the rows that were just deleted, again and again.
    const mappings = chunks.mappings(volume, inode, next, wanted).filter(({ index }) => index < below);
    for (const { index, chunk } of mappings) {
      chunks.unmap(volume, inode, index, chunk);
      next = index + 1;
    }
    unmapped += mappings.length;
    if (mappings.length < wanted) break;
  }
  draft.attributes.chunkCount -= unmapped;
  if (draft.attributes.chunkCount === 0) draft.attributes.hasHoles = false;
  volumes.count(volume, 0, -unmapped);
  return unmapped;
}
