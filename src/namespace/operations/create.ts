/**
 * create: open(2) with O_CREAT, mkdir(2), mknod(2), symlink(2).
 *
 * Errors, in this order: ENOENT (parent gone or removed), ENOTDIR, ENAMETOOLONG, EEXIST, EMLINK (subdirectories of the
 * parent), then ENOENT for an empty symlink target, EINVAL for what no client of ours sends: a number that the session was
 * not granted, a target for something else.
 */
import { FileError } from "../../errors/file-error.ts";
import type { FileContext } from "../context.ts";
import { addEntry, checkName, directoryOf, draftOf, markModified } from "../inodes.ts";
import { type FileType, linkCountMax } from "../model.ts";
import { newNodeIn } from "../new-node.ts";
import type { OperationOf, Result } from "../operation.ts";
import { charge } from "../usage.ts";

export function create(context: FileContext, operation: OperationOf<"create">): Result {
  const { tables, volume, session } = context;
  const { name, inode, type } = operation;
  const parent = directoryOf(context, operation.parent);
  checkName(name);
  if (tables.entries.get(volume, operation.parent, name) !== undefined) throw new FileError("EEXIST");
  if (type === "directory" && parent.attributes.linkCount >= linkCountMax) throw new FileError("EMLINK");
  checkTarget(type, operation.target);
  if (!session.inodeGrants.has(inode)) throw new FileError("EINVAL", `inode ${inode} is not the session's to use`);

  const directory = draftOf(parent);
  const cookie = addEntry(directory);
  if (type === "directory") directory.attributes.linkCount += 1;
  markModified(context, directory);
  const record = newNodeIn(parent, operation, { parent: operation.parent, cookie }, context.timeNs);
  charge(context, undefined, record);
  session.inodeGrants.use(inode);
  tables.inodes.add(volume, record);
  tables.inodes.put(volume, directory);
  tables.entries.put(volume, operation.parent, name, { inode, type, cookie });
  tables.volumes.count(volume, 1, 0);
  return { kind: "attributes", attributes: record.attributes };
}

/** symlink(2): ENOENT for an empty target. */
function checkTarget(type: FileType, target: string): void {
  if (type !== "symlink" && target !== "") throw new FileError("EINVAL", `a ${type} has no target`);
  if (type === "symlink" && target === "") throw new FileError("ENOENT", "a symlink's target is empty");
}
