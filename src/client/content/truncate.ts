/**
 * Setting the size of a file, under its exclusive lease and with the whole file locked.
 *
 * Growing: the gap is made zeros (extend.ts), then the size is set.
 *
 * Shrinking: chunks behind the new end are unmapped by the transaction; what is dirty of them goes out all the same, because
 * the journal's earlier entries map them. The chunk in which the new end lies must not be zeroed in place: before the
 * transaction that would destroy visible bytes if the client died, after it the old bytes would be there for a while. So
 * it is replaced by a new chunk, which the transaction maps together with the new size:
 *
 * - few bytes that are all here: they are laid into the new chunk as dirty blocks, and nobody waits;
 * - else 1. everything before is committed, 2. the new chunk gets the whole blocks up to the end (a clone, which shares
 *   them, where an id of the same group is at hand; else a copy), 3. the last, partial block with a zeroed tail becomes dirty.
 *
 * If there is no space for the replacement, the old chunk stays mapped: bytes behind the end are undefined anyway, and a
 * full disk must not keep anybody from shrinking a file.
 */
import { FileError, isFull } from "../../errors/file-error.ts";
import type { Attributes } from "../../namespace/model.ts";
import { blockBytes, chunkBytes, fileBytesMax, groupOfChunk } from "../../namespace/model.ts";
import type { OperationOf } from "../../namespace/operation.ts";
import { ifItFails } from "../soon.ts";
import type { Operation } from "../waits.ts";
import type { ChunkView } from "./chunk-view.ts";
import type { Contents } from "./contents.ts";
import type { FileContent } from "./file-content.ts";
import { ceilBlock } from "./offsets.ts";
import { endOfRange } from "./range-lock.ts";
import { giveGrantsBack, needOf, type Run, takeGrants } from "./run.ts";
import { withinQuota } from "./within-quota.ts";

/** Blocks copied with one request: 1 MiB, as the largest write. */
const copiedBlocksMax = 256;
/** Up to here copying what is here is less work than asking the stores for a clone. */
const copiedHereMax = 256 * 1024;

/** The size alone is set. */
export const noOtherChange = {
  mode: undefined,
  uid: undefined,
  gid: undefined,
  atime: undefined,
  mtime: undefined,
  ctime: undefined,
  killPrivileges: false,
} as const;

/** The rest of the attributes that are set together with the size. */
export type SizeChange = Omit<OperationOf<"setAttributes">, "kind" | "inode" | "mappings"> & { readonly size: number };

export class Truncater {
  readonly #contents: Contents;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  /** Errors: EFBIG, ENOSPC (growing over bytes that have to be zeroed), EDQUOT, EIO. */
  async setSize(content: FileContent, change: SizeChange, operation: Operation): Promise<Attributes> {
    operation.waitsFor = "other reads and writes of the file";
    const unlock = await content.lock.lock(0, endOfRange, true);
    try {
      return await this.setSizeLocked(content, change, operation);
    } finally {
      unlock();
    }
  }

  /** The same; the caller has the whole file locked. */
  async setSizeLocked(content: FileContent, change: SizeChange, operation: Operation): Promise<Attributes> {
    if (change.size > fileBytesMax) throw new FileError("EFBIG");
    operation.check();
    // The rule unmaps what it sees.
    const lastIndex = Math.ceil(Math.max(content.size, change.size, 1) / chunkBytes) - 1;
    if (!content.map.knows(lastIndex)) await content.map.load(lastIndex);
    if (change.size < content.size) await this.#shrink(content, change, operation);
    else {
      const gap =
        change.size > content.size ? await this.#contents.extender.gapOf(content, change.size, operation) : [];
      await this.#change(content, change, undefined, gap, operation);
    }
    return content.node.record.attributes;
  }

