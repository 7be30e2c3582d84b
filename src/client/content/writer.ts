/**
 * Writes to a file, under its exclusive lease.
 *
 * 1. Lock the blocks. A write that moves the end of the file locks from the present end to infinity, so that those that
 *    extend a file come one after the other; one that touches a chunk which isn't mapped locks that whole chunk, so that
 *    each chunk is made once. Everything else goes in parallel.
 * 2. What is between the old end and the first byte is made zeros (extend.ts).
 * 3. The bytes are cut at chunks and made whole blocks: the edges are read, changed and written. A new chunk gets an id.
 * 4. The blocks go to all members (block-writer.ts).
 * 5. The `write` transaction maps the new chunks, moves the end and sets the times. Data before the metadata that shows
 *    it; where it shows nothing new (an overwrite: only times change) both go at once.
 *
 * If a new chunk's write fails, its id is never mapped: the leader sweeps it with the session. If a later part of a
 * write finds no space, the earlier ones stand and the write is short.
 */
import { FileError } from "../../errors/file-error.ts";
import { blockBytes, chunkBytes, fileBytesMax, type Mapping } from "../../namespace/model.ts";
import type { BlockReader } from "./block-reader.ts";
import type { BlockSource, BlockWriter } from "./block-writer.ts";
import type { Extender } from "./extend.ts";
import type { Ids } from "../ids.ts";
import type { InodeData } from "./inode-data.ts";
import { joinPieces } from "./pieces.ts";
import { endOfRange } from "./range-lock.ts";
import { expectResult } from "../results.ts";
import type { Transactions } from "../transactions.ts";
import type { Operation } from "../waits.ts";

export interface WriteRequest {
  /** Undefined: at the end of the file, wherever that is when the lock is held. */
  readonly offset: number | undefined;
  /** The caller's, until its promise settles. */
  readonly bytes: Uint8Array;
  readonly killPrivileges: boolean;
}

/** What of a write lies in one chunk. */
interface Part {
  readonly index: number;
  readonly chunk: number;
  readonly isNew: boolean;
  /** Offsets in the file; `to` is exclusive. */
  readonly from: number;
  readonly to: number;
}

export class FileWriter {
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

  /** Returns the bytes written: all, or those of the first chunk if there was no space for more. Errors: ENOSPC, EFBIG, … */
  async write(data: InodeData, request: WriteRequest, operation: Operation): Promise<number> {
    const { unlock, start, from, to } = await this.#lock(data, request, operation);
    data.readAhead.invalidate(from, to);
    try {
      operation.check();
      return await this.#writeLocked(data, request, start, operation);
    } finally {
      data.readAhead.invalidate(from, to);
      unlock();
    }
  }

