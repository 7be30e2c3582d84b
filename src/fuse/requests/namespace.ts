/** Names: LOOKUP, MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME, RENAME2, READLINK. */
import type { Attributes, NewNode } from "../../client/file-system.ts";
import { type Soon, whenThere } from "../../client/soon.ts";
import { FileError } from "../../errors/file-error.ts";
import { targetBytesMax } from "../../namespace/model.ts";
import { typeOfMode } from "../layout.ts";
import { linkIn, mkdirIn, mknodIn, permissionMask, rename2In, renameFlag, renameIn } from "../protocol.ts";
import type { Request } from "../request.ts";
import { inodeOf, knownInode, type RequestContext } from "./context.ts";

const recentLookupsMax = 10_000;

const waysToRename = new Map<number, "replace" | "noReplace" | "exchange">([
  [0, "replace"],
  [renameFlag.NOREPLACE, "noReplace"],
  [renameFlag.EXCHANGE, "exchange"],
]);

export function lookup(context: RequestContext, request: Request): Soon<void> {
  const inode = inodeOf(context, request);
  const name = request.name(0);
  const { recentLookups, replies } = context;
  if (recentLookups.size >= recentLookupsMax) recentLookups.clear();
  recentLookups.add(inode);
  return whenThere(lookupName(context, request, inode, name), (attributes) => {
    if (attributes === undefined) replies.absent(request, inode);
    else replies.found(request, inode, attributes);
  });
}

/** `.` and `..` come when a file handle of NFS or open_by_handle_at(2) is turned into a path (EXPORT_SUPPORT). */
function lookupName(
  { fileSystem, openFiles }: RequestContext,
  { signal }: Request,
  inode: number,
  name: string,
): Soon<Attributes | undefined> {
  const attributesOf = (of: number) => whenThere(fileSystem.getAttributes(of, signal), ({ attributes }) => attributes);
  if (name === ".") {
    return whenThere(attributesOf(inode), (attributes) => {
      // It was removed, and is kept by nobody here.
      if (attributes.linkCount === 0 && !openFiles.hasInode(inode)) throw new FileError("ESTALE");
      return attributes;
    });
  }
  if (name === "..") return whenThere(fileSystem.getAttributes(inode, signal), ({ parent }) => attributesOf(parent));
  return fileSystem.lookup(inode, name, signal);
}

export function makeNode(context: RequestContext, request: Request): Soon<void> {
  request.expect(mknodIn.bytes);
  const mode = request.u32(mknodIn.mode);
  const type = typeOfMode(mode);
  if (type === undefined || type === "directory" || type === "symlink") throw new FileError("EINVAL");
  const isDevice = type === "characterDevice" || type === "blockDevice";
  const name = request.name(mknodIn.bytes);
  return createNode(context, request, name, {
    ...ownerOf(request),
    type,
    mode: mode & permissionMask,
    umask: request.u32(mknodIn.umask) & permissionMask,
    device: isDevice ? request.u32(mknodIn.device) : 0,
  });
}

export function makeDirectory(context: RequestContext, request: Request): Soon<void> {
  request.expect(mkdirIn.bytes);
  const name = request.name(mkdirIn.bytes);
  const mode = request.u32(mkdirIn.mode) & permissionMask;
  const umask = request.u32(mkdirIn.umask) & permissionMask;
  return createNode(context, request, name, { ...ownerOf(request), type: "directory", mode, umask });
}

export function makeSymlink(context: RequestContext, request: Request): Soon<void> {
  const [name, target] = request.names(0, targetBytesMax);
  return createNode(context, request, name, { ...ownerOf(request), type: "symlink", mode: 0o777, target });
}

function createNode(context: RequestContext, request: Request, name: string, node: NewNode): Soon<void> {
  const parent = inodeOf(context, request);
  return whenThere(context.fileSystem.create(parent, name, node, request.signal), (attributes) => {
    context.replies.made(request, parent, attributes);
  });
}

/** The task's fsuid and fsgid. In a setgid directory the file system gives the directory's group instead. */
export function ownerOf(request: Request): { uid: number; gid: number } {
  return { uid: request.uid, gid: request.gid };
}

export function link(context: RequestContext, request: Request): Soon<void> {
  request.expect(linkIn.bytes);
  const inode = knownInode(context, request.u64(linkIn.node));
  const parent = inodeOf(context, request);
  const name = request.name(linkIn.bytes);
  return whenThere(context.fileSystem.link(inode, parent, name, request.signal), (attributes) => {
    context.replies.made(request, parent, attributes);
  });
}

export function unlink(context: RequestContext, request: Request): Soon<void> {
  const name = request.name(0);
  const removing = context.fileSystem.unlink(inodeOf(context, request), name, request.signal);
  return whenThere(removing, () => void context.replies.done(request));
}

export function removeDirectory(context: RequestContext, request: Request): Soon<void> {
  const name = request.name(0);
  const removing = context.fileSystem.removeDirectory(inodeOf(context, request), name, request.signal);
  return whenThere(removing, () => void context.replies.done(request));
}

export function rename(context: RequestContext, request: Request): Soon<void> {
  request.expect(renameIn.bytes);
  const newParent = knownInode(context, request.u64(renameIn.newDirectory));
  return renameNames(context, request, renameIn.bytes, newParent, "replace");
}

/** Of renameat2(2)'s flags there are NOREPLACE and EXCHANGE; WHITEOUT is EINVAL, as on file systems without it. */
export function renameWithFlags(context: RequestContext, request: Request): Soon<void> {
  request.expect(rename2In.bytes);
  const flags = request.u32(rename2In.flags);
  const way = waysToRename.get(flags);
  if (way === undefined) throw new FileError("EINVAL", "of flags there are RENAME_NOREPLACE and RENAME_EXCHANGE");
  const newParent = knownInode(context, request.u64(rename2In.newDirectory));
  return renameNames(context, request, rename2In.bytes, newParent, way);
}

function renameNames(
  context: RequestContext,
  request: Request,
  structureBytes: number,
  newParent: number,
  way: "replace" | "noReplace" | "exchange",
): Soon<void> {
  const parent = inodeOf(context, request);
  const [name, newName] = request.names(structureBytes);
  const { caches, fileSystem, replies } = context;
  const { signal } = request;
  const renaming =
    way === "exchange"
      ? fileSystem.exchange(parent, name, newParent, newName, signal)
      : fileSystem.rename(parent, name, newParent, newName, { noReplace: way === "noReplace" }, signal);
  return whenThere(renaming, () => {
    // The kernel goes on keeping the name under which it knew the node, now in the new directory and as long as it may.
    // So it must be told when that directory's lease goes; or now, if it is gone.
    const goOnIn = way === "exchange" ? [parent, newParent] : [newParent];
    if (newParent !== parent && goOnIn.some((one) => fileSystem.nameValidMs(one) === 0)) caches.forgetNames();
    replies.done(request);
  });
}

export function readLink(context: RequestContext, request: Request): Soon<void> {
  return whenThere(context.fileSystem.readLink(inodeOf(context, request), request.signal), (target) => {
    context.replies.data(request, [Buffer.from(target, "latin1")]);
  });
}
