/**
 * markRead: the time of last access, of a file or directory that was read, becomes the transaction's. It is no change of
 * the inode: ctime stays.
 *
 * Errors: ENOENT (the inode is gone; an orphan isn't).
 */
import type { FileContext } from "../context.ts";
import { draftOf, inodeOf } from "../inodes.ts";
import type { OperationOf, Result } from "../operation.ts";

export function markRead(context: FileContext, operation: OperationOf<"markRead">): Result {
  const record = draftOf(inodeOf(context, operation.inode));
  record.attributes.atimeNs = context.timeNs;
  context.tables.inodes.put(context.volume, record);
  return { kind: "attributes", attributes: record.attributes };
}
