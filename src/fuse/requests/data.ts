/** Files: OPEN, CREATE, TMPFILE, READ, WRITE, FALLOCATE, LSEEK, COPY_FILE_RANGE, FLUSH, RELEASE, FSYNC. */
import { type Attributes, type Handle, lockEnd, type NewNode, type OpenFlags } from "../../client/file-system.ts";
import { Loan } from "../../client/loan.ts";
import { afterwards, ifItFails, type Soon, whenThere } from "../../client/soon.ts";
import { FileError } from "../../errors/file-error.ts";
import { OpenFile } from "../handles.ts";
import {
  allocateFlag,
  allocateIn,
  copyIn,
  createIn,
  dataBytesMax,
  flushIn,
  fsyncDataOnly,
  fsyncIn,
  openFlag,
  openIn,
  openKillPrivileges,
  permissionMask,
  readFlag,
  readIn,
  releaseIn,
  seekIn,
  seekWhence,
  writeFlag,
  writeIn,
} from "../protocol.ts";
import type { Request } from "../request.ts";
import { inodeOf, type RequestContext } from "./context.ts";
import { ownerOf } from "./namespace.ts";
import { beforeWrite, takeSetGroupId } from "./set-group-id.ts";
import { withinSizeLimit } from "./size-limit.ts";

/** Smaller reads are copied anyway, or lie in memory of their own. */
const lentBytesMin = 64 * 1024;

export function openFile(context: RequestContext, request: Request): Soon<void> {
  request.expect(openIn.bytes);
  const inode = inodeOf(context, request);
  const flags = request.u32(openIn.flags);
  const killPrivileges = (request.u32(openIn.openFlags) & openKillPrivileges) !== 0;
  return whenThere(openInode(context, request, inode, flags, killPrivileges), (handle) =>
    giveHandle(context, handle, flags, (number, keepPages) => context.replies.opened(request, number, keepPages)),
  );
}

function openFlagsOf(flags: number): OpenFlags {
  return { append: (flags & openFlag.APPEND) !== 0, keepAccessTime: (flags & openFlag.NOATIME) !== 0 };
}

/** O_TRUNC comes with the open (ATOMIC_O_TRUNC). */
function openInode(
  context: RequestContext,
  request: Request,
  inode: number,
  flags: number,
  killPrivileges: boolean,
): Soon<Handle> {
  const asked = openFlagsOf(flags);
  const truncate = (flags & openFlag.TRUNC) !== 0;
  if (truncate && killPrivileges) return openEmptied(context, request, inode, asked);
  return context.fileSystem.open(inode, { ...asked, truncate }, request.signal);
}

/** Opens with O_TRUNC, and takes setuid and setgid away. */
async function openEmptied(
  context: RequestContext,
  request: Request,
  inode: number,
  asked: OpenFlags,
): Promise<Handle> {
  const { fileSystem } = context;
  const handle = await fileSystem.open(inode, asked, request.signal);
  try {
    await takeSetGroupId(context, request, inode);
    await fileSystem.setAttributes(inode, { size: 0, killPrivileges: true }, request.signal);
    return handle;
  } catch (error) {
    fileSystem.close(handle);
    throw error;
  }
}

/**
 * Puts the handle into the table and answers; takes it back if the kernel no longer wants it.
 *
 * The kernel does not say when a page of mapped memory becomes dirty. So while a file that may write is open, pages are
 * read under an exclusive lease (readFile); and the first such open makes the kernel drop those that were read before.
 */
function giveHandle(
  { fileSystem, openFiles }: RequestContext,
  handle: Handle,
  flags: number,
  answer: (number: number, keepPages: boolean) => boolean,
): void {
  const write = (flags & openFlag.ACCESS_MODE) !== 0;
  const number = openFiles.add(new OpenFile(fileSystem, handle, { append: (flags & openFlag.APPEND) !== 0, write }));
  const keepPages = !write || openFiles.writerCount(handle.inode) > 1;
  if (!answer(number, keepPages)) openFiles.close(number);
}