  async #lock(data: InodeData, { offset, bytes }: WriteRequest, operation: Operation) {
    operation.waitsFor = "other writes to the file";
    for (;;) {
      const claim = await claimOf(data, offset ?? data.size, bytes.byteLength);
      const unlock = await data.lock.lock(claim.from, claim.to, true);
      // The end of the file may have moved meanwhile, and chunks may have come or gone.
      const start = offset ?? data.size;
      const now = await claimOf(data, start, bytes.byteLength).catch((error) => {
        unlock();
        throw error;
      });
      if (now.from >= claim.from && now.to <= claim.to) return { unlock, start, from: claim.from, to: claim.to };
      unlock();
    }
  }

  async #writeLocked(data: InodeData, request: WriteRequest, start: number, operation: Operation): Promise<number> {
    const end = start + request.bytes.byteLength;
    if (end > fileBytesMax) throw new FileError("EFBIG");
    if (start > data.size) await this.#extender.zeroGap(data, floorBlock(start), operation);
    const parts = await this.#cut(data, start, end, operation);
    const mapped = new Set<Part>();
    try {
      const written = await this.#writeParts(data, parts, request, start, operation);
      for (const part of written) mapped.add(part);
      return written.at(-1)!.to - start;
    } finally {
      for (const part of parts) if (part.isNew && !mapped.has(part)) this.#ids.discardChunk(part.chunk);
    }
  }

  /** Writes and commits; returns the parts that were, from the first on. Throws if there are none. */
  async #writeParts(
    data: InodeData,
    parts: readonly Part[],
    { bytes, killPrivileges }: WriteRequest,
    start: number,
    operation: Operation,
  ): Promise<readonly Part[]> {
    const { to: end } = parts.at(-1)!;
    const writes = parts.map((part) => this.#writePart(data, part, bytes, start, operation));
    if (end <= data.size && !parts.some((part) => part.isNew)) {
      // Nothing but times can be seen of the transaction: it need not wait for the data.
      const committing = this.#commit(data, [], end, killPrivileges, operation);
      const [outcomes] = await Promise.all([Promise.allSettled(writes), committing.catch(() => {})]);
      await committing;
      return writtenParts(parts, outcomes);
    }
    const written = writtenParts(parts, await Promise.allSettled(writes));
    const mappings = written.filter((part) => part.isNew).map(({ index, chunk }) => ({ index, chunk }));
    await this.#commit(data, mappings, written.at(-1)!.to, killPrivileges, operation);
    return written;
  }

  async #cut(data: InodeData, start: number, end: number, operation: Operation): Promise<Part[]> {
    const parts: Part[] = [];
    for (let from = start; from < end; ) {
      const index = Math.floor(from / chunkBytes);
      const to = Math.min(end, (index + 1) * chunkBytes);
      const known = data.map.get(index);
      const chunk = known ?? (await this.#ids.takeChunk(operation));
      parts.push({ index, chunk, isNew: known === undefined, from, to });
      from = to;
    }
    return parts;
  }

  async #writePart(data: InodeData, part: Part, bytes: Uint8Array, start: number, operation: Operation): Promise<void> {
    const view = bytes.subarray(part.from - start, part.to - start);
    const source = await this.#assemble(data, part, view, operation);
    const firstBlock = Math.floor((part.from % chunkBytes) / blockBytes);
    await this.#writer.write(data, part.chunk, firstBlock, source, operation);
  }

  /** Whole blocks: the caller's bytes as they lie in its buffer, but for the edges. */
  async #assemble(data: InodeData, part: Part, bytes: Uint8Array, operation: Operation): Promise<BlockSource> {
    const { from, to } = part;
    const headBytes = Math.min(to, ceilBlock(from)) - from;
    const tailFrom = Math.max(from + headBytes, floorBlock(to));
    const head = Buffer.from(bytes.subarray(0, headBytes));
    const tail = Buffer.from(bytes.subarray(tailFrom - from));
    let middle: Uint8Array = bytes.subarray(headBytes, tailFrom - from);
    const source: { pieces: Uint8Array[] } = { pieces: [] };
    // A view of the caller's buffer ends with the caller's interest in it. (If a store is just being sent the old view,
    // and its content changes under it, the checksums tell, and it is sent again.)
    operation.onCancel(() => {
      const kept = Buffer.from(middle);
      source.pieces = source.pieces.map((piece) => (piece === middle ? kept : piece));
      middle = kept;
    });
    const [first, last] = await Promise.all([
      this.#edge(data, part, floorBlock(from), from, head, operation),
      this.#edge(data, part, floorBlock(to), tailFrom, tail, operation),
    ]);
    source.pieces = [first, middle, last].filter((piece) => piece.byteLength > 0);
    return source;
  }

  /** The block at `blockStart` with `bytes` laid into it at `from`; empty if there are none. */
  async #edge(
    data: InodeData,
    part: Part,
    blockStart: number,
    from: number,
    bytes: Uint8Array,
    operation: Operation,
  ): Promise<Uint8Array> {
    if (bytes.byteLength === 0) return bytes;
    const end = from + bytes.byteLength;
    // Bytes of the block that the file has now, and that stay.
    const keptEnd = Math.min(data.size, blockStart + blockBytes);
    const keeps = keptEnd > blockStart && (from > blockStart || end < keptEnd);
    const block = Buffer.alloc(blockBytes);
    if (keeps && !part.isNew) {
      const index = Math.floor((blockStart % chunkBytes) / blockBytes);
      const present = joinPieces(await this.#reader.read(part.chunk, index, 1, operation));
      // Beyond the end of the file anything may lie: see inode-data.ts.
      present.copy(block, 0, 0, keptEnd - blockStart);
    }
    block.set(bytes, from - blockStart);
    return block;
  }

  async #commit(
    data: InodeData,
    mappings: Mapping[],
    end: number,
    killPrivileges: boolean,
    operation: Operation,
  ): Promise<void> {
    operation.waitsFor = "leader.transact";
    const { inode } = data;
    expectResult(
      await this.#transactions.submit({ kind: "write", inode, mappings, end, killPrivileges }),
      "attributes",
    );
    for (const { index, chunk } of mappings) data.map.set(index, chunk);
    data.size = Math.max(data.size, end);
  }
}

/** What a write of `length` bytes at `start` has to lock, as the file is now. */
async function claimOf(data: InodeData, start: number, length: number): Promise<{ from: number; to: number }> {
  const end = start + length;
  const [firstIndex, lastIndex] = [Math.floor(start / chunkBytes), Math.floor((end - 1) / chunkBytes)];
  await data.map.load(lastIndex);
  let [from, to] = [floorBlock(start), ceilBlock(end)];
  if (data.map.get(firstIndex) === undefined) from = firstIndex * chunkBytes;
  if (data.map.get(lastIndex) === undefined) to = (lastIndex + 1) * chunkBytes;
  if (end > data.size) [from, to] = [Math.min(from, floorBlock(data.size)), endOfRange];
  return { from, to };
}

/** The parts from the first on that were written. Throws if not even the first was, or for other reasons than space. */
function writtenParts(parts: readonly Part[], outcomes: readonly PromiseSettledResult<void>[]): readonly Part[] {
  const failedAt = outcomes.findIndex((outcome) => outcome.status === "rejected");
  if (failedAt < 0) return parts;
  const { reason } = outcomes[failedAt] as PromiseRejectedResult;
  const full = reason instanceof FileError && reason.code === "ENOSPC";
  if (failedAt === 0 || !full) throw reason;
  return parts.slice(0, failedAt);
}

function floorBlock(offset: number): number {
  return Math.floor(offset / blockBytes) * blockBytes;
}

function ceilBlock(offset: number): number {
  return Math.ceil(offset / blockBytes) * blockBytes;
}
