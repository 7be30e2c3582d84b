/**
 * setgid of a file whose group may not execute, when a user changes the file who isn't in its group: it goes, as everywhere since
 * Linux 6.2 (setattr_should_drop_sgid). The kernel tells with each write and truncate only that set-id bits are not the caller's
 * to keep, and leaves this part to the file system; what goes in any case goes with the change itself (killPrivileges). Who is in
 * which groups /proc says; it is asked for such files only.
 */
import type { Attributes } from "../../client/file-system.ts";
import { type Soon, whenThere } from "../../client/soon.ts";
import { FileError } from "../../errors/file-error.ts";
import { groupExecute, setGroupId } from "../../namespace/inodes.ts";
import type { OpenFile } from "../handles.ts";
import { permissionMask } from "../protocol.ts";
import type { Request } from "../request.ts";
import type { RequestContext } from "./context.ts";

/** CAP_FSETID of linux/capability.h. */
const mayKeepBit = 4;

/** Before the first write by an open file: whoever writes opens it for that. */
export function beforeWrite(context: RequestContext, request: Request, file: OpenFile): Soon<void> {
  if (file.isWritten || request.uid === 0) return;
  file.isWritten = true;
  return takeSetGroupId(context, request, file.handle.inode);
}

/** Takes it off, if it has to go. A mode that is changed at the same moment is not set back. */
export function takeSetGroupId(context: RequestContext, request: Request, inode: number): Soon<void> {
  if (request.uid === 0) return;
  const { fileSystem, tasks } = context;
  return whenThere(fileSystem.getAttributes(inode, request.signal), ({ attributes }) => {
    const { type, mode, gid } = attributes;
    if (type !== "file" || (mode & (setGroupId | groupExecute)) !== setGroupId) return;
    if (gid === request.gid || tasks.isInGroup(request.task, gid)) return;
    if (!tasks.hasCapability(request.task, mayKeepBit)) return take(context, request, attributes);
  });
}

async function take(context: RequestContext, request: Request, seen: Attributes): Promise<void> {
  const { inode, mode, gid } = seen;
  let isOutdated = false;
  const permit = (now: Attributes) => {
    isOutdated = now.mode !== mode || now.gid !== gid;
    if (isOutdated) throw new FileError("EAGAIN");
  };
  const change = { mode: mode & permissionMask & ~setGroupId, permit };
  try {
    await context.fileSystem.setAttributes(inode, change, request.signal);
  } catch (error) {
    if (!isOutdated) throw error;
    await takeSetGroupId(context, request, inode);
  }
}