export function createFile(context: RequestContext, request: Request): Soon<void> {
  request.expect(createIn.bytes);
  const parent = inodeOf(context, request);
  const flags = request.u32(createIn.flags);
  const killPrivileges = (request.u32(createIn.openFlags) & openKillPrivileges) !== 0;
  const name = request.name(createIn.bytes);
  const node = newFile(request);
  const making: Soon<{ attributes: Attributes; handle: Handle; isNew?: boolean }> = ifItFails(
    () => context.fileSystem.createAndOpen(parent, name, node, openFlagsOf(flags), request.signal),
    (error) => {
      const wasThere = error instanceof FileError && error.code === "EEXIST" && (flags & openFlag.EXCL) === 0;
      if (!wasThere) throw error;
      return openExisting(context, request, parent, name, flags, killPrivileges);
    },
  );
  return whenThere(making, ({ attributes, handle, isNew = true }) =>
    giveHandle(context, handle, flags, (number) => context.replies.created(request, parent, attributes, number, isNew)),
  );
}

/** For CREATE and TMPFILE. */
function newFile(request: Request): NewNode {
  const mode = request.u32(createIn.mode) & permissionMask;
  const umask = request.u32(createIn.umask) & permissionMask;
  return { ...ownerOf(request), type: "file", mode, umask };
}

/**
 * open(2) with O_TMPFILE, Linux 6.1. The kernel itself refuses a name (LINK) to one that was opened with O_EXCL, and to all
 * that have lost theirs.
 */
export function createUnnamed(context: RequestContext, request: Request): Soon<void> {
  request.expect(createIn.bytes);
  const parent = inodeOf(context, request);
  const flags = request.u32(createIn.flags);
  const { fileSystem, replies } = context;
  const making = fileSystem.createAndOpen(parent, undefined, newFile(request), openFlagsOf(flags), request.signal);
  return whenThere(making, ({ attributes, handle }) =>
    giveHandle(context, handle, flags, (number) => replies.created(request, parent, attributes, number, true)),
  );
}

/**
 * Another client made the name between the kernel's LOOKUP and its CREATE. Without O_EXCL that file is to be opened. But
 * after a CREATE the kernel checks no permissions, because a file just made is its maker's. So it is opened here only
 * where owner, group and other may all do what is wanted or the caller is the owner who may; else ESTALE makes the kernel
 * start again: it looks the name up, finds it, and does all its checks.
 */
async function openExisting(
  context: RequestContext,
  request: Request,
  parent: number,
  name: string,
  flags: number,
  killPrivileges: boolean,
): Promise<{ attributes: Attributes; handle: Handle; isNew: false }> {
  const found = await context.fileSystem.lookup(parent, name, request.signal);
  if (found === undefined || found.type !== "file" || !mayOpen(found, request.uid, flags)) {
    throw new FileError("ESTALE");
  }
  const handle = await openInode(context, request, found.inode, flags, killPrivileges);
  try {
    const { attributes } = await context.fileSystem.getAttributes(found.inode, request.signal);
    return { attributes, handle, isNew: false };
  } catch (error) {
    context.fileSystem.close(handle);
    throw error;
  }
}

/** True only if the mode alone allows it whatever groups the caller is in. */
export function mayOpen(attributes: Attributes, uid: number, flags: number): boolean {
  const access = flags & openFlag.ACCESS_MODE;
  const wantsWrite = access !== 0 || (flags & openFlag.TRUNC) !== 0;
  const wanted = (access === openFlag.WRITE_ONLY ? 0 : 4) | (wantsWrite ? 2 : 0);
  const allows = (shift: number) => ((attributes.mode >>> shift) & wanted) === wanted;
  return attributes.uid === uid ? allows(6) : allows(3) && allows(0);
}

export function readFile(context: RequestContext, request: Request): Soon<void> {
  request.expect(readIn.bytes);
  const { handle } = context.openFiles.get(request.u64(readIn.handle));
  const offset = request.u64(readIn.offset);
  const size = Math.min(request.u32(readIn.size), dataBytesMax);
  if (offset === undefined) {
    context.replies.data(request, []); // behind the end of any file
    return undefined;
  }
  request.heldBytes = size;
  if ((request.u32(readIn.readFlags) & readFlag.LOCKOWNER) === 0) {
    return readPages(context, request, handle, offset, size);
  }
  if (size < lentBytesMin) {
    const reading = context.fileSystem.read(handle, offset, size, request.signal, { mayBeShort: true });
    return whenThere(reading, (data) => {
      context.replies.data(request, data);
    });
  }
  const loan = new Loan();
  return afterwards(
    () =>
      whenThere(context.fileSystem.read(handle, offset, size, request.signal, { loan, mayBeShort: true }), (data) => {
        context.replies.data(request, data);
      }),
    () => loan.end(),
  );
}

