/**
 * Setting the size of a file, under its exclusive lease and with the whole file locked.
 *
 * Growing: the gap is made zeros (extend.ts), then the size is committed.
 *
 * Shrinking: chunks behind the new end are unmapped by the transaction. The chunk in which the new end lies must not be
 * zeroed in place: before the transaction that would destroy visible bytes if the client died, after it the old bytes
 * would be there for a while. So it is replaced: 1. a new chunk gets the whole blocks up to the end (a clone, which
 * shares them, where an id of the same group is at hand; else a copy), 2. then the last, partial block with a zeroed
 * tail, and 3. the transaction maps it together with the new size. The old chunk is deleted with all that was behind the
 * end in it.
 *
 * If there is no space for the replacement, the old chunk stays mapped: bytes behind the end are undefined anyway, and a
 * full disk must not keep anybody from shrinking a file.
 */
import { FileError } from "../../errors/file-error.ts";
import type { Attributes } from "../../namespace/model.ts";
import { blockBytes, chunkBytes, fileBytesMax, groupOfChunk, type Mapping } from "../../namespace/model.ts";
import type { OperationOf } from "../../namespace/operation.ts";
import type { BlockReader } from "./block-reader.ts";
import type { BlockWriter } from "./block-writer.ts";
import type { Extender } from "./extend.ts";
import type { Ids } from "../ids.ts";
import type { InodeData } from "./inode-data.ts";
import { joinPieces } from "./pieces.ts";
import { endOfRange } from "./range-lock.ts";
import { expectResult } from "../results.ts";
import type { Transactions } from "../transactions.ts";
import type { Operation } from "../waits.ts";

/** Blocks copied with one request: 1 MiB, as the largest write. */
const copiedBlocksMax = 256;

/** The rest of the attributes that are set together with the size. */
export type SizeChange = Omit<OperationOf<"setAttributes">, "kind" | "inode" | "mappings"> & { readonly size: number };

export class Truncater {
  readonly #reader: BlockReader;
  readonly #writer: BlockWriter;
  readonly #extender: Extender;
  readonly #ids: Ids;
  readonly #transactions: Transactions;

  constructor(parts: {
    reader: BlockReader;
    writer: BlockWriter;
    extender: Extender;
    ids: Ids;
    transactions: Transactions;
  }) {
    this.#reader = parts.reader;
    this.#writer = parts.writer;
    this.#extender = parts.extender;
    this.#ids = parts.ids;
    this.#transactions = parts.transactions;
  }

  /** Errors: EFBIG, ENOSPC (growing over bytes that have to be zeroed), those of the transaction. */
  async setSize(data: InodeData, change: SizeChange, operation: Operation): Promise<Attributes> {
    if (change.size > fileBytesMax) throw new FileError("EFBIG");
    operation.waitsFor = "other reads and writes of the file";
    const unlock = await data.lock.lock(0, endOfRange, true);
    try {
      operation.check();
      data.readAhead.clear();
      if (change.size > data.size) await this.#extender.zeroGap(data, change.size, operation);
      const replaced = change.size < data.size ? await this.#replace(data, change.size, operation) : undefined;
      const mappings: Mapping[] = replaced === undefined ? [] : [replaced];
      operation.waitsFor = "leader.transact";
      const { inode } = data;
      const result = await this.#transactions.submit({ kind: "setAttributes", inode, mappings, ...change });
      if (result.kind === "failed" && replaced !== undefined) this.#ids.discardChunk(replaced.chunk);
      const { attributes } = expectResult(result, "attributes");
      data.map.cut(Math.ceil(change.size / chunkBytes));
      if (replaced !== undefined) data.map.set(replaced.index, replaced.chunk);
      data.size = change.size;
      return attributes;
    } finally {
      data.readAhead.clear();
      unlock();
    }
  }

  /** A new chunk for the one in which the new end lies; undefined if there is none, or no space for it. */
  async #replace(data: InodeData, size: number, operation: Operation): Promise<Mapping | undefined> {
    const index = Math.floor(size / chunkBytes);
    const keptBytes = size % chunkBytes;
    if (keptBytes === 0) return undefined;
    await data.map.load(index);
    const old = data.map.get(index);
    if (old === undefined) return undefined;
    const near = this.#ids.takeChunkOf(groupOfChunk(old));
    const chunk = near ?? (await this.#ids.takeChunk(operation));
    const wholeBlocks = Math.floor(keptBytes / blockBytes);
    try {
      if (near !== undefined) await this.#writer.clone(chunk, old, wholeBlocks, operation);
      else await this.#copyHead(data, old, chunk, wholeBlocks, operation);
      await this.#copyTail(data, old, chunk, keptBytes, operation);
      return { index, chunk };
    } catch (error) {
      this.#ids.discardChunk(chunk);
      if (error instanceof FileError && error.code === "ENOSPC") return undefined;
      throw error;
    }
  }

  async #copyHead(
    data: InodeData,
    old: number,
    chunk: number,
    wholeBlocks: number,
    operation: Operation,
  ): Promise<void> {
    for (let from = 0; from < wholeBlocks; from += copiedBlocksMax) {
      const count = Math.min(copiedBlocksMax, wholeBlocks - from);
      const pieces = await this.#reader.read(old, from, count, operation);
      await this.#writer.write(data, chunk, from, { pieces }, operation);
    }
  }

  /** The last block that the file keeps, with zeros behind its end. */
  async #copyTail(data: InodeData, old: number, chunk: number, keptBytes: number, operation: Operation): Promise<void> {
    const tailBytes = keptBytes % blockBytes;
    if (tailBytes === 0) return;
    const block = Math.floor(keptBytes / blockBytes);
    const content = Buffer.from(joinPieces(await this.#reader.read(old, block, 1, operation)));
    content.fill(0, tailBytes);
    await this.#writer.write(data, chunk, block, { pieces: [content] }, operation);
  }
}
