/**
 * Moving the end of a file over bytes that nobody has written.
 *
 * They have to read as zeros, but on the stores anything may lie there (see inode-data.ts). Only the chunk in which the
 * present end lies can have something: chunks behind it are not mapped. So before a size that leaves a gap is committed,
 * what that chunk has behind the end is read, and overwritten with zeros where it is something else. Nobody sees it yet:
 * a client that dies in between leaves the file as it was.
 */
import { blockBytes, chunkBytes } from "../../namespace/model.ts";
import type { BlockReader } from "./block-reader.ts";
import type { BlockWriter } from "./block-writer.ts";
import type { InodeData } from "./inode-data.ts";
import { joinPieces } from "./pieces.ts";
import type { Operation } from "../waits.ts";

const zeros = Buffer.alloc(chunkBytes);

export class Extender {
  readonly #reader: BlockReader;
  readonly #writer: BlockWriter;

  constructor(reader: BlockReader, writer: BlockWriter) {
    this.#reader = reader;
    this.#writer = writer;
  }

  /** Makes the bytes from the file's end up to `to` zeros. The caller has them locked. Errors: those of writing. */
  async zeroGap(data: InodeData, to: number, operation: Operation): Promise<void> {
    const index = Math.floor(data.size / chunkBytes);
    const chunkStart = index * chunkBytes;
    const [from, end] = [data.size - chunkStart, Math.min(to - chunkStart, chunkBytes)];
    if (from === 0 || end <= from) return;
    await data.map.load(index);
    const chunk = data.map.get(index);
    if (chunk === undefined) return;
    const [firstBlock, lastBlock] = [Math.floor(from / blockBytes), Math.ceil(end / blockBytes)];
    const content = joinPieces(await this.#reader.read(chunk, firstBlock, lastBlock - firstBlock, operation));
    const clean = from - firstBlock * blockBytes;
    const dirty = content.subarray(clean);
    if (dirty.equals(zeros.subarray(0, dirty.byteLength))) return;
    dirty.fill(0);
    await this.#writer.write(data, chunk, firstBlock, { pieces: [content] }, operation);
  }
}
