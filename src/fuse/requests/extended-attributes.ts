/**
 * SETXATTR, GETXATTR, LISTXATTR, REMOVEXATTR: names and values as they are. The kernel has checked who may (xattr(7)), but
 * for listing. POSIX ACLs come as `system.posix_acl_access` and `system.posix_acl_default`: the kernel checks accesses by
 * them (POSIX_ACL), we keep them right. Other names in `system.` mean something to file systems that have it.
 */
import { type Soon, whenThere } from "../../client/soon.ts";
import { FileError } from "../../errors/file-error.ts";
import { accessListName, defaultListName } from "../../namespace/access-control-lists.ts";
import { getXattrIn, getXattrOut, setXattrIn, setXattrKillSetGroupId, xattrFlag } from "../protocol.ts";
import type { Request } from "../request.ts";
import { inodeOf, type RequestContext } from "./context.ts";
import { permitToOwner } from "./owners.ts";

const namespaces = ["user.", "trusted.", "security."] as const;
const lists = new Map<string, "access" | "default">([
  [accessListName, "access"],
  [defaultListName, "default"],
]);
/** XATTR_SIZE_MAX and XATTR_LIST_MAX of linux/limits.h. */
const valueBytesMax = 65_536;
const listBytesMax = 65_536;

export async function setExtendedAttribute(context: RequestContext, request: Request): Promise<void> {
  const { setXattrBytes } = context;
  request.expect(setXattrBytes);
  const inode = inodeOf(context, request);
  const name = supportedName(request.name(setXattrBytes));
  const flags = request.u32(setXattrIn.flags);
  const size = request.u32(setXattrIn.size);
  if (size > valueBytesMax) throw new FileError("E2BIG");
  const value = request.copyData(setXattrBytes + name.length + 1, size);
  const list = lists.get(name);
  if (list !== undefined) {
    const extended = setXattrBytes === setXattrIn.bytes ? request.u32(setXattrIn.extendedFlags) : 0;
    const killSetGroupId = (extended & setXattrKillSetGroupId) !== 0;
    const options = { killSetGroupId, permit: permitToOwner(context, request) };
    await context.fileSystem.setAccessControlList(inode, list, value, options, request.signal);
    context.replies.done(request);
    return;
  }
  if (flags === (xattrFlag.CREATE | xattrFlag.REPLACE)) {
    // It can't be, whether the name is there or not; which error it is depends on that.
    await context.fileSystem.getExtendedAttribute(inode, name, request.signal);
    throw new FileError("EEXIST");
  }
  const mode = flags === xattrFlag.CREATE ? "create" : flags === xattrFlag.REPLACE ? "replace" : "set";
  await context.fileSystem.setExtendedAttribute(inode, name, value, mode, request.signal);
  context.replies.done(request);
}

export function getExtendedAttribute(context: RequestContext, request: Request): Soon<void> {
  request.expect(getXattrIn.bytes);
  const inode = inodeOf(context, request);
  const name = supportedName(request.name(getXattrIn.bytes));
  const sizeMax = request.u32(getXattrIn.size);
  return whenThere(context.fileSystem.getExtendedAttribute(inode, name, request.signal), (value) =>
    answer(context, request, sizeMax, value),
  );
}

export async function listExtendedAttributes(context: RequestContext, request: Request): Promise<void> {
  request.expect(getXattrIn.bytes);
  const sizeMax = request.u32(getXattrIn.size);
  const names = await context.fileSystem.listExtendedAttributes(inodeOf(context, request), request.signal);
  // Whether the caller has CAP_SYS_ADMIN, as xattr(7) wants it, can't be seen here.
  const shown = request.uid === 0 ? names : names.filter((name) => !name.startsWith("trusted."));
  const list = Buffer.from(shown.map((name) => `${name}\0`).join(""), "latin1");
  if (list.byteLength > listBytesMax) throw new FileError("E2BIG");
  answer(context, request, sizeMax, list);
}

export async function removeExtendedAttribute(context: RequestContext, request: Request): Promise<void> {
  const inode = inodeOf(context, request);
  const name = supportedName(request.name(0));
  const { fileSystem } = context;
  const list = lists.get(name);
  if (list === undefined) await fileSystem.removeExtendedAttribute(inode, name, request.signal);
  else {
    const options = { killSetGroupId: false, permit: permitToOwner(context, request) };
    await fileSystem.setAccessControlList(inode, list, undefined, options, request.signal);
  }
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
  if (lists.has(name)) return name;
  const namespace = namespaces.find((one) => name.startsWith(one));
  if (namespace === undefined) throw new FileError("EOPNOTSUPP");
  if (name.length === namespace.length) throw new FileError("EINVAL");
  return name;
}
