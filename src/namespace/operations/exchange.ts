/**
 * exchange: renameat2(2) with RENAME_EXCHANGE. Two names change their inodes in one step; each name keeps its cookie.
 *
 * Errors, in the order of the kernel's do_renameat2: ENOENT or ENOTDIR of the parents, ENAMETOOLONG, ENOENT (either name is
 * missing), EINVAL (one contains the other), then nothing at all for two names of one inode, EXDEV (directories with different
 * quotas: see quota-trees.ts), EMLINK.
 */
import { FileError } from "../../errors/file-error.ts";
import type { FileContext } from "../context.ts";
import {
  checkName,
  directoryOf,
  draftOf,
  entryOf,
  inodeOf,
  isAtOrAbove,
  markChanged,
  markModified,
} from "../inodes.ts";
import { type EntryRecord, type InodeRecord, linkCountMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";
import { treeAfterMove } from "../quota-trees.ts";
import { charge } from "../usage.ts";

export function exchange(context: FileContext, operation: OperationOf<"exchange">): Result {
  const { tables, volume } = context;
  const { parent, name, newParent, newName } = operation;
  const oneBefore = directoryOf(context, parent);
  const otherBefore = directoryOf(context, newParent);
  checkName(name);
  checkName(newName);
  const one = entryOf(context, parent, name);
  const other = entryOf(context, newParent, newName);
  if (parent !== newParent && (contains(context, one, newParent) || contains(context, other, parent))) {
    throw new FileError("EINVAL", "a directory can't change places with what is in it");
  }
  if (one.inode === other.inode) return { kind: "removed", orphan: 0 };
  const oneMoved = inodeOf(context, one.inode);
  const otherMoved = inodeOf(context, other.inode);
  const oneTree = treeAfterMove(oneMoved, oneBefore, otherBefore, false);
  const otherTree = treeAfterMove(otherMoved, otherBefore, oneBefore, false);
  const gained = Number(one.type === "directory") - Number(other.type === "directory");

  const oneDirectory = draftOf(oneBefore);
  const otherDirectory = newParent === parent ? oneDirectory : draftOf(otherBefore);
  const oneAfter = movedTo(context, oneMoved, newParent, other.cookie, oneTree);
  const otherAfter = movedTo(context, otherMoved, parent, one.cookie, otherTree);
  if (otherDirectory !== oneDirectory) {
    giveLinks(oneDirectory, -gained);
    giveLinks(otherDirectory, gained);
    markModified(context, otherDirectory);
  }
  markModified(context, oneDirectory);
  charge(context, oneMoved, oneAfter);
  charge(context, otherMoved, otherAfter);
  tables.entries.put(volume, parent, name, { inode: other.inode, type: other.type, cookie: one.cookie });
  tables.entries.put(volume, newParent, newName, { inode: one.inode, type: one.type, cookie: other.cookie });
  tables.inodes.put(volume, oneAfter);
  tables.inodes.put(volume, otherAfter);
  tables.inodes.put(volume, oneDirectory);
  if (otherDirectory !== oneDirectory) tables.inodes.put(volume, otherDirectory);
  return { kind: "removed", orphan: 0 };
}

function contains(context: FileContext, entry: EntryRecord, directory: number): boolean {
  return entry.type === "directory" && isAtOrAbove(context, entry.inode, directory);
}

/** Throws EMLINK: called before anything is changed. */
function giveLinks(directory: InodeRecord, count: number): void {
  if (count > 0 && directory.attributes.linkCount >= linkCountMax) throw new FileError("EMLINK");
  directory.attributes.linkCount += count;
}

function movedTo(context: FileContext, before: InodeRecord, parent: number, cookie: number, tree: number): InodeRecord {
  const moved = draftOf(before);
  moved.tree = tree;
  moved.parent = parent;
  moved.parentCookie = cookie;
  markChanged(context, moved);
  return moved;
}
