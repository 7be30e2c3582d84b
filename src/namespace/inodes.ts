/** Rules about inodes that several operations share: times, link counts, entries, set-id bits. */
import { FileError } from "../errors/file-error.ts";
import type { FileContext } from "./context.ts";
import { type Attributes, type EntryRecord, type InodeRecord, nameBytesMax } from "./model.ts";
import { firstCookie } from "./tables/entry-table.ts";

export const setUserId = 0o4000;
export const setGroupId = 0o2000;
export const groupExecute = 0o010;
export const permissionBits = 0o7777;

/** A directory's size in stat(2): this much an entry. */
export const entrySizeBytes = 32;

/** A number that can't be a name of the kernel's: it resolves `.`, `..` and `/` itself. Errors: EINVAL, ENAMETOOLONG. */
export function checkName(name: string): void {
  if (name.length > nameBytesMax) throw new FileError("ENAMETOOLONG");
  if (name === "" || name === "." || name === ".." || name.includes("/") || name.includes("\0")) {
    throw new FileError("EINVAL", "not a name of an entry");
  }
}

/** An inode of the session's volume, orphans included. Errors: ENOENT. */
export function inodeOf(context: FileContext, inode: number): InodeRecord {
  const record = context.tables.inodes.get(context.volume, inode);
  if (record === undefined) throw new FileError("ENOENT", `inode ${inode} is not there`);
  return record;
}

/** A directory that still has its name, and so can take and has entries. Errors: ENOENT, ENOTDIR. */
export function directoryOf(context: FileContext, inode: number): InodeRecord {
  const record = inodeOf(context, inode);
  if (record.attributes.type !== "directory") throw new FileError("ENOTDIR");
  if (record.attributes.linkCount === 0) throw new FileError("ENOENT", `directory ${inode} was removed`);
  return record;
}

/** Errors: ENOENT. */
export function entryOf(context: FileContext, directory: number, name: string): EntryRecord {
  const entry = context.tables.entries.get(context.volume, directory, name);
  if (entry === undefined) throw new FileError("ENOENT");
  return entry;
}

/** True if `ancestor` is `directory` or above it. */
export function isAtOrAbove(context: FileContext, ancestor: number, directory: number): boolean {
  const { root } = context.tables.volumes.get(context.volume)!;
  for (let inode = directory; ; inode = inodeOf(context, inode).parent) {
    if (inode === ancestor) return true;
    if (inode === root) return false;
  }
}

/** A copy that may be changed and then put. */
export function draftOf(record: InodeRecord): InodeRecord {
  return { ...record, attributes: { ...record.attributes } };
}

/** The time of a change of this inode: its ctime never falls, and two changes never have the same. */
export function stampNs(context: { readonly timeNs: bigint }, attributes: Attributes): bigint {
  return context.timeNs > attributes.ctimeNs ? context.timeNs : attributes.ctimeNs + 1n;
}

/** The inode's attributes or links have changed. */
export function markChanged(context: { readonly timeNs: bigint }, draft: InodeRecord): void {
  draft.attributes.ctimeNs = stampNs(context, draft.attributes);
}

/** The inode's data or the directory's entries have changed. */
export function markModified(context: { readonly timeNs: bigint }, draft: InodeRecord): void {
  const nowNs = stampNs(context, draft.attributes);
  draft.attributes.ctimeNs = nowNs;
  draft.attributes.mtimeNs = nowNs;
}

/** Takes the next cookie of a directory for an entry that is added. */
export function addEntry(directory: InodeRecord): number {
  const cookie = directory.nextCookie;
  directory.nextCookie = cookie + 1;
  directory.attributes.size += entrySizeBytes;
  return cookie;
}

export function removeEntry(directory: InodeRecord): void {
  directory.attributes.size -= entrySizeBytes;
}

/** True for a directory without entries. */
export function isEmpty(directory: InodeRecord): boolean {
  return directory.attributes.size === 0;
}

/**
 * An inode loses a name: a directory both of its links, anything else one. Without any left it becomes an orphan.
 * Returns the inode's number then, else 0.
 */
export function loseName(context: FileContext, record: InodeRecord): number {
  const draft = draftOf(record);
  draft.attributes.linkCount = record.attributes.type === "directory" ? 0 : record.attributes.linkCount - 1;
  markChanged(context, draft);
  context.tables.inodes.put(context.volume, draft);
  if (draft.attributes.linkCount > 0) return 0;
  context.tables.inodes.addOrphan(context.volume, draft.attributes.inode);
  return draft.attributes.inode;
}

/**
 * The mode after a write, truncate or chown by someone who may not keep the set-id bits (linux/fs.h,
 * should_remove_suid): setuid goes always, setgid where the group may execute. Directories keep them.
 */
export function modeWithoutPrivileges(attributes: Attributes): number {
  if (attributes.type === "directory") return attributes.mode;
  const withoutUser = attributes.mode & ~setUserId;
  return (withoutUser & groupExecute) !== 0 ? withoutUser & ~setGroupId : withoutUser;
}

/** Whatever a file's capabilities vouched for has changed or has another owner: they go, whoever did it (capabilities(7)). */
export function dropCapabilities(draft: InodeRecord): void {
  if (!draft.extendedAttributes.some(isCapability)) return;
  draft.extendedAttributes = draft.extendedAttributes.filter((one) => !isCapability(one));
}

function isCapability({ name }: { readonly name: string }): boolean {
  return name === "security.capability";
}

/** A new inode with one link (a directory: two) and no entries. */
export function newInode(
  node: Pick<Attributes, "inode" | "type" | "mode" | "uid" | "gid" | "device"> & { target: string },
  place: { parent: number; cookie: number },
  timeNs: bigint,
): InodeRecord {
  return {
    attributes: {
      inode: node.inode,
      type: node.type,
      mode: node.mode,
      uid: node.uid,
      gid: node.gid,
      linkCount: node.type === "directory" ? 2 : 1,
      size: node.target.length,
      chunkCount: 0,
      hasHoles: false,
      device: node.device,
      atimeNs: timeNs,
      mtimeNs: timeNs,
      ctimeNs: timeNs,
      btimeNs: timeNs,
    },
    parent: place.parent,
    parentCookie: place.cookie,
    target: node.target,
    nextCookie: firstCookie,
    extendedAttributes: [],
    pool: 0,
    tree: 0,
  };
}
