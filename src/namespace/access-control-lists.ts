/**
 * POSIX ACLs, acl(5): who beside owner, group and others may do what. The kernel checks them; what they do to the mode, and
 * how they are inherited, is done here as in the kernel's fs/posix_acl.c.
 *
 * A list is kept as the extended attribute by which the kernel asks for it (linux/posix_acl_xattr.h: version 2, then tag,
 * permissions and id of each entry), so it comes with the lease on its inode. One that says no more than a mode is not kept.
 */
import { FileError } from "../errors/file-error.ts";
import type { ExtendedAttribute, InodeRecord } from "./model.ts";

export const accessListName = "system.posix_acl_access";
export const defaultListName = "system.posix_acl_default";

const version = 2;
const headerBytes = 4;
const entryBytes = 8;
/** All entries in an extended attribute of 64 KiB. */
const entriesMax = 8191;
const tag = { userObject: 1, user: 2, groupObject: 4, group: 8, mask: 16, other: 32 } as const;
const knownTags = new Set<number>(Object.values(tag));

interface Entry {
  readonly tag: number;
  /** Read 4, write 2, execute 1. */
  readonly bits: number;
  /** User or group, where the tag wants one. */
  readonly id: number;
}
export type AccessControlList = readonly Entry[];

/** Who wants to do something. */
export interface Asker {
  readonly uid: number;
  readonly gid: number;
  /** Supplementary groups. */
  readonly groups: readonly number[];
}

/** Errors: EINVAL for what posix_acl_valid(9) refuses. */
export function parseList(value: Uint8Array): AccessControlList {
  const buffer = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  const count = (buffer.length - headerBytes) / entryBytes;
  if (!Number.isInteger(count) || count < 3 || count > entriesMax || buffer.readUInt32LE(0) !== version)
    throw invalid();
  const list = Array.from({ length: count }, (_, index) => {
    const at = headerBytes + index * entryBytes;
    return { tag: buffer.readUInt16LE(at), bits: buffer.readUInt16LE(at + 2), id: buffer.readUInt32LE(at + 4) };
  });
  checkList(list);
  return list;
}

/** One entry for each class, in the order of tags; a mask where an entry has a name. */
function checkList(list: AccessControlList): void {
  let last = 0;
  for (const entry of list) {
    if (!knownTags.has(entry.tag) || (entry.bits & ~7) !== 0 || entry.tag < last) throw invalid();
    if (entry.tag === last && entry.tag !== tag.user && entry.tag !== tag.group) throw invalid();
    last = entry.tag;
  }
  const has = (one: number): boolean => list.some((entry) => entry.tag === one);
  if (!has(tag.userObject) || !has(tag.groupObject) || !has(tag.other)) throw invalid();
  if ((has(tag.user) || has(tag.group)) && !has(tag.mask)) throw invalid();
}

function invalid(): FileError {
  return new FileError("EINVAL", "not a POSIX ACL");
}

function encodeList(list: AccessControlList): Buffer {
  const buffer = Buffer.alloc(headerBytes + list.length * entryBytes);
  buffer.writeUInt32LE(version, 0);
  for (const [index, { tag, bits, id }] of list.entries()) {
    const at = headerBytes + index * entryBytes;
    buffer.writeUInt16LE(tag, at);
    buffer.writeUInt16LE(bits, at + 2);
    buffer.writeUInt32LE(id, at + 4);
  }
  return buffer;
}

/**
 * Whether a list allows all the `wanted` bits, in the order of acl(5): the owner's entry; one of the user's own; those of his groups,
 * of which one is enough; else, if he is in none of them, the others'. All but the first and the last go through the mask.
 */
