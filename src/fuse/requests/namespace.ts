/** Names: LOOKUP, MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME, RENAME2, READLINK. */
import type { Attributes, NewNode } from "../../client/file-system.ts";
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

export async function lookup(context: RequestContext, request: Request): Promise<void> {
  const inode = inodeOf(context, request);
  const name = request.name(0);
  const { recentLookups, replies } = context;
  if (recentLookups.size >= recentLookupsMax) recentLookups.clear();
  recentLookups.add(inode);
  const attributes = await lookupName(context, request, inode, name);
  if (attributes === undefined) replies.absent(request, inode);
  else replies.found(request, inode, attributes);
}

/** `.` and `..` come when a file handle of NFS or open_by_handle_at(2) is turned into a path (EXPORT_SUPPORT). */
async function lookupName(
  context: RequestContext,
  request: Request,
  inode: number,
  name: string,
): Promise<Attributes | undefined> {
  const { fileSystem } = context;
  const { signal } = request;
  if (name === ".") {
    const { attributes } = await fileSystem.getAttributes(inode, signal);
    // It was removed, and is kept by nobody here.
    if (attributes.linkCount === 0 && !context.openFiles.hasInode(inode)) throw new FileError("ESTALE");
    return attributes;
  }
  if (name === "..") {
    const { parent } = await fileSystem.getAttributes(inode, signal);
    return (await fileSystem.getAttributes(parent, signal)).attributes;
  }
  return fileSystem.lookup(inode, name, signal);
}

export async function makeNode(context: RequestContext, request: Request): Promise<void> {
  request.expect(mknodIn.bytes);
  const mode = request.u32(mknodIn.mode);
  const type = typeOfMode(mode);
  if (type === undefined || type === "directory" || type === "symlink") throw new FileError("EINVAL");
  const isDevice = type === "characterDevice" || type === "blockDevice";
  const name = request.name(mknodIn.bytes);
  await createNode(context, request, name, {
    ...ownerOf(request),
    type,
    mode: mode & permissionMask,
    umask: request.u32(mknodIn.umask) & permissionMask,
    device: isDevice ? request.u32(mknodIn.device) : 0,
  });
}

export async function makeDirectory(context: RequestContext, request: Request): Promise<void> {
  request.expect(mkdirIn.bytes);
  const name = request.name(mkdirIn.bytes);
  const mode = request.u32(mkdirIn.mode) & permissionMask;
  const umask = request.u32(mkdirIn.umask) & permissionMask;
  await createNode(context, request, name, { ...ownerOf(request), type: "directory", mode, umask });
}

export async function makeSymlink(context: RequestContext, request: Request): Promise<void> {
  const [name, target] = request.names(0, targetBytesMax);
  await createNode(context, request, name, { ...ownerOf(request), type: "symlink", mode: 0o777, target });
}

async function createNode(context: RequestContext, request: Request, name: string, node: NewNode): Promise<void> {
  const parent = inodeOf(context, request);
  const attributes = await context.fileSystem.create(parent, name, node, request.signal);
  context.replies.made(request, parent, attributes);
}

/** The task's fsuid and fsgid. In a setgid directory the file system gives the directory's group instead. */
export function ownerOf(request: Request): { uid: number; gid: number } {
  return { uid: request.uid, gid: request.gid };
}

export async function link(context: RequestContext, request: Request): Promise<void> {
  request.expect(linkIn.bytes);
  const inode = knownInode(context, request.u64(linkIn.node));
  const parent = inodeOf(context, request);
  const name = request.name(linkIn.bytes);
  const attributes = await context.fileSystem.link(inode, parent, name, request.signal);
  context.replies.made(request, parent, attributes);
}

export async function unlink(context: RequestContext, request: Request): Promise<void> {
  const name = request.name(0);
  await context.fileSystem.unlink(inodeOf(context, request), name, request.signal);
  context.replies.done(request);
}

export async function removeDirectory(context: RequestContext, request: Request): Promise<void> {
  const name = request.name(0);
  await context.fileSystem.removeDirectory(inodeOf(context, request), name, request.signal);
  context.replies.done(request);
}

export async function rename(context: RequestContext, request: Request): Promise<void> {
  request.expect(renameIn.bytes);
  const newParent = knownInode(context, request.u64(renameIn.newDirectory));
  await renameNames(context, request, renameIn.bytes, newParent, "replace");
}

/** Of renameat2(2)'s flags there are NOREPLACE and EXCHANGE; WHITEOUT is EINVAL, as on file systems without it. */
export async function renameWithFlags(context: RequestContext, request: Request): Promise<void> {
  request.expect(rename2In.bytes);
  const flags = request.u32(rename2In.flags);
  const way = waysToRename.get(flags);
  if (way === undefined) throw new FileError("EINVAL", "of flags there are RENAME_NOREPLACE and RENAME_EXCHANGE");
  const newParent = knownInode(context, request.u64(rename2In.newDirectory));
  await renameNames(context, request, rename2In.bytes, newParent, way);
}

async function renameNames(
  context: RequestContext,
  request: Request,
  structureBytes: number,
  newParent: number,
  way: "replace" | "noReplace" | "exchange",
): Promise<void> {
  const parent = inodeOf(context, request);
  const [name, newName] = request.names(structureBytes);
  const { caches, fileSystem, replies } = context;
  if (way === "exchange") await fileSystem.exchange(parent, name, newParent, newName, request.signal);
  else await fileSystem.rename(parent, name, newParent, newName, { noReplace: way === "noReplace" }, request.signal);
  // The kernel goes on keeping the name under which it knew the node, now in the new directory and as long as it may. So
  // it must be told when that directory's lease goes; or now, if it is gone.
  const goOnIn = way === "exchange" ? [parent, newParent] : [newParent];
  if (newParent !== parent && goOnIn.some((one) => fileSystem.nameValidMs(one) === 0)) caches.forgetNames();
  replies.done(request);
}

export async function readLink(context: RequestContext, request: Request): Promise<void> {
  const target = await context.fileSystem.readLink(inodeOf(context, request), request.signal);
  context.replies.data(request, [Buffer.from(target, "latin1")]);
}
