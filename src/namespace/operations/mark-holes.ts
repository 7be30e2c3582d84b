/**
 * markHoles: a write has left blocks of a chunk unwritten, or a punch has made zeros of them. So the file takes less on the stores
 * than its chunks and its size say, and stat(2) is to show it (fuse/layout.ts). Nothing else changes, no times either.
 *
 * Errors: ENOENT (the inode is gone), EINVAL (not a regular file).
 */
import { FileError } from "../../errors/file-error.ts";
import type { FileContext } from "../context.ts";
import { draftOf, inodeOf } from "../inodes.ts";
import type { OperationOf, Result } from "../operation.ts";

export function markHoles(context: FileContext, { inode }: OperationOf<"markHoles">): Result {
  const before = inodeOf(context, inode);
  if (before.attributes.type !== "file") throw new FileError("EINVAL", "only a file has holes");
  const record = draftOf(before);
  record.attributes.hasHoles = before.attributes.chunkCount > 0;
  context.tables.inodes.put(context.volume, record);
  return { kind: "attributes", attributes: record.attributes };
}
