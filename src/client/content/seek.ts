/**
 * Where data and holes lie (lseek(2) with SEEK_DATA and SEEK_HOLE), under the shared lease. What the chunk map doesn't name is a
 * hole. Of the other chunks the stores know which blocks of 4 KiB have data: not those that were never written, nor most that are
 * zeros. What is dirty here they may not have yet.
 */
import { isZeros } from "../../codec/zeros.ts";
import { blockBytes, blocksPerChunk, chunkBytes } from "../../namespace/model.ts";
import type { Operation } from "../waits.ts";
import { LostBlock } from "./block-reader.ts";
import type { ChunkView } from "./chunk-view.ts";
import type { Contents } from "./contents.ts";
import type { FileContent } from "./file-content.ts";

export interface Sought {
  /** In bytes. */
  readonly offset: number;
  readonly what: "data" | "hole";
  /** Chunks that are mapped count as data from their beginning to their end: no store is asked. */
  readonly wholeChunks?: boolean;
}

const [hole, data] = [0, 1];

export class Seeker {
  readonly #contents: Contents;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  /**
   * Where it begins, at or behind the offset. The end of the file counts as a hole; undefined: there is no data, or the offset
   * is not in the file. Errors: EIO (the session has ended).
   */
  async seek(content: FileContent, sought: Sought, operation: Operation): Promise<number | undefined> {
    const { offset, what } = sought;
    if (offset >= content.size) return undefined;
    await content.map.load(Math.ceil(content.size / chunkBytes) - 1);
    const end = () => (what === "hole" ? content.size : undefined);
    for (let index = Math.floor(offset / chunkBytes); index * chunkBytes < content.size; index++) {
      if (what === "data") index = content.map.mappings(index, 1)[0]?.index ?? Number.POSITIVE_INFINITY;
      const start = index * chunkBytes;
      if (start >= content.size) break;
      const from = Math.max(offset, start);
      const blocks = await this.#blocksOf(content, index, sought, operation);
      const block = blocks.indexOf(what === "data" ? data : hole, Math.floor((from - start) / blockBytes));
      if (block < 0) continue;
      const place = Math.max(from, start + block * blockBytes);
      return place < content.size ? place : end();
    }
    return end();
  }

  /** What each block of a chunk is. */
  async #blocksOf(
    content: FileContent,
    index: number,
    { wholeChunks }: Sought,
    operation: Operation,
  ): Promise<Uint8Array> {
    const chunk = content.map.get(index);
    const blocks = new Uint8Array(blocksPerChunk);
    if (chunk === undefined) return blocks.fill(hole);
    if (wholeChunks === true) return blocks.fill(data);
    const view = content.viewIfAny(index);
    const dirty = dirtyBlocks(view);
    if (view?.isStored !== false) await this.#markStored(chunk, blocks, operation);
    for (const [block, what] of dirty) blocks[block] = what;
    return blocks;
  }

  async #markStored(chunk: number, blocks: Uint8Array, operation: Operation): Promise<void> {
    try {
      for (const { firstBlock, blockCount } of await this.#contents.blockReader.findStored(chunk, operation)) {
        blocks.fill(data, firstBlock, firstBlock + blockCount);
      }
    } catch (error) {
      // Nobody knows it any more: whoever reads it is told.
      if (!(error instanceof LostBlock)) throw error;
      blocks.fill(data);
    }
  }
}

/** What each of those blocks is that the stores may not have as they are now. */
function dirtyBlocks(view: ChunkView | undefined): Map<number, number> {
  const found = new Map<number, number>();
  for (const { first, end, dirt, bytes } of view?.between(0, blocksPerChunk) ?? []) {
    if (dirt === undefined) continue;
    for (let block = first; block < end; block++) {
      found.set(block, isZeros(bytes, (block - first) * blockBytes, blockBytes) ? hole : data);
    }
  }
  return found;
}
