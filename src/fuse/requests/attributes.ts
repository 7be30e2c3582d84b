/** Attributes: GETATTR, STATX, SETATTR, STATFS. */
import type { AttributeChange } from "../../client/file-system.ts";
import { type Soon, whenThere } from "../../client/soon.ts";
import { FileError } from "../../errors/file-error.ts";
import { modeWithoutPrivileges } from "../../namespace/inodes.ts";
import { permissionMask, setAttributesIn, setAttributesValid } from "../protocol.ts";
import type { Request } from "../request.ts";
import { inodeOf, type RequestContext } from "./context.ts";
import { permitChange } from "./owners.ts";
import { takeSetGroupId } from "./set-group-id.ts";
import { withinSizeLimit } from "./size-limit.ts";

export function getAttributes(context: RequestContext, request: Request): Soon<void> {
  return whenThere(context.fileSystem.getAttributes(inodeOf(context, request), request.signal), ({ attributes }) => {
    context.replies.attributes(request, attributes);
  });
}

/** Since Linux 6.6, for callers that want the birth time; older kernels never ask. */
export function getStatx(context: RequestContext, request: Request): Soon<void> {
  return whenThere(context.fileSystem.getAttributes(inodeOf(context, request), request.signal), ({ attributes }) => {
    context.replies.statx(request, attributes);
  });
}

/** Works on the inode whether or not a name or an open file leads to it: an unlinked open file is changed too. */
export function setAttributes(context: RequestContext, request: Request): Soon<void> {
  request.expect(setAttributesIn.bytes);
  const inode = inodeOf(context, request);
  const change = attributeChange(request);
  if (Object.keys(change).length === 0) return dropPrivileges(context, request, inode);
  const permitted = { ...change, permit: permitChange(context, request, change) };
  const { size } = change;
  const within = size === undefined ? undefined : withinSizeLimit(context, request, size);
  const ready = whenThere(within, () =>
    size !== undefined && change.killPrivileges === true ? takeSetGroupId(context, request, inode) : undefined,
  );
  const changing = whenThere(ready, () => context.fileSystem.setAttributes(inode, permitted, request.signal));
  return whenThere(changing, (attributes) => void context.replies.changed(request, attributes));
}

/**
 * Nothing is to be changed but setuid, setgid and capabilities: fallocate(2) by who may not keep them, or chown(2) of nobody to
 * nobody, which anybody may ask for. The kernel has checked no permission: the second is for the owner (EPERM) where there
 * is something to take away. The first has the file open.
 */
function dropPrivileges(context: RequestContext, request: Request, inode: number): Soon<void> {
  const { fileSystem, openFiles, replies } = context;
  const dropping = whenThere(fileSystem.getAttributes(inode, request.signal), ({ attributes }) => {
    const { mode, type, uid } = attributes;
    const isPrivileged = type !== "directory" && modeWithoutPrivileges(attributes) !== mode;
    const mayChange = request.uid === 0 || request.uid === uid || openFiles.writerCount(inode) > 0;
    if (mayChange) {
      const change = { killPrivileges: true };
      return whenThere(takeSetGroupId(context, request, inode), () =>
        fileSystem.setAttributes(inode, change, request.signal),
      );
    }
    if (isPrivileged) throw new FileError("EPERM");
    return attributes;
  });
  return whenThere(dropping, (attributes) => void replies.changed(request, attributes));
}

/** struct fuse_setattr_in. Throws FileError EFBIG for a size that no file can have. */
export function attributeChange(request: Request): AttributeChange {
  const valid = request.u32(setAttributesIn.valid);
  const has = (bit: number) => (valid & bit) !== 0;
  const change: { -readonly [K in keyof AttributeChange]: AttributeChange[K] } = {};
  if (has(setAttributesValid.MODE)) change.mode = request.u32(setAttributesIn.mode) & permissionMask;
  if (has(setAttributesValid.UID)) change.uid = request.u32(setAttributesIn.uid);
  if (has(setAttributesValid.GID)) change.gid = request.u32(setAttributesIn.gid);
  if (has(setAttributesValid.SIZE)) {
    const size = request.u64(setAttributesIn.size);
    if (size === undefined) throw new FileError("EFBIG");
    change.size = size;
  }
  const atime = () => request.timeNs(setAttributesIn.atime, setAttributesIn.atimeNs);
  const mtime = () => request.timeNs(setAttributesIn.mtime, setAttributesIn.mtimeNs);
  if (has(setAttributesValid.ATIME_NOW)) change.atime = { kind: "now" };
  else if (has(setAttributesValid.ATIME)) change.atime = { kind: "at", ns: atime() };
  if (has(setAttributesValid.MTIME_NOW)) change.mtime = { kind: "now" };
  else if (has(setAttributesValid.MTIME)) change.mtime = { kind: "at", ns: mtime() };
  if (has(setAttributesValid.CTIME)) {
    change.ctime = { kind: "at", ns: request.timeNs(setAttributesIn.ctime, setAttributesIn.ctimeNs) };
  }
  // With HANDLE_KILLPRIV_V2 the kernel says so for a truncate, and leaves it to the file system for a chown.
  const changesOwner = change.uid !== undefined || change.gid !== undefined;
  if (has(setAttributesValid.KILL_PRIVILEGES) || changesOwner) change.killPrivileges = true;
  return change;
}

export async function statVolume(context: RequestContext, request: Request): Promise<void> {
  context.replies.space(request, await context.fileSystem.statVolume(inodeOf(context, request), request.signal));
}
