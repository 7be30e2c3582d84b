/**
 * rename(2) and renameat2(2) with RENAME_NOREPLACE.
 *
 * Errors, in the order of the kernel's do_renameat2 and vfs_rename: ENOENT or ENOTDIR of the parents, ENAMETOOLONG,
 * ENOENT (no such entry), EEXIST (noReplace), EINVAL (a directory into itself or below), ENOTEMPTY (onto a directory that
 * the entry is in), then, if the target is there, nothing at all for two names of one inode, ENOTDIR (directory onto
 * something else), EISDIR (something else onto a directory), EMLINK (the new parent's subdirectories), ENOTEMPTY, EXDEV (into
 * a directory with another quota: see quota-trees.ts).
 *
 * The entry gets a new cookie in its new place, or that of the entry which it replaces: a name that was there all the
 * time is listed once.
 */
import { FileError } from "../../errors/file-error.ts";
import type { FileContext } from "../context.ts";
import {
  addEntry,
  checkName,
  directoryOf,
  draftOf,
  entryOf,
  inodeOf,
  isAtOrAbove,
  isEmpty,
  loseName,
  markChanged,
  markModified,
  removeEntry,
} from "../inodes.ts";
import { type EntryRecord, type InodeRecord, linkCountMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";
import { treeAfterMove } from "../quota-trees.ts";
import { charge } from "../usage.ts";

export function rename(context: FileContext, operation: OperationOf<"rename">): Result {
  const { tables, volume } = context;
  const { parent, name, newParent, newName } = operation;
  const oldBefore = directoryOf(context, parent);
  const newBefore = directoryOf(context, newParent);
  checkName(name);
  const entry = entryOf(context, parent, name);
  checkName(newName);
  const target = tables.entries.get(volume, newParent, newName);
  if (target !== undefined && operation.noReplace) throw new FileError("EEXIST");
  checkLoops(context, operation, entry, target);
  if (target?.inode === entry.inode) return { kind: "removed", orphan: 0 };
  const replaced = target === undefined ? undefined : inodeOf(context, target.inode);
  checkReplacement(operation, entry, newBefore, replaced);
  const movedBefore = inodeOf(context, entry.inode);
  const tree = treeAfterMove(movedBefore, oldBefore, newBefore, parent === newParent && target === undefined);

  const oldDirectory = draftOf(oldBefore);
  const newDirectory = newParent === parent ? oldDirectory : draftOf(newBefore);
  const isDirectory = entry.type === "directory";
  removeEntry(oldDirectory);
  if (isDirectory) oldDirectory.attributes.linkCount -= 1;
  const cookie = target === undefined ? addEntry(newDirectory) : target.cookie;
  if (isDirectory && replaced === undefined) newDirectory.attributes.linkCount += 1;
  markModified(context, oldDirectory);
  if (newDirectory !== oldDirectory) markModified(context, newDirectory);

  const moved = draftOf(movedBefore);
  moved.tree = tree;
  charge(context, movedBefore, moved);
  moved.parent = newParent;
  moved.parentCookie = cookie;
  markChanged(context, moved);
  tables.entries.delete(volume, parent, name, entry.cookie);
  tables.entries.put(volume, newParent, newName, { inode: entry.inode, type: entry.type, cookie });
  tables.inodes.put(volume, moved);
  tables.inodes.put(volume, oldDirectory);
  if (newDirectory !== oldDirectory) tables.inodes.put(volume, newDirectory);
  return { kind: "removed", orphan: replaced === undefined ? 0 : loseName(context, replaced) };
}

/**
 * A directory must not get below itself, nor replace one that it is below: both need a walk up from a parent, as far as
 * the tree is deep. Within one directory neither can be.
 */
function checkLoops(
  context: FileContext,
  operation: OperationOf<"rename">,
  entry: EntryRecord,
  target: EntryRecord | undefined,
): void {
  if (operation.parent === operation.newParent) return;
  if (entry.type === "directory" && isAtOrAbove(context, entry.inode, operation.newParent)) {
    throw new FileError("EINVAL", "a directory can't be moved into itself");
  }
  if (target?.type === "directory" && isAtOrAbove(context, target.inode, operation.parent)) {
    throw new FileError("ENOTEMPTY");
  }
}

function checkReplacement(
  operation: OperationOf<"rename">,
  entry: EntryRecord,
  newDirectory: InodeRecord,
  replaced: InodeRecord | undefined,
): void {
  const isDirectory = entry.type === "directory";
  const replacesDirectory = replaced?.attributes.type === "directory";
  if (isDirectory && replaced !== undefined && !replacesDirectory) throw new FileError("ENOTDIR");
  if (!isDirectory && replacesDirectory) throw new FileError("EISDIR");
  const gainsLink = isDirectory && !replacesDirectory && operation.parent !== operation.newParent;
  if (gainsLink && newDirectory.attributes.linkCount >= linkCountMax) throw new FileError("EMLINK");
  if (replaced !== undefined && replacesDirectory && !isEmpty(replaced)) throw new FileError("ENOTEMPTY");
}
