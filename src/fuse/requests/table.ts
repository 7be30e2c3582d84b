/** Which handler serves which opcode, and what is answered to those that brinefs has no use for. */
import type { ErrnoName } from "../../errors/errno.ts";
import { opcode } from "../protocol.ts";
import { getAttributes, getStatx, setAttributes, statVolume } from "./attributes.ts";
import type { RequestContext, RequestHandler } from "./context.ts";
import {
  allocate,
  copyRange,
  createFile,
  createUnnamed,
  flush,
  openFile,
  readFile,
  release,
  seek,
  sync,
  writeFile,
} from "./data.ts";
import { openDirectory, readDirectory } from "./directories.ts";
import {
  getExtendedAttribute,
  listExtendedAttributes,
  removeExtendedAttribute,
  setExtendedAttribute,
} from "./extended-attributes.ts";
import { setLock, setLockWaiting, testLock } from "./locks.ts";
import {
  link,
  lookup,
  makeDirectory,
  makeNode,
  makeSymlink,
  readLink,
  removeDirectory,
  rename,
  renameWithFlags,
  unlink,
} from "./namespace.ts";

/**
 * ENOSYS: the kernel remembers it, never asks again in this mount, and does the usual thing itself:
 * - ACCESS: never sent with default_permissions.
 * - IOCTL: ENOTTY. POLL: always ready.
 * - every opcode that is not in this table.
 */
const notServed: ErrnoName = "ENOSYS";

export const notServedHandler: RequestHandler = (context, request) => {
  context.replies.error(request, notServed);
};

/**
 * Requests about a node itself, and not about a name. The kernel came to the node by a name or handle that was good a
 * moment ago; where the inode has gone since then, ESTALE makes it walk the path again, and find what has the name now.
 * ENOENT would reach the program, though a file with that name was there all the time (rename over it).
 */
export const aboutNodes: ReadonlySet<number> = new Set([
  opcode.GETATTR,
  opcode.STATX,
  opcode.SETATTR,
  opcode.READLINK,
  opcode.OPEN,
  opcode.OPENDIR,
  opcode.SETXATTR,
  opcode.GETXATTR,
  opcode.LISTXATTR,
  opcode.REMOVEXATTR,
]);

const done = (context: RequestContext, request: Parameters<RequestHandler>[1]) => void context.replies.done(request);

export const handlers: ReadonlyMap<number, RequestHandler> = new Map<number, RequestHandler>([
  [opcode.LOOKUP, lookup],
  [opcode.GETATTR, getAttributes],
  [opcode.SETATTR, setAttributes],
  [opcode.READLINK, readLink],
  [opcode.SYMLINK, makeSymlink],
  [opcode.MKNOD, makeNode],
  [opcode.MKDIR, makeDirectory],
  [opcode.UNLINK, unlink],
  [opcode.RMDIR, removeDirectory],
  [opcode.RENAME, rename],
  [opcode.LINK, link],
  [opcode.OPEN, openFile],
  [opcode.READ, readFile],
  [opcode.WRITE, writeFile],
  [opcode.STATFS, statVolume],
  [opcode.RELEASE, release],
  [opcode.FALLOCATE, allocate],
  [opcode.LSEEK, seek],
  [opcode.COPY_FILE_RANGE, copyRange],
  [opcode.FSYNC, sync],
  [opcode.FLUSH, flush],
  [opcode.OPENDIR, openDirectory],
  [opcode.READDIR, readDirectory],
  [opcode.RELEASEDIR, release],
  [opcode.FSYNCDIR, sync],
  [opcode.CREATE, createFile],
  [opcode.TMPFILE, createUnnamed],
  [opcode.DESTROY, done],
  [opcode.RENAME2, renameWithFlags],
  [opcode.STATX, getStatx],
  [opcode.SETXATTR, setExtendedAttribute],
  [opcode.GETXATTR, getExtendedAttribute],
  [opcode.LISTXATTR, listExtendedAttributes],
  [opcode.REMOVEXATTR, removeExtendedAttribute],
  [opcode.GETLK, testLock],
  [opcode.SETLK, setLock],
  [opcode.SETLKW, setLockWaiting],
]);
