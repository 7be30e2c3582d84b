/**
 * link(2): a further name for anything but a directory.
 *
 * Errors, in this order: ENOENT (the inode is gone), ENOENT or ENOTDIR of the parent, ENAMETOOLONG, EEXIST, EPERM for a
 * directory, ENOENT for an orphan that had a name (an unnamed file gets one, one that lost it doesn't), EMLINK, EXDEV (the
 * directory has another quota).
 */
import { FileError } from "../../errors/file-error.ts";
import type { FileContext } from "../context.ts";
import { addEntry, checkName, directoryOf, draftOf, inodeOf, markChanged, markModified } from "../inodes.ts";
import { linkCountMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";

export function link(context: FileContext, operation: OperationOf<"link">): Result {
  const { tables, volume } = context;
  const { inode, parent, name } = operation;
  const before = inodeOf(context, inode);
  const parentBefore = directoryOf(context, parent);
  checkName(name);
  if (tables.entries.get(volume, parent, name) !== undefined) throw new FileError("EEXIST");
  if (before.attributes.type === "directory") throw new FileError("EPERM", "a directory has one name");
  const isOrphan = before.attributes.linkCount === 0;
  if (isOrphan && before.parentCookie !== 0) throw new FileError("ENOENT", `inode ${inode} was removed`);
  if (before.attributes.linkCount >= linkCountMax) throw new FileError("EMLINK");
  if (before.tree !== parentBefore.tree) throw new FileError("EXDEV", "the directories have different quotas");

  const directory = draftOf(parentBefore);
  const cookie = addEntry(directory);
  markModified(context, directory);
  const record = draftOf(before);
  record.attributes.linkCount += 1;
  record.parent = parent;
  record.parentCookie = cookie;
  markChanged(context, record);
  if (isOrphan) tables.inodes.deleteOrphan(inode);
  tables.inodes.put(volume, record);
  tables.inodes.put(volume, directory);
  tables.entries.put(volume, parent, name, { inode, type: record.attributes.type, cookie });
  return { kind: "attributes", attributes: record.attributes };
}
