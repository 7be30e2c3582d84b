/**
 * setAttributes: chmod(2), chown(2), utimensat(2), truncate(2).
 *
 * Errors, in this order: ENOENT (the inode is gone; an orphan isn't), then for a size EISDIR (directory), EINVAL (no
 * regular file), EFBIG; EINVAL for mappings without a size or outside of it, or that aren't the session's.
 *
 * What goes together with a size: chunks beyond the new end are unmapped, in scans of bounded size but all in this
 * transaction, and both mtime and ctime are set, also if the size is what it was (POSIX, truncate). A later end may leave a
 * hole in the last chunk.
 */
import { FileError } from "../../errors/file-error.ts";
import { followMode } from "../access-control-lists.ts";
import {
  applyMappings,
  chunksOfSize,
  leavesHole,
  type PlannedMapping,
  planMappings,
  unmapFrom,
  withChunks,
} from "../chunk-maps.ts";
import type { FileContext } from "../context.ts";
import { draftOf, dropCapabilities, inodeOf, modeWithoutPrivileges, permissionBits, stampNs } from "../inodes.ts";
import { fileBytesMax, type InodeRecord } from "../model.ts";
import type { OperationOf, Result, TimeChange } from "../operation.ts";
import { charge } from "../usage.ts";

export function setAttributes(context: FileContext, operation: OperationOf<"setAttributes">): Result {
  const before = inodeOf(context, operation.inode);
  const planned = planSize(context, before, operation);
  if (!changesAnything(operation)) return { kind: "attributes", attributes: before.attributes };

  const record = draftOf(before);
  const { attributes } = record;
  if (operation.killPrivileges) attributes.mode = modeWithoutPrivileges(attributes);
  const { size, uid, gid, killPrivileges } = operation;
  if (killPrivileges || [size, uid, gid].some((change) => change !== undefined)) dropCapabilities(record);
  if (operation.mode !== undefined) {
    attributes.mode = operation.mode & permissionBits;
    followMode(record);
  }
  if (operation.uid !== undefined) attributes.uid = operation.uid;
  if (operation.gid !== undefined) attributes.gid = operation.gid;
  const sizeBefore = attributes.size;
  if (operation.size !== undefined) {
    if (leavesHole(context, before, operation.size)) attributes.hasHoles = true;
    attributes.size = operation.size;
  }
  charge(context, before, withChunks(record, planned));
  if (operation.size !== undefined) {
    if (operation.size < sizeBefore) unmapFrom(context, context.volume, record, chunksOfSize(operation.size));
    applyMappings(context, record, planned);
  }
  setTimes(context, record, operation);
  context.tables.inodes.put(context.volume, record);
  return { kind: "attributes", attributes };
}

function planSize(
  context: FileContext,
  record: InodeRecord,
  operation: OperationOf<"setAttributes">,
): PlannedMapping[] {
  if (operation.size === undefined) {
    if (operation.mappings.length > 0) throw new FileError("EINVAL", "mappings come with a size");
    return [];
  }
  if (record.attributes.type === "directory") throw new FileError("EISDIR");
  if (record.attributes.type !== "file") throw new FileError("EINVAL", "only a file can be truncated");
  if (operation.size > fileBytesMax) throw new FileError("EFBIG");
  return planMappings(context, record, operation.mappings, operation.size);
}

function changesAnything(operation: OperationOf<"setAttributes">): boolean {
  const { mode, uid, gid, size, atime, mtime, ctime, killPrivileges } = operation;
  return killPrivileges || [mode, uid, gid, size, atime, mtime, ctime].some((change) => change !== undefined);
}

/** Every change sets ctime; a given one is taken unless it would go back. */
function setTimes(context: FileContext, record: InodeRecord, operation: OperationOf<"setAttributes">): void {
  const { attributes } = record;
  const nowNs = stampNs(context, attributes);
  const timeOf = (change: TimeChange): bigint => (change.kind === "now" ? nowNs : change.ns);
  if (operation.size !== undefined) attributes.mtimeNs = nowNs;
  if (operation.atime !== undefined) attributes.atimeNs = timeOf(operation.atime);
  if (operation.mtime !== undefined) attributes.mtimeNs = timeOf(operation.mtime);
  const asked = operation.ctime === undefined ? nowNs : timeOf(operation.ctime);
  attributes.ctimeNs = asked > attributes.ctimeNs ? asked : nowNs;
}
