/**
 * Quotas on directories: which inodes count for one, and what may cross their borders.
 *
 * Each inode carries the number of the directory whose quota it counts for (`tree`), and what is made in a directory carries the
 * same as the directory. So what to charge is known from one record, without a walk up, also in a client that has nothing but a
 * lease. The directory itself is in its tree. Trees don't nest.
 *
 * - A file with one name takes its usage along when it is moved over a border.
 * - Anything else is refused over a border with EXDEV, and mv(1) copies it: a directory, of which everything below it would have
 *   to change, and a file with several names, which would count for one tree and be in two. link(2), too.
 */
import { FileError } from "../errors/file-error.ts";
import type { InodeRecord, QuotaLimits } from "./model.ts";
import { hasLimits } from "./usage.ts";

/** True for the directory that the quota is on. */
export function isTreeRoot({ attributes, tree }: InodeRecord): boolean {
  return tree === attributes.inode;
}

/**
 * The tree of an inode that is moved from one directory to another, which may be the same.
 *
 * While a quota is being counted, or taken back, a directory may not have its parent's tree yet; then it stays where it will be
 * looked at. `keepsTurn`: it gets a new entry in its old directory, behind those that were looked at.
 *
 * Errors: EXDEV.
 */
export function treeAfterMove(moved: InodeRecord, from: InodeRecord, to: InodeRecord, keepsTurn: boolean): number {
  const isFile = moved.attributes.type !== "directory";
  if (isFile && (from.tree === to.tree || moved.attributes.linkCount === 1)) return to.tree;
  if (isFile) throw new FileError("EXDEV", "a file with several names stays in its quota");
  // What a quota is on is itself outside of it.
  const outer = isTreeRoot(moved) ? 0 : moved.tree;
  if (outer === to.tree || keepsTurn) return moved.tree;
  throw new FileError("EXDEV", "the directories have different quotas");
}

/** What counting does to the trees of inodes: with limits it takes them in, without it takes them out. */
export function treeChange(limits: QuotaLimits | undefined, tree: number): { from: number; to: number } {
  return hasLimits(limits) ? { from: 0, to: tree } : { from: tree, to: 0 };
}
