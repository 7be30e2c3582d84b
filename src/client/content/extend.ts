/**
 * Moving the end of a file over bytes that nobody has written.
 *
 * They have to read as zeros, but on the stores anything may lie there (see file-content.ts). Only the chunk in which the
 * present end lies can have something: chunks behind it are not mapped. So before a size that leaves a gap is committed,
 * what that chunk has behind the end is read, and overwritten with zeros where it is something else. Nobody sees it yet:
 * a client that dies in between leaves the file as it was.
 *
 * Of a chunk that was made here it is known that nobody else has written there.
 */
import { blockBytes, chunkBytes } from "../../namespace/model.ts";
import type { Operation } from "../waits.ts";
import { slabBytes } from "./buffer-pool.ts";
import type { ChunkView } from "./chunk-view.ts";
import type { Contents } from "./contents.ts";
import type { FileContent } from "./file-content.ts";
import { joinPieces } from "./pieces.ts";
import type { Run } from "./run.ts";

const zeros = Buffer.alloc(chunkBytes);

export class Extender {
  readonly #contents: Contents;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  /**
   * What has to be written so that the bytes from the file's end up to `to` are zeros: nothing, as a rule. The caller has
   * them locked. Errors: EIO.
   */
  async gapOf(content: FileContent, to: number, operation: Operation): Promise<Run[]> {
    const { size } = content;
    const index = Math.floor(size / chunkBytes);
    const chunkStart = index * chunkBytes;
    const [from, end] = [size - chunkStart, Math.min(to - chunkStart, chunkBytes)];
    if (from === 0 || end <= from) return [];
    if (!content.map.knows(index)) await content.map.load(index);
    const view = content.view(index);
    if (view === undefined || view.isZeroBehindEnd || !view.isStored) return [];
    const [first, last] = [Math.floor(from / blockBytes), Math.ceil(end / blockBytes)];
    const { blockReader, pool } = this.#contents;
    // What is dirty here takes the place of what is there, and has zeros behind the end. By the time the stores have
    // answered it may have reached them, behind the read.
    const dirty = dirtyIn(view, first, last);
    const stored = joinPieces(await blockReader.read(view.chunk, first, last - first, operation));
    for (const { block, bytes } of dirty) stored.set(bytes, (block - first) * blockBytes);
    const behind = stored.subarray(from - first * blockBytes);
    if (behind.equals(zeros.subarray(0, behind.byteLength))) return [];
    behind.fill(0);
    const runs: Run[] = [];
    for (let at = 0; at < stored.byteLength; at += slabBytes) {
      const span = pool.wrap(stored.subarray(at, at + slabBytes));
      runs.push({ view, first: first + at / blockBytes, span, changedFrom: size });
    }
    return runs;
  }
}

/** Copies of the blocks that the stores don't have yet. */
function dirtyIn(view: ChunkView, first: number, last: number): { block: number; bytes: Buffer }[] {
  return view.between(first, last).flatMap((piece) => {
    if (piece.dirt === undefined) return [];
    const [low, high] = [Math.max(piece.first, first), Math.min(piece.end, last)];
    const bytes = piece.bytes.subarray((low - piece.first) * blockBytes, (high - piece.first) * blockBytes);
    return [{ block: low, bytes: Buffer.from(bytes) }];
  });
}
