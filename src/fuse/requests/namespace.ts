/** Names: LOOKUP, MKNOD, MKDIR, SYMLINK, LINK, UNLINK, RMDIR, RENAME, RENAME2, READLINK. */
import type { Attributes, NewNode } from "../../client/file-system.ts";
import { FileError } from "../../errors/file-error.ts";
import { targetBytesMax } from "../../namespace/model.ts";
import { typeOfMode } from "../layout.ts";
import { linkIn, mkdirIn, mknodIn, permissionMask, rename2In, renameFlag, renameIn } from "../protocol.ts";
import type { Request } from "../request.ts";
import { inodeOf, knownInode, type RequestContext } from "./context.ts";

const recentLookupsMax = 10_000;

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
  if (name === ".") return (await fileSystem.getAttributes(inode, signal)).attributes;
  if (name === "..") {
    const { parent } = await fileSystem.getAttributes(inode, signal);
    return (await fileSystem.getAttributes(parent, signal)).attributes;
  }
  return fileSystem.lookup(inode, name, signal);
}

/** The kernel has taken the umask off the mode already (DONT_MASK is not negotiated). */
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
    device: isDevice ? request.u32(mknodIn.device) : 0,
  });
}

export async function makeDirectory(context: RequestContext, request: Request): Promise<void> {
  request.expect(mkdirIn.bytes);
  const name = request.name(mkdirIn.bytes);
  const mode = request.u32(mkdirIn.mode) & permissionMask;
  await createNode(context, request, name, { ...ownerOf(request), type: "directory", mode });
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
  await renameNames(context, request, renameIn.bytes, newParent, false);
}

/** Of renameat2(2)'s flags there is NOREPLACE; EXCHANGE and WHITEOUT are EINVAL, as on file systems without them. */
export async function renameWithFlags(context: RequestContext, request: Request): Promise<void> {
  request.expect(rename2In.bytes);
  const flags = request.u32(rename2In.flags);
  if ((flags & ~renameFlag.NOREPLACE) !== 0) throw new FileError("EINVAL");
  const newParent = knownInode(context, request.u64(rename2In.newDirectory));
  await renameNames(context, request, rename2In.bytes, newParent, flags === renameFlag.NOREPLACE);
}

async function renameNames(
  context: RequestContext,
  request: Request,
  structureBytes: number,
  newParent: number,
  noReplace: boolean,
): Promise<void> {
  const parent = inodeOf(context, request);
  const [name, newName] = request.names(structureBytes);
  const { caches, fileSystem, replies } = context;
  await fileSystem.rename(parent, name, newParent, newName, { noReplace }, request.signal);
  // The kernel goes on keeping the name under which it knew the node, now in the new directory and as long as it may. So
  // it must be told when that directory's lease goes; or now, if it is gone.
  if (newParent !== parent && fileSystem.nameValidMs(newParent) === 0) caches.forgetNames();
  replies.done(request);
}

export async function readLink(context: RequestContext, request: Request): Promise<void> {
  const target = await context.fileSystem.readLink(inodeOf(context, request), request.signal);
  context.replies.data(request, [Buffer.from(target, "latin1")]);
}