  async #shrink(content: FileContent, change: SizeChange, operation: Operation): Promise<void> {
    const { size } = change;
    const index = Math.floor(size / chunkBytes);
    const before = size % chunkBytes === 0 ? undefined : content.view(index);
    const made = before === undefined ? undefined : await this.#replace(content, before, size, operation);
    const replaced =
      made !== undefined && (await this.#changeReplacing(content, change, made.view, made.runs, operation))
        ? made.view
        : undefined;
    if (replaced === undefined) await this.#change(content, change, undefined, [], operation);
    content.cutViews(Math.ceil(size / chunkBytes));
    content.map.cut(Math.ceil(size / chunkBytes));
    if (before === undefined) return;
    const wholeBlocks = Math.floor((size % chunkBytes) / blockBytes);
    if (replaced !== undefined) this.#move(before, replaced, wholeBlocks);
    else {
      before.isZeroBehindEnd = false;
      before.cut(wholeBlocks, Number.POSITIVE_INFINITY);
    }
  }

  /** With a new chunk. False if the stores have no room for what it needs: nothing has changed. */
  async #changeReplacing(
    content: FileContent,
    change: SizeChange,
    view: ChunkView,
    runs: readonly Run[],
    operation: Operation,
  ): Promise<boolean> {
    try {
      await this.#change(content, change, view, runs, operation);
      return true;
    } catch (error) {
      if (view.mappedAt === 0) this.#contents.ids.discardChunk(view.chunk);
      if (view.mappedAt === 0 && isFull(error)) return false;
      throw error;
    }
  }

  /** Runs the rule, with blocks that have to be durable before it is committed. */
  async #change(
    content: FileContent,
    change: SizeChange,
    mapped: ChunkView | undefined,
    runs: readonly Run[],
    operation: Operation,
  ): Promise<void> {
    const { journal, quotas, space, throughWriter } = this.#contents;
    operation.waitsFor = "the leader, to grant space";
    const grants = await takeGrants(space, runs.map(needOf));
    if (grants === undefined) {
      await journal.committed(journal.position, operation);
      await throughWriter.writeRuns(content, runs, operation);
    }
    const position = await ifItFails(
      () => withinQuota(quotas, operation, () => this.#place(content, change, mapped, runs, grants)),
      (error) => {
        if (grants !== undefined) giveGrantsBack(space, runs.map(needOf), grants);
        throw error;
      },
    );
    if (grants === undefined) await journal.committed(position, operation);
  }

  /** In one turn. Returns the position in the journal. */
  #place(
    content: FileContent,
    change: SizeChange,
    mapped: ChunkView | undefined,
    runs: readonly Run[],
    grants: readonly number[] | undefined,
  ): number {
    const { size, inode } = content;
    const mappings = mapped === undefined ? [] : [{ index: mapped.index, chunk: mapped.chunk }];
    const isBack = runs.length > 0 && grants !== undefined;
    const mark = isBack ? content.dirty.place() : 0;
    let position: number;
    try {
      const set = { kind: "setAttributes", inode, mappings, ...change } as const;
      position = this.#contents.execute(content.node, set, isBack ? { content, mark, effect: "both" } : undefined);
    } catch (error) {
      if (isBack) content.dirty.placed();
      throw error;
    }
    content.changedBy(position, size);
    if (mapped !== undefined) mapped.mappedAt = position;
    for (const [index, { view, first, span, changedFrom }] of runs.entries()) {
      if (grants === undefined) break;
      const after = content.afterOf(view, changedFrom, position);
      content.put(view, first, span, { mark, position, after }, grants[index]!);
    }
    if (isBack) content.written();
    return position;
  }

  /** What the old chunk had here of the blocks that stay is now the new one's. */
  #move(before: ChunkView, view: ChunkView, wholeBlocks: number): void {
    for (const piece of before.between(0, wholeBlocks)) {
      if (piece.dirt !== undefined) continue;
      const stop = Math.min(piece.end, wholeBlocks);
      const bytes = piece.bytes.subarray(0, (stop - piece.first) * blockBytes);
      view.fill(piece.first, { bytes, slab: piece.slab });
    }
    before.cut(0, Number.POSITIVE_INFINITY);
    view.content.adopt(view, view.mappedAt);
  }

  /** A new chunk for the one in which the new end lies, and what it still needs; undefined if there is no space for it. */
  async #replace(
    content: FileContent,
    before: ChunkView,
    size: number,
    operation: Operation,
  ): Promise<{ view: ChunkView; runs: Run[] } | undefined> {
    const keptBytes = size % chunkBytes;
    const { journal, ids } = this.#contents;
    const isHere = () => !before.isStored || before.gaps(0, ceilBlock(keptBytes) / blockBytes).length === 0;
    if (keptBytes <= copiedHereMax && isHere()) {
      const taken = ids.takeChunk(operation, before.index === 0, content.pool);
      const chunk = typeof taken === "number" ? taken : await taken;
      // What has become clean meanwhile may have left the cache.
      if (isHere()) return this.#copyHere(content, before, keptBytes, chunk);
      ids.giveBackChunk(chunk, content.pool);
    }
    await journal.committed(content.node.lastPosition, operation);
    const near = ids.takeChunkOf(groupOfChunk(before.chunk), content.pool);
    const chunk = near ?? (await ids.takeChunk(operation, before.index === 0, content.pool));
    const wholeBlocks = Math.floor(keptBytes / blockBytes);
    const view = content.newView(before.index, chunk, wholeBlocks > 0);
    try {
      if (wholeBlocks > 0) {
        if (near !== undefined) await this.#contents.blockWriter.clone(chunk, before.chunk, wholeBlocks, operation);
        else await this.#copyHead(content, before, chunk, wholeBlocks, operation);
      }
      const run = await this.#tailOf(content, before, view, keptBytes, operation);
      operation.check();
      return { view, runs: run === undefined ? [] : [run] };
    } catch (error) {
      ids.discardChunk(chunk);
      if (isFull(error)) return undefined;
      throw error;
    }
  }

  /** All bytes that stay, as blocks to be written. */
  #copyHere(
    content: FileContent,
    before: ChunkView,
    keptBytes: number,
    chunk: number,
  ): { view: ChunkView; runs: Run[] } {
    const view = content.newView(before.index, chunk, false);
    const span = this.#contents.pool.allocate(ceilBlock(keptBytes));
    span.bytes.fill(0);
    for (const piece of before.between(0, ceilBlock(keptBytes) / blockBytes)) {
      piece.bytes.copy(span.bytes, piece.first * blockBytes);
    }
    span.bytes.fill(0, keptBytes);
    return { view, runs: [{ view, first: 0, span, changedFrom: before.index * chunkBytes }] };
  }

  async #copyHead(
    content: FileContent,
    before: ChunkView,
    chunk: number,
    wholeBlocks: number,
    operation: Operation,
  ): Promise<void> {
    const { blockReader, blockWriter } = this.#contents;
    for (let from = 0; from < wholeBlocks; from += copiedBlocksMax) {
      const count = Math.min(copiedBlocksMax, wholeBlocks - from);
      const pieces = await blockReader.read(before.chunk, from, count, operation);
      await blockWriter.write(content, chunk, from, pieces, operation);
    }
  }

  /** The last block that the file keeps, with zeros behind its end; undefined if it keeps it whole. */
  async #tailOf(
    content: FileContent,
    before: ChunkView,
    view: ChunkView,
    keptBytes: number,
    operation: Operation,
  ): Promise<Run | undefined> {
    const tailBytes = keptBytes % blockBytes;
    if (tailBytes === 0) return undefined;
    const first = Math.floor(keptBytes / blockBytes);
    const bytes = await this.#contents.reader.blocks(content, before.index, first, first + 1, operation);
    bytes.fill(0, tailBytes);
    const span = this.#contents.pool.wrap(bytes);
    return { view, first, span, changedFrom: before.index * chunkBytes };
  }
}
