/**
 * POSIX ACLs as the model has them: all of one form, with one named user. What they do to the mode, and what is inherited,
 * acl(5) says.
 */
import { accessListName, defaultListName } from "../namespace/access-control-lists.ts";
import type { ModelInode } from "./model.ts";

/** Five octal digits: what the owner, the named user, the group, the mask and others may do. */
export type AccessList = string;
export type ListKind = "access" | "default";

export const listNames: Readonly<Record<ListKind, string>> = { access: accessListName, default: defaultListName };

/** linux/posix_acl_xattr.h: the version, and tag, permissions and id of each entry. */
const version = 2;
const tags = [0x01, 0x02, 0x04, 0x10, 0x20] as const;
const namedUser = 1234;
const noId = 0xffff_ffff;
const headerBytes = 4;
const entryBytes = 8;

/** As setxattr(2) has it. */
export function encodedList(list: AccessList): Buffer {
  const bytes = Buffer.alloc(headerBytes + tags.length * entryBytes);
  bytes.writeUInt32LE(version, 0);
  for (const [index, tag] of tags.entries()) {
    const at = headerBytes + index * entryBytes;
    bytes.writeUInt16LE(tag, at);
    bytes.writeUInt16LE(Number(list[index]), at + 2);
    bytes.writeUInt32LE(tag === 0x02 ? namedUser : noId, at + 4);
  }
  return bytes;
}

/** What getxattr(2) gave; as hexadecimal digits where it has another form. */
export function decodedList(bytes: Uint8Array): AccessList | string {
  const buffer = Buffer.from(bytes);
  if (buffer.byteLength !== headerBytes + tags.length * entryBytes) return buffer.toString("hex");
  const list = tags.map((_tag, index) => buffer.readUInt16LE(headerBytes + index * entryBytes + 2)).join("");
  return encodedList(list).equals(buffer) ? list : buffer.toString("hex");
}

/** The file has the access list, and the permissions that go with it: the group's are the mask's. */
function withAccessList(inode: ModelInode, list: AccessList): ModelInode {
  const mode = (inode.mode & ~0o777) | permissionsOf(list);
  return { ...inode, mode, lists: new Map([...inode.lists, ["access", list]]) };
}

export function withList(inode: ModelInode, which: ListKind, list: AccessList | undefined): ModelInode {
  if (list !== undefined && which === "access") return withAccessList(inode, list);
  const lists = new Map(inode.lists);
  if (list === undefined) lists.delete(which);
  else lists.set(which, list);
  return { ...inode, lists };
}

/** chmod(2): owner, mask and others get what the mode says. */
export function withMode(inode: ModelInode, mode: number): ModelInode {
  const list = inode.lists.get("access");
  const changed = { ...inode, mode };
  if (list === undefined) return changed;
  const [, user, group] = list;
  const [owner, mask, others] = digits(mode);
  return { ...changed, lists: new Map([...inode.lists, ["access", `${owner}${user}${group}${mask}${others}`]]) };
}

/** What is made in a directory with a default list: no more than both the list and the mode allow. */
export function inheriting(made: ModelInode, { lists }: ModelInode): ModelInode {
  const inherited = lists.get("default");
  if (inherited === undefined || made.type === "symlink") return made;
  const [owner, mask, others] = digits(made.mode);
  const [first, user, group, fourth, last] = [...inherited].map(Number);
  const own = withAccessList(made, `${first! & owner}${user}${group}${fourth! & mask}${last! & others}`);
  return made.type === "directory" ? withList(own, "default", inherited) : own;
}

function permissionsOf(list: AccessList): number {
  const [owner, , , mask, others] = [...list].map(Number);
  return (owner! << 6) | (mask! << 3) | others!;
}

function digits(mode: number): [number, number, number] {
  return [(mode >> 6) & 7, (mode >> 3) & 7, mode & 7];
}
