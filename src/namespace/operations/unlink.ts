/**
 * unlink(2): removes a name of anything but a directory. The inode that loses its last name becomes an orphan: it stays
 * whole until nobody holds it open and the leader reaps it.
 *
 * Errors, in this order: ENOENT or ENOTDIR of the parent, ENAMETOOLONG, ENOENT, EISDIR (Linux; POSIX says EPERM).
 */
import { FileError } from "../../errors/file-error.ts";
import type { FileContext } from "../context.ts";
import { checkName, directoryOf, draftOf, entryOf, inodeOf, loseName, markModified, removeEntry } from "../inodes.ts";
import type { OperationOf, Result } from "../operation.ts";

export function unlink(context: FileContext, operation: OperationOf<"unlink">): Result {
  const { tables, volume } = context;
  const { parent, name } = operation;
  const parentBefore = directoryOf(context, parent);
  checkName(name);
  const entry = entryOf(context, parent, name);
  if (entry.type === "directory") throw new FileError("EISDIR");
  const before = inodeOf(context, entry.inode);

  const directory = draftOf(parentBefore);
  removeEntry(directory);
  markModified(context, directory);
  tables.inodes.put(volume, directory);
  tables.entries.delete(volume, parent, name, entry.cookie);
  return { kind: "removed", orphan: loseName(context, before) };
}
