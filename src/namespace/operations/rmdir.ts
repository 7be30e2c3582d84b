/**
 * rmdir(2): removes an empty directory. It becomes an orphan: who has it open can still stat it, and finds it empty.
 *
 * Errors, in this order: ENOENT or ENOTDIR of the parent, ENAMETOOLONG, ENOENT, ENOTDIR, ENOTEMPTY.
 */
import { FileError } from "../../errors/file-error.ts";
import type { FileContext } from "../context.ts";
import {
  checkName,
  directoryOf,
  draftOf,
  entryOf,
  inodeOf,
  isEmpty,
  loseName,
  markModified,
  removeEntry,
} from "../inodes.ts";
import type { OperationOf, Result } from "../operation.ts";

export function rmdir(context: FileContext, operation: OperationOf<"rmdir">): Result {
  const { tables, volume } = context;
  const { parent, name } = operation;
  const parentBefore = directoryOf(context, parent);
  checkName(name);
  const entry = entryOf(context, parent, name);
  if (entry.type !== "directory") throw new FileError("ENOTDIR");
  const before = inodeOf(context, entry.inode);
  if (!isEmpty(before)) throw new FileError("ENOTEMPTY");

  const directory = draftOf(parentBefore);
  removeEntry(directory);
  directory.attributes.linkCount -= 1;
  markModified(context, directory);
  tables.inodes.put(volume, directory);
  tables.entries.delete(volume, parent, name, entry.cookie);
  return { kind: "removed", orphan: loseName(context, before) };
}
