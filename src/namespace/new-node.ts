/** What a new node gets: from who asks for it, from its type, and from the directory in which it is made. */
import { inheritLists } from "./access-control-lists.ts";
import { newInode, permissionBits, setGroupId } from "./inodes.ts";
import type { FileType, InodeRecord } from "./model.ts";

export interface AskedNode {
  readonly inode: number;
  readonly type: FileType;
  readonly mode: number;
  readonly umask: number;
  readonly uid: number;
  readonly gid: number;
  readonly device: number;
  readonly target: string;
}

/** Group and setgid as inode_init_owner in the kernel, the mode as posix_acl_create. */
export function newNodeIn(
  parent: InodeRecord,
  asked: AskedNode,
  place: { parent: number; cookie: number },
  timeNs: bigint,
): InodeRecord {
  const { inode, type, uid, target } = asked;
  const inherits = (parent.attributes.mode & setGroupId) !== 0;
  const isDevice = type === "characterDevice" || type === "blockDevice";
  const gid = inherits ? parent.attributes.gid : asked.gid;
  const device = isDevice ? asked.device : 0;
  let mode = type === "symlink" ? 0o777 : asked.mode & permissionBits;
  if (type === "directory" && inherits) mode |= setGroupId;
  const record = newInode({ inode, type, mode, uid, gid, device, target }, place, timeNs);
  record.tree = parent.tree;
  if (type !== "symlink" && !inheritLists(parent, record)) record.attributes.mode &= ~(asked.umask & 0o777);
  return record;
}
