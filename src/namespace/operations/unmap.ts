/**
 * unmap: whole chunks of a file become holes (fallocate(2), FALLOC_FL_PUNCH_HOLE). The size stays.
 *
 * Errors, in this order: ENOENT (the inode is gone), EINVAL (not a regular file).
 */
import { FileError } from "../../errors/file-error.ts";
import { unmapFrom } from "../chunk-maps.ts";
import type { FileContext } from "../context.ts";
import { draftOf, dropCapabilities, inodeOf, markModified } from "../inodes.ts";
import type { OperationOf, Result } from "../operation.ts";

export function unmap(context: FileContext, operation: OperationOf<"unmap">): Result {
  const before = inodeOf(context, operation.inode);
  if (before.attributes.type !== "file") throw new FileError("EINVAL", "only a file has data");
  const record = draftOf(before);
  dropCapabilities(record);
  unmapFrom(context, context.volume, record, operation.from, { below: operation.below });
  markModified(context, record);
  context.tables.inodes.put(context.volume, record);
  return { kind: "attributes", attributes: record.attributes };
}
