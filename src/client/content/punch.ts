/**
 * fallocate(2), under the file's exclusive lease and with the whole file locked: zeros in the middle (FALLOC_FL_PUNCH_HOLE,
 * FALLOC_FL_ZERO_RANGE), then a later end, if that is asked for.
 *
 * 1. Chunks that lie in the range entirely, and the last one if the range reaches the end of the file, are unmapped by a
 *    transaction. What is dirty of them goes out all the same, because earlier entries of the journal map them.
 * 2. Of a chunk that lies in it in part the bytes are overwritten with zeros, like by any other write: stores make holes of them.
 * 3. If there was nothing to do, the times are set.
 *
 * A client that dies in between leaves some of it done, as a write of more than one block may be.
 */
import { blockBytes, chunkBytes } from "../../namespace/model.ts";
import type { OperationOf } from "../../namespace/operation.ts";
import type { Allocation } from "../file-system.ts";
import type { Operation } from "../waits.ts";
import type { Contents } from "./contents.ts";
import type { FileContent } from "./file-content.ts";
import { ceilBlock, floorBlock } from "./offsets.ts";
import { endOfRange } from "./range-lock.ts";
import { noOtherChange } from "./truncate.ts";
import { edgeBytes } from "./writer.ts";

/** Laid into the file at once: room is taken for so many, and when dirty data is near its limit, they are waited for. */
const zeros = Buffer.alloc(128 * 1024);

interface ZeroRange {
  readonly from: number;
  /** Exclusive. What is behind the end of the file stays as it is. */
  readonly to: number;
}

export class Puncher {
  readonly #contents: Contents;

  constructor(contents: Contents) {
    this.#contents = contents;
  }

  /** Errors: ENOSPC (for blocks that are not zeroed whole), EDQUOT, EFBIG, EIO. */
  async allocate(
    content: FileContent,
    { offset, length, zero, grow }: Allocation,
    operation: Operation,
  ): Promise<void> {
    const { budget, truncater } = this.#contents;
    const roomBytes = zero ? zeros.byteLength + edgeBytes : 0;
    const room = zero ? budget.take(roomBytes, operation) : undefined;
    if (room !== undefined) await room;
    try {
      operation.check();
      operation.waitsFor = "other reads and writes of the file";
      const unlock = await content.lock.lock(0, endOfRange, true);
      try {
        operation.check();
        const end = offset + length;
        const { lastPosition } = content.node;
        if (zero) await this.#zeroLocked(content, { from: offset, to: end }, operation);
        if (grow && end > content.size) {
          await truncater.setSizeLocked(content, { ...noOtherChange, size: end }, operation);
        }
        if (content.node.lastPosition === lastPosition) this.#touch(content);
      } finally {
        unlock();
      }
    } finally {
      budget.release(roomBytes);
    }
  }

  /** There was nothing to do: mtime and ctime are set all the same, as by local file systems. */
  #touch(content: FileContent): void {
    const change: OperationOf<"setAttributes"> = {
      kind: "setAttributes",
      inode: content.inode,
      mappings: [],
      size: undefined,
      ...noOtherChange,
      mtime: { kind: "now" },
    };
    this.#contents.execute(content.node, change, undefined);
  }

  async #zeroLocked(content: FileContent, { from, to }: ZeroRange, operation: Operation): Promise<void> {
    const end = Math.min(to, content.size);
    if (end <= from) return;
    const lastIndex = Math.ceil(end / chunkBytes) - 1;
    if (!content.map.knows(lastIndex)) await content.map.load(lastIndex);
    const first = Math.ceil(from / chunkBytes);
    const below = end === content.size ? lastIndex + 1 : Math.floor(end / chunkBytes);
    if (first >= below) {
      const middle = Math.min(end, first * chunkBytes);
      await this.#overwrite(content, { from, to: middle }, operation);
      await this.#overwrite(content, { from: middle, to: end }, operation);
      return;
    }
    await this.#overwrite(content, { from, to: first * chunkBytes }, operation);
    await this.#overwrite(content, { from: below * chunkBytes, to: end }, operation);
    operation.check();
    const { size, inode } = content;
    const unmap = { kind: "unmap", inode, from: first, below } as const;
    const position = this.#contents.execute(content.node, unmap, undefined);
    content.changedBy(position, size);
    content.cutViews(first, below);
  }

  /** Within one chunk, and within the file. */
  async #overwrite(content: FileContent, { from, to }: ZeroRange, operation: Operation): Promise<void> {
    if (to <= from || content.map.get(Math.floor(from / chunkBytes)) === undefined) return;
    const { writer, budget, journal } = this.#contents;
    // First: what ends between two pieces has left holes.
    if (floorBlock(to === content.size ? ceilBlock(to) : to) > ceilBlock(from)) content.markHoles();
    for (let at = from; at < to; ) {
      // Each piece but the last ends with a block: one that fails between two pieces leaves no block half zeroed.
      const end = Math.floor((at + zeros.byteLength) / blockBytes) * blockBytes;
      const bytes = zeros.subarray(0, Math.min(end, to) - at);
      at += await writer.writeLocked(content, { bytes, killPrivileges: false }, at, operation);
      if (budget.isPressed) await journal.committed(content.node.lastPosition, operation);
      operation.check();
    }
  }
}
