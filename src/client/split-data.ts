/**
 * Data of a file on which several clients work at once: under the split lease of its inode, and leases on the chunks.
 *
 * The split lease says only that the file's size stands still. Each chunk is, for this client, like a small file of its own:
 * a node with the chunk's number (namespace/chunk-leases.ts), a lease, a content with this one chunk in its map. So everything
 * that holds for the data of a file under its lease holds for the chunk, by the same code: write-back, versions, what happens
 * before the lease is given back. Its record is a copy of the file's; the transactions name the file.
 *
 * 1. Who needs more than data (attributes, another size, pages for the kernel) waits for the shared or exclusive lease, for
 *    which the split one is given back with all its chunks.
 * 2. The leases on the chunks are taken in order, and all held at the same time: so a read of two chunks doesn't see half
 *    of a write. Then the bytes are locked against other requests of this client, for the same reason.
 * 3. A write to two chunks is two transactions. Before one of these chunks goes to somebody else, both are committed: what
 *    others have seen one half of must not lose the other.
 */
import { chunkKey } from "../namespace/chunk-leases.ts";
import { chunkBytes } from "../namespace/model.ts";
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import { LostBlock } from "./content/block-reader.ts";
import type { FileContent } from "./content/file-content.ts";
import type { ReadRequest } from "./content/reader.ts";
import type { MountSession } from "./mount-session.ts";
import type { Node } from "./node.ts";
import type { Operation } from "./waits.ts";

/** Whether the bytes are there: the split lease lets nobody move the end of the file. */
export function isWithinSize(node: Node, offset: number | undefined, length: number): boolean {
  return offset !== undefined && offset + length <= node.record.attributes.size;
}

/** Up to `length` bytes at `offset`: see content/reader.ts. The split lease is pinned. Errors: EIO. */
export function readSplit(
  mount: MountSession,
  node: Node,
  { pattern, offset, length, loan, mayBeShort }: ReadRequest,
  operation: Operation,
): Promise<readonly Uint8Array[]> {
  const end = Math.min(offset + length, node.record.attributes.size);
  if (end <= offset) return Promise.resolve([]);
  return onChunks(mount, node, { offset, end, mode: "shared" }, operation, async (parts) => {
    const read: Uint8Array[] = [];
    for (const { content, from, to } of parts) {
      let left = to - from;
      try {
        const part = { pattern, offset: from, length: left, loan, mayBeShort };
        for (const bytes of await content.read(part, operation)) {
          read.push(bytes);
          left -= bytes.byteLength;
        }
      } catch (error) {
        if (mayBeShort !== true || read.length === 0 || !(error instanceof LostBlock)) throw error;
      }
      if (left > 0) break;
    }
    return read;
  });
}

/** Returns the bytes written, see content/writer.ts. The split lease is pinned, and `isWithinSize`. Errors: ENOSPC, EIO. */
export function writeSplit(
  mount: MountSession,
  node: Node,
  request: { readonly offset: number; readonly bytes: Uint8Array; readonly killPrivileges: boolean },
  operation: Operation,
): Promise<number> {
  const { offset, bytes, killPrivileges } = request;
  const range = { offset, end: offset + bytes.byteLength, mode: "exclusive" } as const;
  return onChunks(mount, node, range, operation, async (parts) => {
    let written = 0;
    for (const { content, from, to } of parts) {
      const part = { offset: from, bytes: bytes.subarray(from - offset, to - offset), killPrivileges };
      try {
        const count = await content.write(part, operation);
        written += count;
        if (count < to - from) break;
      } catch (error) {
        // What is before stands: the write is short.
        if (written === 0) throw error;
        break;
      }
    }
    const last = Math.max(...parts.map(({ content: { node: chunk } }) => chunk.lastPosition));
    for (const { content } of parts) content.node.lastPosition = last;
    return written;
  });
}

interface Part {
  readonly content: FileContent;
  readonly from: number;
  readonly to: number;
}

async function onChunks<T>(
  mount: MountSession,
  node: Node,
  { offset, end, mode }: { offset: number; end: number; mode: LeaseMode },
  operation: Operation,
  body: (parts: readonly Part[]) => Promise<T>,
): Promise<T> {
  const pinned: Node[] = [];
  try {
    const parts: Part[] = [];
    for (let from = offset; from < end; ) {
      const index = Math.floor(from / chunkBytes);
      const to = Math.min(end, (index + 1) * chunkBytes);
      const chunk = await mount.leases.use(chunkKey(node.inode, index), mode, operation);
      pinned.push(chunk);
      parts.push({ content: mount.contentOf(chunk), from, to });
      from = to;
    }
    operation.waitsFor = "other reads and writes of the same bytes";
    const unlock = await mount.contentOf(node).lock.lock(offset, end, mode === "exclusive");
    try {
      operation.check();
      return await body(parts);
    } finally {
      unlock();
    }
  } finally {
    for (const chunk of pinned) mount.leases.done(chunk);
  }
}
