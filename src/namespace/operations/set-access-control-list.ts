/**
 * setAccessControlList: setxattr(2) and removexattr(2) of `system.posix_acl_access` and `system.posix_acl_default`.
 *
 * The access list is tied to the mode: setting it sets the nine permission bits, and one that says no more than they do is
 * not kept. Removing it leaves the mode, and removing what isn't there changes nothing, as on local file systems.
 *
 * Errors, in this order: ENOENT (the inode is gone; an orphan isn't), EOPNOTSUPP for a symlink, EACCES for the default list
 * of anything but a directory, EINVAL, ENOSPC.
 */
import { FileError } from "../../errors/file-error.ts";
import {
  accessListName,
  defaultListName,
  dropList,
  isMinimal,
  listOf,
  parseList,
  permissionsOf,
  putList,
} from "../access-control-lists.ts";
import type { FileContext } from "../context.ts";
import { draftOf, inodeOf, markChanged, setGroupId } from "../inodes.ts";
import { extendedBytesMax, extendedCountMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";
import { bytesOf } from "./extended-attributes.ts";

export function setAccessControlList(context: FileContext, operation: OperationOf<"setAccessControlList">): Result {
  const { inode, which, list: value, killSetGroupId } = operation;
  const before = inodeOf(context, inode);
  const { type } = before.attributes;
  if (type === "symlink") throw new FileError("EOPNOTSUPP", "a symlink has no ACL");
  const name = which === "access" ? accessListName : defaultListName;
  if (value.byteLength === 0 && listOf(before, name) === undefined) {
    return { kind: "attributes", attributes: before.attributes };
  }
  if (which === "default" && type !== "directory") throw new FileError("EACCES", "only a directory has a default ACL");

  const record = draftOf(before);
  if (value.byteLength === 0) dropList(record, name);
  else {
    const list = parseList(value);
    if (which === "access") {
      record.attributes.mode = (record.attributes.mode & ~0o777) | permissionsOf(list);
      if (killSetGroupId) record.attributes.mode &= ~setGroupId;
    }
    if (which === "access" && isMinimal(list)) dropList(record, name);
    else putList(record, name, list);
  }
  const { extendedAttributes } = record;
  if (bytesOf(extendedAttributes) > extendedBytesMax || extendedAttributes.length > extendedCountMax) {
    throw new FileError("ENOSPC", "too many extended attributes");
  }
  markChanged(context, record);
  context.tables.inodes.put(context.volume, record);
  return { kind: "attributes", attributes: record.attributes };
}
