/**
 * What of a write lies in one chunk: from the caller's bytes to whole blocks. Of its edge blocks the bytes that the file has
 * and that stay are needed: they are here, or are read first. Bytes behind the end of the file are zeros, whatever the
 * stores have there (see file-content.ts).
 */
import { chunkPassedOver } from "../../namespace/chunk-maps.ts";
import { blockBytes, blocksPerChunk, chunkBytes, type Mapping } from "../../namespace/model.ts";
import type { Operation } from "../waits.ts";
import type { BufferPool, Span } from "./buffer-pool.ts";
import type { ChunkView } from "./chunk-view.ts";
import type { Contents } from "./contents.ts";
import type { FileContent } from "./file-content.ts";
import type { Need } from "./run.ts";

export class FilePart {
  readonly view: ChunkView;
  readonly isNew: boolean;
  /** Offsets in the chunk; `to` is exclusive. */
  readonly from: number;
  readonly to: number;
  readonly bytes: Uint8Array;
  /** Edge blocks that were read. */
  #old: Map<number, Uint8Array> | undefined;
  grantedBytes = 0;

  constructor(view: ChunkView, isNew: boolean, from: number, to: number, bytes: Uint8Array) {
    this.view = view;
    this.isNew = isNew;
    this.from = from;
    this.to = to;
    this.bytes = bytes;
  }

  get firstBlock(): number {
    return Math.floor(this.from / blockBytes);
  }

  get endBlock(): number {
    return Math.ceil(this.to / blockBytes);
  }

  /** Offset in the file. */
  get offset(): number {
    return this.view.index * chunkBytes + this.from;
  }

  get end(): number {
    return this.view.index * chunkBytes + this.to;
  }

  get need(): Need {
    return { chunk: this.view.chunk, blockCount: this.endBlock - this.firstBlock };
  }

  /** An edge block that has to be read; undefined when `assemble` has all it needs. */
  missingBlock(content: FileContent): number | undefined {
    if (this.isNew || !this.view.isStored) return undefined;
    const last = this.endBlock - 1;
    if (this.#needs(content, this.firstBlock) && !this.#has(this.firstBlock)) return this.firstBlock;
    if (last !== this.firstBlock && this.#needs(content, last) && !this.#has(last)) return last;
    return undefined;
  }

  /** The block as it is on the stores. */
  learn(block: number, bytes: Uint8Array): void {
    this.#old ??= new Map();
    this.#old.set(block, bytes);
  }

  /** Whole blocks, of memory of their own. */
  assemble(pool: BufferPool): Span {
    const start = this.firstBlock * blockBytes;
    const span = pool.allocate(this.endBlock * blockBytes - start);
    const { bytes } = span;
    if (this.from > start) this.#copyOld(this.firstBlock, bytes.subarray(0, blockBytes));
    if (this.to % blockBytes !== 0) {
      const last = this.endBlock - 1;
      if (last !== this.firstBlock || this.from === start) this.#copyOld(last, bytes.subarray(-blockBytes));
    }
    bytes.set(this.bytes, this.from - start);
    return span;
  }

  /** The file has bytes in the block that this write leaves as they are. */
  #needs(content: FileContent, block: number): boolean {
    const blockStart = block * blockBytes;
    const keptEnd = Math.min(content.size - this.view.index * chunkBytes, blockStart + blockBytes);
    return keptEnd > blockStart && (this.from > blockStart || this.to < keptEnd);
  }

  #has(block: number): boolean {
    return this.#old?.has(block) === true || this.view.at(block) !== undefined;
  }

  #copyOld(block: number, target: Buffer): void {
    const piece = this.isNew ? undefined : this.view.at(block);
    const old = this.#old?.get(block);
    if (piece !== undefined) {
      const from = (block - piece.first) * blockBytes;
      piece.bytes.copy(target, 0, from, from + blockBytes);
    } else if (old !== undefined) target.set(old);
    else target.fill(0);
  }
}

/** What the transaction of these parts maps. */
export function mappingsOf(parts: readonly FilePart[]): Mapping[] {
  return parts.filter((part) => part.isNew).map(({ view }) => ({ index: view.index, chunk: view.chunk }));
}

/**
 * Undefined if everything that the parts need is here, in this very turn: else it is asked for, and looked at again, because
 * what is clean may be dropped from the cache meanwhile. Errors: EIO.
 */
export function loadEdges(
  contents: Contents,
  content: FileContent,
  parts: readonly FilePart[],
  operation: Operation,
): Promise<unknown> | undefined {
  const missing = parts.flatMap((part) => {
    const block = part.missingBlock(content);
    return block === undefined ? [] : [{ part, block }];
  });
  if (missing.length === 0) return undefined;
  const reading = missing.map(async ({ part, block }) => {
    part.learn(block, await contents.reader.blocks(content, part.view.index, block, block + 1, operation));
  });
  return Promise.all(reading);
}

/**
 * Whether the file, which ended at `sizeBefore`, has blocks now that nobody has written, in chunks that are there. Asked after the
 * write.
 */
export function haveLeftHole(content: FileContent, parts: readonly FilePart[], sizeBefore: number): boolean {
  const passedOver = chunkPassedOver(sizeBefore, parts[0]!.offset);
  if (passedOver !== undefined && content.map.get(passedOver) !== undefined) {
    // One that this write has mapped is looked at below.
    if (!parts.some(({ isNew, view }) => isNew && view.index === passedOver)) return true;
  }
  return parts.some(({ isNew, view, firstBlock, endBlock }) => {
    const blocksThere = Math.ceil((content.size - view.index * chunkBytes) / blockBytes);
    return isNew && (firstBlock > 0 || endBlock < Math.min(blocksThere, blocksPerChunk));
  });
}
