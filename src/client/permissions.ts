/** What permission bits allow (inode(7), path_resolution(7)): for programs that use a volume without a kernel before it. */
import type { Attributes } from "../namespace/model.ts";

/** Who asks. */
export interface Credentials {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
}

const bits = { read: 4, write: 2, execute: 1 } as const;
export type Access = keyof typeof bits;

const sticky = 0o1000;

export function mayAccess(who: Credentials, { mode, uid, gid, type }: Attributes, access: Access): boolean {
  // Root may do everything, but execute only what somebody may.
  if (who.uid === 0) return access !== "execute" || type === "directory" || (mode & 0o111) !== 0;
  const isInGroup = who.gid === gid || who.groups.includes(gid);
  const shift = who.uid === uid ? 6 : isInGroup ? 3 : 0;
  return ((mode >> shift) & bits[access]) !== 0;
}

/** Whether the entry may be removed from the directory, or replaced in it. */
export function mayRemove(who: Credentials, directory: Attributes, entry: Attributes): boolean {
  if (!mayAccess(who, directory, "write") || !mayAccess(who, directory, "execute")) return false;
  return (directory.mode & sticky) === 0 || who.uid === 0 || who.uid === entry.uid || who.uid === directory.uid;
}

/** Only the owner changes mode and times. */
export function isOwner(who: Credentials, { uid }: Attributes): boolean {
  return who.uid === 0 || who.uid === uid;
}