/** For mapped memory: the kernel keeps it, and takes what is missing for zeros behind the end of the file. While the file is open for writing, memory may be written to: see giveHandle. */
async function readPages(
  { fileSystem, nodes, openFiles, pages, replies, sizes }: RequestContext,
  request: Request,
  handle: Handle,
  offset: number,
  size: number,
): Promise<void> {
  const node = nodes.nodeOf(handle.inode);
  const read = pages.reading(node, offset, size);
  if (read.held !== undefined) await read.held;
  const use = openFiles.writerCount(handle.inode) > 0 ? "change" : "keep";
  let data: readonly Uint8Array[];
  try {
    for (;;) {
      data = await fileSystem.read(handle, offset, size, request.signal, { pages: use });
      const before = bytesOf(data) < size ? read.readsBefore() : undefined;
      if (before === undefined) break;
      await before;
    }
  } catch (error) {
    read.failed();
    throw error;
  }
  read.answered();
  const endsEarly = bytesOf(data) < size;
  if (use === "change" && !endsEarly) sizes.givesPages(node);
  replies.data(request, data);
  if (use === "change" && endsEarly) sizes.gavePagesToEnd(node);
}

function bytesOf(parts: readonly Uint8Array[]): number {
  return parts.reduce((sum, part) => sum + part.byteLength, 0);
}

export function writeFile(context: RequestContext, request: Request): Soon<void> {
  request.expect(writeIn.bytes);
  const { nodes, sizes } = context;
  const file = context.openFiles.get(request.u64(writeIn.handle));
  const node = nodes.nodeOf(file.handle.inode);
  // RWF_APPEND: the kernel says where it believes the end of the file to be.
  const atEnd = sizes.isEnd(node, request.u64Exact(writeIn.offset));
  const size = request.u32(writeIn.size);
  const writeFlags = request.u32(writeIn.writeFlags);
  const flags = request.u32(writeIn.flags);
  // Pages of mapped memory go where they belong, also if the handle that the kernel chose for them appends.
  const withinSize = (writeFlags & writeFlag.CACHE) !== 0;
  const append = ((flags & openFlag.APPEND) !== 0 || atEnd) && !withinSize;
  const killPrivileges = (writeFlags & writeFlag.KILL_PRIVILEGES) !== 0;
  // An append goes to the end, whatever the kernel takes that for.
  const offset = append ? 0 : request.u64(writeIn.offset);
  if (offset === undefined) throw new FileError("EFBIG");
  const data = request.takeData(writeIn.bytes, size, context.scratch);
  // The kernel drops its pages of where it takes the end for, before it asks and after the answer. Where the end is only we know.
  const dropPages = () => (append && context.pages.mayHave(node) ? context.pages.forget(node) : undefined);
  // What was not written isn't to be seen in memory as if it were the file's. The kernel takes its time until we have answered.
  const takePagesBack = (error: unknown): never => {
    void context.pages.forget(node);
    throw error;
  };
  const ready = killPrivileges ? beforeWrite(context, request, file) : undefined;
  const write = () =>
    whenThere(whenThere(ready, dropPages), () =>
      whenThere(file.handleFor(append) ?? file.openOther(), (handle) =>
        context.fileSystem.write(handle, offset, data, { killPrivileges, withinSize }, request.signal),
      ),
    );
  const writing = withinSize ? ifItFails(write, takePagesBack) : write();
  // With direct I/O the kernel leaves it to us (fuse_direct_write_iter): O_SYNC, O_DSYNC, RWF_SYNC, RWF_DSYNC.
  const durable =
    (flags & openFlag.DSYNC) === 0
      ? writing
      : whenThere(writing, async (written) => {
          const scope = (flags & openFlag.SYNC) === openFlag.SYNC ? "all" : "data";
          await context.fileSystem.sync(file.handle, request.signal, scope);
          return written;
        });
  return whenThere(durable, (written) =>
    whenThere(dropPages(), () => {
      if (atEnd) sizes.appended(node, written);
      context.replies.written(request, written);
    }),
  );
}

