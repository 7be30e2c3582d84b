/**
 * write: data that is on the stores becomes part of the file. An orphan that is held open can still be written.
 *
 * Errors, in this order: ENOENT (the inode is gone), EINVAL (not a regular file), EFBIG, EINVAL for mappings outside of
 * the file or that aren't the session's.
 */
import { FileError } from "../../errors/file-error.ts";
import { applyMappings, planMappings, withChunks } from "../chunk-maps.ts";
import type { FileContext } from "../context.ts";
import { draftOf, dropCapabilities, inodeOf, markModified, modeWithoutPrivileges } from "../inodes.ts";
import { fileBytesMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";
import { charge } from "../usage.ts";

export function write(context: FileContext, operation: OperationOf<"write">): Result {
  const before = inodeOf(context, operation.inode);
  if (before.attributes.type !== "file") throw new FileError("EINVAL", "only a file has data");
  if (operation.end > fileBytesMax) throw new FileError("EFBIG");
  const size = Math.max(before.attributes.size, operation.end);
  const planned = planMappings(context, before, operation.mappings, size);

  const record = draftOf(before);
  record.attributes.size = size;
  charge(context, before, withChunks(record, planned));
  if (operation.killPrivileges) record.attributes.mode = modeWithoutPrivileges(before.attributes);
  dropCapabilities(record);
  applyMappings(context, record, planned);
  markModified(context, record);
  context.tables.inodes.put(context.volume, record);
  return { kind: "attributes", attributes: record.attributes };
}