export function allows(
  list: AccessControlList,
  who: Asker,
  { uid, gid }: { readonly uid: number; readonly gid: number },
  wanted: number,
): boolean {
  const has = ({ bits }: Entry): boolean => (bits & wanted) === wanted;
  const entry = (one: number): Entry | undefined => list.find(({ tag }) => tag === one);
  const mask = entry(tag.mask);
  const passesMask = mask === undefined || has(mask);
  if (who.uid === uid) return has(entry(tag.userObject)!);
  const own = list.find((one) => one.tag === tag.user && one.id === who.uid);
  if (own !== undefined) return has(own) && passesMask;
  const isIn = (group: number): boolean => who.gid === group || who.groups.includes(group);
  const ofGroups = list.filter((one) =>
    one.tag === tag.groupObject ? isIn(gid) : one.tag === tag.group && isIn(one.id),
  );
  if (ofGroups.length > 0) return ofGroups.some(has) && passesMask;
  return has(entry(tag.other)!);
}

/** True if a mode says all of it. */
export function isMinimal(list: AccessControlList): boolean {
  return list.length === 3;
}

/** The nine permission bits that go with a list: the group's are the mask's, where there is one. */
export function permissionsOf(list: AccessControlList): number {
  const bitsOf = (one: number): number => list.find((entry) => entry.tag === one)?.bits ?? 0;
  const groupBits = bitsOf(classOfGroup(list));
  return (bitsOf(tag.userObject) << 6) | (groupBits << 3) | bitsOf(tag.other);
}

/** The entry that the mode's group bits stand for. */
function classOfGroup(list: AccessControlList): number {
  return list.some((entry) => entry.tag === tag.mask) ? tag.mask : tag.groupObject;
}

/** The list with each class's bits as `change` makes them of what they were and what the mode has in their place. */
function withMode(list: AccessControlList, mode: number, change: (bits: number, modeBits: number) => number) {
  const group = classOfGroup(list);
  return list.map((entry) => {
    if (entry.tag === tag.userObject) return { ...entry, bits: change(entry.bits, (mode >>> 6) & 7) };
    if (entry.tag === group) return { ...entry, bits: change(entry.bits, (mode >>> 3) & 7) };
    if (entry.tag === tag.other) return { ...entry, bits: change(entry.bits, mode & 7) };
    return entry;
  });
}

/** After chmod(2): the classes get the mode's bits, named entries stay. */
export function followMode(draft: InodeRecord): void {
  const value = listOf(draft, accessListName);
  if (value === undefined) return;
  const list = withMode(parseList(value), draft.attributes.mode, (_bits, modeBits) => modeBits);
  putList(draft, accessListName, list);
}

/**
 * What a new node, not a symlink, gets from a directory with a default list: no more than both the list and `mode` allow;
 * the umask is left aside. Changes the node's mode. False without such a list.
 */
export function inheritLists(parent: InodeRecord, draft: InodeRecord): boolean {
  const value = listOf(parent, defaultListName);
  if (value === undefined) return false;
  const inherited = parseList(value);
  const { attributes } = draft;
  const list = withMode(inherited, attributes.mode, (bits, modeBits) => bits & modeBits);
  attributes.mode = (attributes.mode & ~0o777) | permissionsOf(list);
  if (!isMinimal(list)) putList(draft, accessListName, list);
  if (attributes.type === "directory") putList(draft, defaultListName, inherited);
  return true;
}

export function listOf(record: InodeRecord, name: string): Uint8Array | undefined {
  return record.extendedAttributes.find((one) => one.name === name)?.value;
}

export function putList(draft: InodeRecord, name: string, list: AccessControlList): void {
  const set: ExtendedAttribute = { name, value: encodeList(list) };
  const at = draft.extendedAttributes.findIndex((one) => one.name === name);
  draft.extendedAttributes =
    at < 0
      ? [...draft.extendedAttributes, set]
      : draft.extendedAttributes.map((one, index) => (index === at ? set : one));
}

export function dropList(draft: InodeRecord, name: string): void {
  draft.extendedAttributes = draft.extendedAttributes.filter((one) => one.name !== name);
}
