/**
 * What permission bits and ACLs allow (inode(7), acl(5), path_resolution(7)), as the kernel's generic_permission and
 * posix_acl_permission: for the leader, and for programs that use a volume without a kernel before it.
 */
import { type Asker, accessListName, allows, listOf, parseList } from "./access-control-lists.ts";
import { groupExecute, modeWithoutPrivileges, setGroupId, setUserId } from "./inodes.ts";
import type { Attributes, InodeRecord } from "./model.ts";

/** Bits of what is wanted; several together have to be allowed by one and the same entry of a list. */
export const wanted = { read: 4, write: 2, execute: 1 } as const;
/** What it takes to make and remove names in a directory. */
export const writeAndSearch = wanted.write | wanted.execute;

const sticky = 0o1000;
const groupBits = 0o070;

export function isInGroup({ gid, groups }: Asker, group: number): boolean {
  return gid === group || groups.includes(group);
}

/** Only the owner changes mode and times. */
export function isOwner(who: Asker, { uid }: Attributes): boolean {
  return who.uid === 0 || who.uid === uid;
}

/** The mode that the owner can give a file (chmod(2)): setgid only for a group that he is in. */
export function modeToGive(who: Asker, { gid }: Attributes, mode: number): number {
  return who.uid === 0 || isInGroup(who, gid) ? mode : mode & ~setGroupId;
}

/** Whether the outcome depends on the inode's ACL. The group's bits are a list's mask: without them it allows nothing. */
export function asksList(who: Asker, { mode, uid }: Attributes): boolean {
  return who.uid !== 0 && who.uid !== uid && (mode & groupBits) !== 0;
}

/** @param list the inode's access ACL, if it has one and `asksList` */
export function allowsAccess(who: Asker, attributes: Attributes, list: Uint8Array | undefined, bits: number): boolean {
  const { mode, uid, gid, type } = attributes;
  // Root may do everything, but execute only what somebody may.
  if (who.uid === 0) return (bits & wanted.execute) === 0 || type === "directory" || (mode & 0o111) !== 0;
  const has = (shift: number): boolean => ((mode >> shift) & bits) === bits;
  if (who.uid === uid) return has(6);
  if (list !== undefined && asksList(who, attributes)) return allows(parseList(list), who, attributes, bits);
  return has(isInGroup(who, gid) ? 3 : 0);
}

export function mayAccess(who: Asker, record: InodeRecord, bits: number): boolean {
  return allowsAccess(who, record.attributes, listOf(record, accessListName), bits);
}

/** In a sticky directory only the owners of directory and entry remove or replace it. */
export function isKeptBySticky(who: Asker, directory: Attributes, entry: Attributes): boolean {
  return (directory.mode & sticky) !== 0 && !isOwner(who, directory) && !isOwner(who, entry);
}

export function isSticky({ mode }: Attributes): boolean {
  return (mode & sticky) !== 0;
}

/**
 * Whether the data of a file may be changed. Its owner may always: files are made with modes that forbid what their maker
 * still writes, and open handles are nothing that servers know (as with NFS).
 */
export function mayChangeData(who: Asker, record: InodeRecord): boolean {
  return isOwner(who, record.attributes) || mayAccess(who, record, wanted.write);
}

/** Whether a read may count as one: what `access` tells the leader. */
export function mayRead(who: Asker, record: InodeRecord): boolean {
  return isOwner(who, record.attributes) || mayAccess(who, record, wanted.read);
}

/** Whether one may know where the data of a file lies. */
export function mayUseData(who: Asker, record: InodeRecord): boolean {
  return mayChangeData(who, record) || mayRead(who, record);
}

/** Whether one may know names in a directory that he asks for. */
export function mayLookUp(who: Asker, record: InodeRecord): boolean {
  return mayAccess(who, record, wanted.execute) || mayAccess(who, record, wanted.read);
}

/** True for a file with set-id bits that go when somebody writes to it. */
export function hasPrivileges(attributes: Attributes): boolean {
  return modeWithoutPrivileges(attributes) !== attributes.mode;
}

/** Whether somebody else's file may get a further name from this user (proc(5), protected_hardlinks, as all distributions set it). */
export function mayLink(who: Asker, record: InodeRecord): boolean {
  const { type, mode } = record.attributes;
  if (isOwner(who, record.attributes)) return true;
  const isSetGroup = (mode & setGroupId) !== 0 && (mode & groupExecute) !== 0;
  if (type !== "file" || (mode & setUserId) !== 0 || isSetGroup) return false;
  return mayAccess(who, record, wanted.read | wanted.write);
}