/** fallocate(2). What other modes do (COLLAPSE_RANGE, …) the kernel does not pass on to FUSE. */
export async function allocate(context: RequestContext, request: Request): Promise<void> {
  request.expect(allocateIn.bytes);
  const { handle } = context.openFiles.get(request.u64(allocateIn.handle));
  const offset = request.u64(allocateIn.offset);
  const length = request.u64(allocateIn.length);
  const mode = request.u32(allocateIn.mode);
  const { KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE } = allocateFlag;
  if ((mode & ~(KEEP_SIZE | PUNCH_HOLE | ZERO_RANGE)) !== 0) throw new FileError("EOPNOTSUPP");
  if (offset === undefined || length === undefined) throw new FileError("EFBIG");
  const asked = { offset, length, zero: (mode & (PUNCH_HOLE | ZERO_RANGE)) !== 0, grow: (mode & KEEP_SIZE) === 0 };
  if (asked.grow) await withinSizeLimit(context, request, offset + length);
  await context.fileSystem.allocate(handle, asked, request.signal);
  context.replies.done(request);
}

export async function seek(context: RequestContext, request: Request): Promise<void> {
  request.expect(seekIn.bytes);
  const { handle } = context.openFiles.get(request.u64(seekIn.handle));
  const offset = request.u64(seekIn.offset);
  const whence = request.u32(seekIn.whence);
  if (whence !== seekWhence.DATA && whence !== seekWhence.HOLE) throw new FileError("EINVAL");
  if (offset === undefined) throw new FileError("ENXIO");
  const what = whence === seekWhence.DATA ? "data" : "hole";
  context.replies.sought(request, await context.fileSystem.seek(handle, offset, what, request.signal));
}

/** copy_file_range(2). The kernel has checked that a file is not copied over itself. Root may keep setuid and setgid. */
export async function copyRange(context: RequestContext, request: Request): Promise<void> {
  const { openFiles, fileSystem, replies } = context;
  request.expect(copyIn.bytes);
  const from = openFiles.get(request.u64(copyIn.from)).handle;
  const toFile = openFiles.get(request.u64(copyIn.to));
  const to = toFile.handle;
  const offset = request.u64(copyIn.offset);
  const toOffset = request.u64(copyIn.toOffset);
  const length = request.u64(copyIn.length) ?? Number.MAX_SAFE_INTEGER;
  if (request.u32(copyIn.flags) !== 0) throw new FileError("EINVAL");
  if (offset === undefined || toOffset === undefined) throw new FileError("EFBIG");
  const copy = { from, offset, to, toOffset, length, killPrivileges: request.uid !== 0 };
  await beforeWrite(context, request, toFile);
  replies.written(request, await fileSystem.copyRange(copy, request.signal));
}

/** RELEASE and RELEASEDIR: the last close of an open. */
export function release(context: RequestContext, request: Request): void {
  request.expect(releaseIn.bytes);
  const number = request.u64(releaseIn.handle);
  const { handle } = context.openFiles.get(number);
  context.lockOwners.closed(handle.inode, number!);
  context.openFiles.close(number);
  context.sizes.closed(context.nodes.nodeOf(handle.inode));
  context.replies.done(request);
}

/**
 * FLUSH: close(2) of one of the file's descriptors. Data is not waited for, but an error of write-back is told; and the
 * process loses all its POSIX locks on the file, before close(2) returns.
 */
export function flush(context: RequestContext, request: Request): Promise<void> | void {
  request.expect(flushIn.bytes);
  const { fileSystem, lockOwners, replies } = context;
  const { handle } = context.openFiles.get(request.u64(flushIn.handle));
  if (lockOwners.hasAny(handle.inode)) {
    const owner = request.u64Exact(flushIn.lockOwner);
    if (lockOwners.remove(handle.inode, owner)) return unlockAndFlush(context, request, handle, owner);
  }
  fileSystem.flush(handle);
  replies.done(request);
}

async function unlockAndFlush(context: RequestContext, request: Request, handle: Handle, owner: bigint): Promise<void> {
  const { fileSystem, replies } = context;
  await fileSystem.unlock(handle, { kind: "posix", owner, start: 0n, end: lockEnd });
  fileSystem.flush(handle);
  replies.done(request);
}

/** FSYNC and FSYNCDIR. */
export async function sync(context: RequestContext, request: Request): Promise<void> {
  request.expect(fsyncIn.bytes);
  const { handle } = context.openFiles.get(request.u64(fsyncIn.handle));
  const scope = (request.u32(fsyncIn.flags) & fsyncDataOnly) === 0 ? "all" : "data";
  await context.fileSystem.sync(handle, request.signal, scope);
  context.replies.done(request);
}
