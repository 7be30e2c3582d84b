/**
 * Writes that have no grant of space: they go to the stores before they return, and so find out whether there is room.
 *
 * 1. Everything that this client has done before is committed. So nothing of the file is dirty, and bytes that are
 *    overwritten now come after all that was done before.
 * 2. What it adds to quotas is set aside: what is refused must not have changed anything.
 * 3. The blocks go to all members; a member that is full makes it ENOSPC, and what others have is taken back
 *    (block-writer.ts). If only a later part of a write finds no space, the earlier ones stand and the write is short.
 * 4. The transaction, and it returns when that is committed.
 *
 * If a new chunk's write fails, its id is never mapped: it is discarded.
 */
import { FileError, isFull } from "../../errors/file-error.ts";
import { blockBytes, groupOfChunk } from "../../namespace/model.ts";
import type { Operation } from "../waits.ts";
import { BufferPool } from "./buffer-pool.ts";
import type { ChunkView } from "./chunk-view.ts";
import type { Contents } from "./contents.ts";
import type { FileContent } from "./file-content.ts";
import type { Run } from "./run.ts";
import { reserveForWrite, withinQuota } from "./within-quota.ts";
import { type FilePart, haveLeftHole, loadEdges, mappingsOf } from "./write-part.ts";

/** ENOSPC, because the chunk's group has no room. Others may have. */
export class ChunkFull extends FileError {
  /** In the file; undefined for a chunk that was to be a new one. */
  readonly index: number | undefined;
  /** It was known before, and no other group was any better. */
  readonly wasKnown: boolean;

  constructor({ message }: FileError, chunk: { index: number | undefined; wasKnown: boolean }) {
    super("ENOSPC", message);
    this.index = chunk.index;
    this.wasKnown = chunk.wasKnown;
  }
}

interface Prepared {
  readonly parts: readonly FilePart[];
  readonly gap: readonly Run[];
}

export class ThroughWriter {
  readonly #contents: Contents;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  /**
   * Returns the bytes written. The caller has the blocks locked. New chunks that may have got something are marked as
   * stored, also when it fails. Errors: ENOSPC (ChunkFull), EDQUOT, EIO, superseded.
   */
  async write(
    content: FileContent,
    prepared: Prepared,
    killPrivileges: boolean,
    operation: Operation,
  ): Promise<number> {
    const { journal, quotas } = this.#contents;
    await journal.committed(journal.position, operation);
    const range = { from: prepared.parts[0]!.offset, to: prepared.parts.at(-1)!.end };
    const release = await reserveForWrite(quotas, content, range, operation);
    try {
      for (;;) {
        const edges = loadEdges(this.#contents, content, prepared.parts, operation);
        if (edges === undefined) break;
        await edges;
      }
      operation.check();
      return await this.#writeReady(content, prepared, killPrivileges, release, operation);
    } finally {
      release();
    }
  }

  /** @param release gives back what is set aside of quotas */
  async #writeReady(
    content: FileContent,
    { parts, gap }: Prepared,
    killPrivileges: boolean,
    release: () => void,
    operation: Operation,
  ): Promise<number> {
    const { journal, ids, quotas, execute } = this.#contents;
    const { size, inode } = content;
    // Memory of its own: the caller may be gone before the stores have answered, and a store may answer late.
    const memory = new BufferPool();
    const sources = parts.map((part) => part.assemble(memory).bytes);
    await this.writeRuns(content, gap, operation);
    const mapped = new Set<FilePart>();
    try {
      const written = await this.#writeParts(content, parts, sources, operation);
      const end = written.at(-1)!.end;
      const write = { kind: "write", inode, mappings: mappingsOf(written), end, killPrivileges } as const;
      const position = await withinQuota(quotas, operation, () => {
        release();
        const executed = execute(content.node, write, undefined);
        content.changedBy(executed, size);
        for (const part of written) {
          mapped.add(part);
          if (part.isNew) content.adopt(part.view, executed);
        }
        if (haveLeftHole(content, written, size)) content.markHoles();
        return executed;
      });
      await journal.committed(position, operation);
      for (const { isNew, view } of parts.slice(written.length)) {
        if (isNew && !view.isStored) ids.giveBackChunk(view.chunk, content.pool);
      }
      return end - parts[0]!.offset;
    } finally {
      // Ids of what was not tried are given back: here where the write is short, else by the caller.
      for (const part of parts) {
        if (part.isNew && part.view.isStored && !mapped.has(part)) ids.discardChunk(part.view.chunk);
      }
    }
  }

  /** Blocks of which nobody sees anything yet. Everything before is committed. Errors: ENOSPC, EIO, superseded. */
  async writeRuns(content: FileContent, runs: readonly Run[], operation: Operation): Promise<void> {
    for (const { view, first, span } of runs) {
      const end = first + span.bytes.byteLength / blockBytes;
      await this.#writeBlocks(content, view, first, end, span.bytes, operation);
    }
  }

  /**
   * The parts from the first on that were written: one after the other, for what is behind one without space must not change. Throws if
   * not even the first was, or for other reasons than space.
   */
  async #writeParts(
    content: FileContent,
    parts: readonly FilePart[],
    sources: readonly Buffer[],
    operation: Operation,
  ): Promise<readonly FilePart[]> {
    for (const [index, { view, firstBlock, endBlock }] of parts.entries()) {
      try {
        await this.#writeBlocks(content, view, firstBlock, endBlock, sources[index]!, operation);
      } catch (error) {
        if (index === 0 || !isFull(error)) throw error;
        return parts.slice(0, index);
      }
    }
    return parts;
  }

  async #writeBlocks(
    content: FileContent,
    view: ChunkView,
    first: number,
    end: number,
    bytes: Buffer,
    operation: Operation,
  ): Promise<void> {
    const wasKnown = this.#contents.space.roomIn(groupOfChunk(view.chunk)) === "none";
    content.outdate(view, first, end);
    view.isStored = true;
    try {
      await this.#contents.blockWriter.write(content, view.chunk, first, [bytes], operation);
    } catch (error) {
      if (!isFull(error)) throw error;
      const index = content.map.get(view.index) === view.chunk ? view.index : undefined;
      throw new ChunkFull(error, { index, wasKnown });
    } finally {
      content.outdate(view, first, end);
      view.drop(first, end);
    }
  }
}
