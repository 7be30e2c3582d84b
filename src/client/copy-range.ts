/**
 * copy_file_range(2), step by step, each of which takes first the lease of one file, then that of the other: who waits for
 * a lease with another in hand could wait for somebody who does the same the other way round. A step is
 *
 * - a hole, which becomes one there,
 * - a chunk that lies at the beginning of one in both files, and takes the place of all that is there: both share its blocks on
 *   the stores, and nothing is copied (content/clones.ts),
 * - anything else: up to 1 MiB that is read and written.
 *
 * So it isn't atomic; neither is it elsewhere.
 */
import { FileError } from "../errors/file-error.ts";
import type { InodeRecord } from "../namespace/model.ts";
import { blockBytes, chunkBytes } from "../namespace/model.ts";
import { allocate, read, seek, usingContent, write } from "./data-operations.ts";
import type { RangeCopy } from "./file-system.ts";
import { Loan } from "./loan.ts";
import type { OpenHandle } from "./open-handle.ts";
import type { Operation } from "./waits.ts";

/** One call copies no more, and says so: a program asks for the rest. */
const copiedBytesMax = 1024 ** 3;
/** Of this what goes through the client. */
const carriedBytesMax = 64 * 1024 * 1024;
const stepBytesMax = 1024 * 1024;
/** Less is not worth a request to the stores. */
const clonedBytesMin = 256 * 1024;

type Copy = RangeCopy & { readonly from: OpenHandle; readonly to: OpenHandle };

/** Returns the bytes copied. Errors, before the first: EFBIG, ENOSPC, EIO, EINVAL for what is no file. */
export async function copyRange(copy: Copy, operation: Operation): Promise<number> {
  const wanted = Math.min(copy.length, copiedBytesMax);
  let [copied, carried] = [0, 0];
  while (copied < wanted && carried < carriedBytesMax) {
    const [offset, toOffset] = [copy.offset + copied, copy.toOffset + copied];
    try {
      const rest = { ...copy, offset, toOffset, length: wanted - copied };
      const shared = (await copyHole(rest, operation)) || (await copyChunk(rest, operation));
      const bytes = shared || (await carry(rest, operation));
      if (bytes === 0) break;
      if (shared === 0) carried += bytes;
      copied += bytes;
    } catch (error) {
      if (copied > 0 && error instanceof FileError) break;
      throw error;
    }
  }
  return copied;
}

/** Bytes of a hole at the offset. */
async function copyHole({ from, offset, to, toOffset, length }: Copy, operation: Operation): Promise<number> {
  const hole = await found(from, offset, "hole", operation);
  if (hole !== offset) return 0;
  const size = await sizeOf(from, operation);
  const end = Math.min((await found(from, offset, "data", operation)) ?? size, offset + length);
  if (end <= offset) return 0;
  await allocate(to, { offset: toOffset, length: end - offset, zero: true, grow: true }, operation);
  return end - offset;
}

async function found(
  handle: OpenHandle,
  offset: number,
  what: "data" | "hole",
  operation: Operation,
): Promise<number | undefined> {
  try {
    return await seek(handle, { offset, what, wholeChunks: true }, operation);
  } catch (error) {
    if (error instanceof FileError && error.code === "ENXIO") return undefined;
    throw error;
  }
}

async function sizeOf(handle: OpenHandle, operation: Operation): Promise<number> {
  return (await recordOf(handle, operation)).attributes.size;
}

async function recordOf({ mount, inode }: OpenHandle, operation: Operation): Promise<InodeRecord> {
  const node = await mount.leases.use(inode, "shared", operation, "read");
  mount.leases.done(node);
  return node.record;
}

/** Bytes that the target shares now; 0 if that is not possible here. */
async function copyChunk(copy: Copy, operation: Operation): Promise<number> {
  const { from, offset, to, toOffset, length, killPrivileges } = copy;
  const { mount } = to;
  if (offset % chunkBytes !== 0 || toOffset % chunkBytes !== 0 || from.mount !== mount) return 0;
  const bytes = Math.min(length, (await sizeOf(from, operation)) - offset, chunkBytes);
  const blockCount = Math.floor(bytes / blockBytes);
  const { attributes, pool } = await recordOf(to, operation);
  const toSize = attributes.size;
  if (blockCount * blockBytes < clonedBytesMin || toOffset > toSize) return 0;
  // It would have to keep what lies behind.
  if (blockCount * blockBytes < Math.min(chunkBytes, toSize - toOffset)) return 0;
  const source = await mount.leases.use(from.inode, "shared", operation, "read");
  const { clones } = mount.contents;
  const clone = await clones
    .make(mount.contentOf(source), offset / chunkBytes, blockCount, pool, operation)
    .finally(() => mount.leases.done(source));
  if (clone === undefined) return 0;
  let isMapped = false;
  try {
    isMapped = await usingContent(mount, to.inode, operation, (node) =>
      clones.map(mount.contentOf(node), toOffset / chunkBytes, clone, killPrivileges, operation),
    );
  } catch (error) {
    // A part of the chunk may fit all the same.
    if (!(error instanceof FileError && error.code === "EDQUOT")) throw error;
  } finally {
    if (!isMapped) clones.discard(clone);
  }
  return isMapped ? blockCount * blockBytes : 0;
}

async function carry(copy: Copy, operation: Operation): Promise<number> {
  const { from, offset, to, toOffset, length, killPrivileges } = copy;
  // Not over the end of a chunk: what follows may be a hole, or shared.
  const toEdge = chunkBytes - (offset % chunkBytes);
  const loan = new Loan();
  const asked = { offset, length: Math.min(length, stepBytesMax, toEdge), loan, mayBeShort: true };
  try {
    const bytes = Buffer.concat((await read(from, asked, operation)) as Uint8Array[]);
    return await write(to, toOffset, bytes, { killPrivileges }, operation);
  } finally {
    loan.end();
  }
}
