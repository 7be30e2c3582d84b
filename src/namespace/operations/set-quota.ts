/**
 * setQuota: limits of a volume, a directory, a user or a group. Usage of all but directories is known before there are limits. A
 * directory gets its own number as its tree; what is below it is counted afterwards, from the top down, by countTree, and taken out
 * again in the same way when its limits go.
 *
 * Errors: ENOENT (no such volume or directory), ENOTDIR, EINVAL (an id for a volume; the root, which has the volume's quota; a
 * directory in another's tree, or above one), EBUSY (another directory of the volume is being counted).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import { draftOf } from "../inodes.ts";
import type { InodeRecord } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";
import { isTreeRoot } from "../quota-trees.ts";
import { hasLimits } from "../usage.ts";

export function setQuota(context: Context, { volume, subject, limits }: OperationOf<"setQuota">): Result {
  const { inodes, quotas, volumes } = context.tables;
  const record = volumes.get(volume);
  if (record?.deleted !== false) throw new FileError("ENOENT", `no volume ${volume}`);
  if (subject.kind === "volume" && subject.id !== 0) throw new FileError("EINVAL", "a volume has no id here");
  const isSet = hasLimits(limits);
  if (subject.kind === "tree") {
    const directory = treeDirectory(context, volume, subject.id, isSet);
    if (isSet !== isTreeRoot(directory)) {
      const changed = draftOf(directory);
      changed.tree = isSet ? subject.id : 0;
      inodes.put(volume, changed);
      quotas.putCounting({ volume, tree: subject.id, directory: subject.id, after: 0 });
    }
  }
  quotas.setLimits(volume, subject.kind, subject.id, limits);
  volumes.put({ ...record, quotaVersion: record.quotaVersion + 1 });
  return { kind: "done" };
}

function treeDirectory(context: Context, volume: number, inode: number, isSet: boolean): InodeRecord {
  const { inodes, quotas, volumes } = context.tables;
  const { root } = volumes.get(volume)!;
  const directory = inodes.get(volume, inode);
  if (directory === undefined || directory.attributes.linkCount === 0) throw new FileError("ENOENT");
  if (directory.attributes.type !== "directory") throw new FileError("ENOTDIR");
  if (inode === root) throw new FileError("EINVAL", "the root has the volume's quota");
  if (isTreeRoot(directory)) return directory;
  if (!isSet || directory.tree !== 0) throw new FileError(isSet ? "EINVAL" : "ENOENT", "it is in another's quota");
  const others = quotas.trees(volume).filter(({ subject }) => subject.id !== inode);
  if (quotas.counting(2, volume).some(({ tree }) => tree !== inode)) throw new FileError("EBUSY");
  if (others.some(({ subject }) => isBelow(context, volume, inode, subject.id))) {
    throw new FileError("EINVAL", "a directory below it has a quota");
  }
  return directory;
}

/** A directory that is gone is below nothing. */
function isBelow(context: Context, volume: number, above: number, directory: number): boolean {
  const { inodes, volumes } = context.tables;
  const { root } = volumes.get(volume)!;
  for (let at = inodes.get(volume, directory); at !== undefined; at = inodes.get(volume, at.parent)) {
    if (at.attributes.inode === above) return true;
    if (at.attributes.inode === root || at.attributes.linkCount === 0) return false;
  }
  return false;
}
