/**
 * setExtendedAttribute, removeExtendedAttribute: setxattr(2), removexattr(2). They are part of the inode's record, so they
 * come with a lease on it.
 *
 * Errors, in this order: ENOENT (the inode is gone; an orphan isn't), ERANGE (the name is empty), EEXIST or ENODATA as the
 * mode says, ENOSPC.
 */
import { FileError } from "../../errors/file-error.ts";
import type { FileContext } from "../context.ts";
import { draftOf, inodeOf, markChanged } from "../inodes.ts";
import { type ExtendedAttribute, extendedBytesMax, extendedCountMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";

export function setExtendedAttribute(context: FileContext, operation: OperationOf<"setExtendedAttribute">): Result {
  const before = inodeOf(context, operation.inode);
  const { name, value, mode } = operation;
  if (name === "") throw new FileError("ERANGE");
  const at = before.extendedAttributes.findIndex((one) => one.name === name);
  if (at >= 0 && mode === "create") throw new FileError("EEXIST");
  if (at < 0 && mode === "replace") throw new FileError("ENODATA");
  const set = { name, value };
  const after = before.extendedAttributes.map((one, index) => (index === at ? set : one));
  if (at < 0) after.push(set);
  if (bytesOf(after) > extendedBytesMax || after.length > extendedCountMax)
    throw new FileError("ENOSPC", "too many extended attributes");
  return replace(context, operation.inode, after);
}

export function removeExtendedAttribute(
  context: FileContext,
  operation: OperationOf<"removeExtendedAttribute">,
): Result {
  const before = inodeOf(context, operation.inode);
  const after = before.extendedAttributes.filter((one) => one.name !== operation.name);
  if (after.length === before.extendedAttributes.length) throw new FileError("ENODATA");
  return replace(context, operation.inode, after);
}

function replace(context: FileContext, inode: number, extendedAttributes: ExtendedAttribute[]): Result {
  const record = { ...draftOf(inodeOf(context, inode)), extendedAttributes };
  markChanged(context, record);
  context.tables.inodes.put(context.volume, record);
  return { kind: "attributes", attributes: record.attributes };
}

/** Of all names and values. A byte is added to each name, so that listxattr(2) can list them (XATTR_LIST_MAX). */
export function bytesOf(all: readonly ExtendedAttribute[]): number {
  return all.reduce((sum, { name, value }) => sum + name.length + 1 + value.byteLength, 0);
}
