/**
 * What an inode counts for in quotas: itself, and the bytes that stat(2) shows as allocated (one block more, where there are holes
 * within chunks). The namespace knows a file's size and its chunks, not which blocks of a chunk were written; so it is all up to
 * the end of the file, but no more than its mapped chunks have. Holes of whole chunks count for nothing.
 *
 * It follows from the inode's record alone. So usage is kept exactly by looking at each record as it was and as it becomes,
 * whatever the operation (tables/quota-table.ts), and can be counted anew from all records (invariants/quotas.ts).
 */
import type { FileContext } from "./context.ts";
import { type Attributes, blockBytes, chunkBytes, type InodeRecord, type QuotaLimits } from "./model.ts";

export function allocatedBytes({ size, chunkCount }: Pick<Attributes, "size" | "chunkCount">): number {
  return Math.min(Math.ceil(size / blockBytes) * blockBytes, chunkCount * chunkBytes);
}

/** Who pays for an inode: everything of one account counts for the same quotas. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
  readonly tree: number;
}

export interface Amount {
  readonly bytes: number;
  readonly inodes: number;
}

export const dimensions = ["bytes", "inodes"] as const;
export type Dimension = (typeof dimensions)[number];

export function hasLimits(limits: QuotaLimits | undefined): boolean {
  return dimensions.some((of) => limits?.[of] !== undefined);
}

export function accountOf({ attributes, tree }: InodeRecord): Account {
  return { uid: attributes.uid, gid: attributes.gid, tree };
}

export function isSameAccount(one: Account, other: Account): boolean {
  return one.uid === other.uid && one.gid === other.gid && one.tree === other.tree;
}

/** For maps. */
export function accountKey({ uid, gid, tree }: Account): string {
  return `${uid} ${gid} ${tree}`;
}

/** What a change adds to the usage of the account that the inode has afterwards; at least 0. */
export function addedBy(before: InodeRecord | undefined, after: InodeRecord): Amount {
  const bytes = allocatedBytes(after.attributes);
  if (before === undefined || !isSameAccount(accountOf(before), accountOf(after))) return { bytes, inodes: 1 };
  return { bytes: Math.max(0, bytes - allocatedBytes(before.attributes)), inodes: 0 };
}

/** The last check of an operation that adds to usage: in a client, it is granted now, or this throws. */
export function charge(context: FileContext, before: InodeRecord | undefined, after: InodeRecord): void {
  if (context.charge === undefined) return;
  const amount = addedBy(before, after);
  if (amount.bytes > 0 || amount.inodes > 0) context.charge(accountOf(after), amount);
}
