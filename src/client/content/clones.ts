/**
 * Chunks that share the blocks of another file's on the stores (copy_file_range(2)). Two steps, each under the lease of one
 * of both files: a new chunk is made of the source's (`make`), then it takes the place of what lies at its index in the target, in
 * one transaction (`map`). What is written later goes to one chunk alone: a store's records are never changed.
 */
import { isFull } from "../../errors/file-error.ts";
import { blockBytes, chunkBytes, groupOfChunk } from "../../namespace/model.ts";
import type { Operation } from "../waits.ts";
import type { Contents } from "./contents.ts";
import type { FileContent } from "./file-content.ts";
import { endOfRange } from "./range-lock.ts";
import { withinQuota } from "./within-quota.ts";

/** A chunk that nothing maps yet, with the blocks from its first one on. */
export interface Clone {
  readonly chunk: number;
  readonly blockCount: number;
  /** Blocks keep the versions that they have in the source: none has a later grant. */
  readonly versionGrant: number;
  readonly hasHoles: boolean;
}

export class Clones {
  readonly #contents: Contents;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  /**
   * Of the first blocks of the chunk at `index`, which lie within the file, for one of this pool. The lease is pinned. Undefined for a
   * hole, or if its group is of another pool, or the stores have no space. Errors: EIO.
   */
  async make(
    content: FileContent,
    index: number,
    blockCount: number,
    pool: number,
    operation: Operation,
  ): Promise<Clone | undefined> {
    const { blockWriter, ids, journal } = this.#contents;
    operation.waitsFor = "writes to the file that is copied";
    const unlock = await content.lock.lock(index * chunkBytes, (index + 1) * chunkBytes, false);
    try {
      operation.check();
      if (!content.map.knows(index)) await content.map.load(index);
      const source = content.map.get(index);
      if (source === undefined || content.size < index * chunkBytes + blockCount * blockBytes) return undefined;
      // What was written is on the stores then.
      await journal.committed(content.node.lastPosition, operation);
      const chunk = await ids.fetchChunkOf(groupOfChunk(source), pool, operation);
      if (chunk === undefined) return undefined;
      const { versionGrant, record } = content.node;
      try {
        await blockWriter.clone(chunk, source, blockCount, operation);
        return { chunk, blockCount, versionGrant, hasHoles: record.attributes.hasHoles };
      } catch (error) {
        this.discard({ chunk });
        if (isFull(error)) return undefined;
        throw error;
      }
    } finally {
      unlock();
    }
  }

  /**
   * The exclusive lease is pinned. False, and nothing is changed, if there is something that the file would have to keep
   * behind the blocks, or it ends before them.
   */
  async map(
    content: FileContent,
    index: number,
    { chunk, blockCount, versionGrant, hasHoles }: Clone,
    killPrivileges: boolean,
    operation: Operation,
  ): Promise<boolean> {
    operation.waitsFor = "other reads and writes of the file";
    const unlock = await content.lock.lock(0, endOfRange, true);
    try {
      operation.check();
      if (!content.map.knows(index)) await content.map.load(index);
      const { size, inode } = content;
      const start = index * chunkBytes;
      const end = start + blockCount * blockBytes;
      if (start > size || end < Math.min(size, start + chunkBytes)) return false;
      const mappings = [{ index, chunk }];
      const write = { kind: "write" as const, inode, mappings, end, killPrivileges };
      const { quotas, execute } = this.#contents;
      return await withinQuota(quotas, operation, () => {
        const { node } = content;
        const position = execute(node, write, undefined);
        // What is written to the chunk from now on is newer than what it has.
        node.versionGrant = Math.max(node.versionGrant, versionGrant);
        content.changedBy(position, size);
        content.replaceChunk(index, chunk, position);
        if (hasHoles) content.markHoles();
        return true;
      });
    } finally {
      unlock();
    }
  }

  /** It will never be mapped. */
  discard({ chunk }: Pick<Clone, "chunk">): void {
    this.#contents.ids.discardChunk(chunk);
  }
}
