/**
 * access: an inode was read (inode(7), atime). No other time changes, so it is no change in the eyes of backups and of git;
 * and as the time only grows, several clients may tell it in any order. That is why a shared lease is enough for it.
 *
 * Errors: ENOENT (the inode is gone).
 */
import type { FileContext } from "../context.ts";
import { draftOf, inodeOf } from "../inodes.ts";
import type { OperationOf, Result } from "../operation.ts";

export function access(context: FileContext, { inode }: OperationOf<"access">): Result {
  const before = inodeOf(context, inode);
  if (before.attributes.atimeNs >= context.timeNs) return { kind: "done" };
  const record = draftOf(before);
  record.attributes.atimeNs = context.timeNs;
  context.tables.inodes.put(context.volume, record);
  return { kind: "done" };
}
