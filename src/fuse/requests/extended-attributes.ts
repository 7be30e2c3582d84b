/**
 * SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR. All namespaces that the kernel lets through are kept as they are; POSIX
 * ACLs are not supported, because the kernel would have to check them (POSIX_ACL is not negotiated).
 */
import { FileError } from "../../errors/file-error.ts";
import { getXattrIn, getXattrOut, setXattrIn, xattrFlag } from "../protocol.ts";
import type { Request } from "../request.ts";
import { inodeOf, type RequestContext } from "./context.ts";

const aclPrefix = "system.posix_acl_";

export async function setExtendedAttribute(context: RequestContext, request: Request): Promise<void> {
  request.expect(setXattrIn.bytes);
  const inode = inodeOf(context, request);
  const name = supportedName(request.name(setXattrIn.bytes));
  const flags = request.u32(setXattrIn.flags);
  const value = Buffer.from(request.takeData(setXattrIn.bytes + name.length + 1, request.u32(setXattrIn.size)));
  const mode = flags === xattrFlag.CREATE ? "create" : flags === xattrFlag.REPLACE ? "replace" : "set";
  await context.fileSystem.setExtendedAttribute(inode, name, value, mode, request.signal);
  context.replies.done(request);
}

export async function getExtendedAttribute(context: RequestContext, request: Request): Promise<void> {
  request.expect(getXattrIn.bytes);
  const inode = inodeOf(context, request);
  const name = supportedName(request.name(getXattrIn.bytes));
  const sizeMax = request.u32(getXattrIn.size);
  answer(context, request, sizeMax, await context.fileSystem.getExtendedAttribute(inode, name, request.signal));
}

export async function listExtendedAttributes(context: RequestContext, request: Request): Promise<void> {
  request.expect(getXattrIn.bytes);
  const sizeMax = request.u32(getXattrIn.size);
  const names = await context.fileSystem.listExtendedAttributes(inodeOf(context, request), request.signal);
  answer(context, request, sizeMax, Buffer.from(names.map((name) => `${name}\0`).join(""), "latin1"));
}

export async function removeExtendedAttribute(context: RequestContext, request: Request): Promise<void> {
  const name = supportedName(request.name(0));
  await context.fileSystem.removeExtendedAttribute(inodeOf(context, request), name, request.signal);
  context.replies.done(request);
}

/** A caller that gives no room asks for the size; one that gives too little gets ERANGE (getxattr(2)). */
function answer(context: RequestContext, request: Request, sizeMax: number, value: Uint8Array): void {
  if (sizeMax === 0) {
    const size = Buffer.alloc(getXattrOut.bytes);
    size.writeUInt32LE(value.byteLength, getXattrOut.size);
    context.replies.bytes(request, size);
  } else if (value.byteLength > sizeMax) throw new FileError("ERANGE");
  else context.replies.data(request, [value]);
}

function supportedName(name: string): string {
  if (name.startsWith(aclPrefix)) throw new FileError("EOPNOTSUPP");
  return name;
}
