/**
 * reapOrphan: removes an inode that has no name and that nobody holds open (the leader knows), `limit` mappings at a
 * time: a file of 16 TiB has four million.
 *
 * Errors: EINVAL for a limit of 0, ENOENT (not an orphan, or reaped before).
 */
import { FileError } from "../../errors/file-error.ts";
import { unmapFrom } from "../chunk-maps.ts";
import type { Context } from "../context.ts";
import { draftOf } from "../inodes.ts";
import type { OperationOf, Result } from "../operation.ts";

export function reapOrphan(context: Context, operation: OperationOf<"reapOrphan">): Result {
  const { inodes, volumes } = context.tables;
  const { volume, inode, limit } = operation;
  if (limit === 0) throw new FileError("EINVAL", "a limit of 0 would never finish");
  const before = inodes.get(volume, inode);
  if (before === undefined || before.attributes.linkCount > 0)
    throw new FileError("ENOENT", `inode ${inode} is no orphan`);

  const record = draftOf(before);
  unmapFrom(context, volume, record, 0, { limit });
  if (record.attributes.chunkCount > 0) {
    inodes.put(volume, record);
    return { kind: "reaped", finished: false };
  }
  inodes.delete(volume, inode);
  inodes.deleteOrphan(inode);
  volumes.count(volume, -1, 0);
  return { kind: "reaped", finished: true };
}
