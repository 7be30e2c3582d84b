/**
 * Advisory locks: GETLK, SETLK, SETLKW, for fcntl(2) (of processes and of open file descriptions) and flock(2). The kernel
 * says who owns a lock by a number of its own.
 *
 * A range that begins at the end of the file (`l_whence` SEEK_END) the kernel counts from the size that it knows. Where we have made
 * that enormous (kernel-sizes.ts), it is counted from the true one here.
 *
 * Unlocking at close: POSIX locks at FLUSH (data.ts); the others when the file system closes the handle.
 */
import { type Handle, type LockRange, lockEnd } from "../../client/file-system.ts";
import { type Soon, whenThere } from "../../client/soon.ts";
import { FileError } from "../../errors/file-error.ts";
import { lockFlag, lockIn, lockType } from "../protocol.ts";
import type { Request } from "../request.ts";
import type { RequestContext } from "./context.ts";

/** F_GETLK, F_OFD_GETLK. */
export async function testLock(context: RequestContext, request: Request): Promise<void> {
  request.expect(lockIn.bytes);
  const { handle } = context.openFiles.get(request.u64(lockIn.handle));
  const mode = lockMode(request);
  const range = await whereItIs(context, request, handle, lockRange(request));
  context.replies.lock(request, await context.fileSystem.testLock(handle, { ...range, mode }, request.signal));
}

/** F_SETLK, F_OFD_SETLK, flock(2) with LOCK_NB; and unlocking. */
export function setLock(context: RequestContext, request: Request): Promise<void> {
  return changeLock(context, request, false);
}

/** The same, waiting; also flock(2). */
export function setLockWaiting(context: RequestContext, request: Request): Promise<void> {
  return changeLock(context, request, true);
}

async function changeLock(context: RequestContext, request: Request, wait: boolean): Promise<void> {
  request.expect(lockIn.bytes);
  const { fileSystem, lockOwners, openFiles, replies } = context;
  const number = request.u64(lockIn.handle);
  const { handle } = openFiles.get(number);
  const type = request.u32(lockIn.type);
  const mode = type === lockType.UNLOCK ? undefined : lockMode(request);
  const range = await whereItIs(context, request, handle, lockRange(request));
  if (mode === undefined) {
    await fileSystem.unlock(handle, range);
    replies.done(request);
    return;
  }
  if (range.kind === "posix") lockOwners.add(handle.inode, range.owner, number!);
  request.endsOnSignal = wait;
  await fileSystem.setLock(handle, { ...range, mode }, wait, request.signal);
  // Nobody learns that it was granted: the task was killed, or the connection has ended, which has closed the handle.
  if (!replies.done(request) && openFiles.has(number)) await fileSystem.unlock(handle, range);
}

/** The request's message is not read after the first `await`: so this is called before. */
function lockRange(request: Request): Omit<LockRange, "mode"> {
  return {
    kind: (request.u32(lockIn.flags) & lockFlag.FLOCK) === 0 ? "posix" : "flock",
    owner: request.u64Exact(lockIn.owner),
    start: atMostTheEnd(request.u64Exact(lockIn.start)),
    end: atMostTheEnd(request.u64Exact(lockIn.end)),
    pid: request.u32(lockIn.pid),
  };
}

/** The kernel says no more; a process could, that mounts by itself. */
function atMostTheEnd(byte: bigint): bigint {
  return byte < lockEnd ? byte : lockEnd;
}

/** Errors: EINVAL for a range that would begin before the file. */
function whereItIs(
  { fileSystem, nodes, sizes }: RequestContext,
  request: Request,
  { inode }: Handle,
  range: Omit<LockRange, "mode">,
): Soon<Omit<LockRange, "mode">> {
  const node = nodes.nodeOf(inode);
  const start = sizes.fromEnd(node, request.u64Exact(lockIn.start));
  const end = sizes.fromEnd(node, request.u64Exact(lockIn.end));
  if (start === undefined) return range;
  return whenThere(fileSystem.getAttributes(inode, request.signal), ({ attributes: { size } }) => {
    if (size + start < 0) throw new FileError("EINVAL");
    return { ...range, start: BigInt(size + start), end: end === undefined ? range.end : BigInt(size + end) };
  });
}

function lockMode(request: Request): LockRange["mode"] {
  const type = request.u32(lockIn.type);
  if (type !== lockType.READ && type !== lockType.WRITE) throw new FileError("EINVAL");
  return type === lockType.READ ? "shared" : "exclusive";
}
