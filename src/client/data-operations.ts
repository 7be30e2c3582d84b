/**
 * Operations on open files and their data.
 *
 * Times of last access are not kept: a read changes nothing (the mount behaves as with `noatime`), because a shared lease
 * would otherwise need a transaction for each read.
 */
import { FileError } from "../errors/file-error.ts";
import { type Attributes, fileBytesMax } from "../namespace/model.ts";
import type { OperationOf } from "../namespace/operation.ts";
import type { AttributeChange, OpenFlags } from "./file-system.ts";
import type { MountSession } from "./mount-session.ts";
import type { OpenHandle } from "./open-handle.ts";
import { endOfRange } from "./range-lock.ts";
import { expectResult } from "./results.ts";
import type { Operation } from "./waits.ts";

/** Holds the inode open; truncates it if the flags say so. The caller owns the hold. Errors: ENOENT. */
export async function open(mount: MountSession, inode: number, flags: OpenFlags, operation: Operation): Promise<void> {
  await mount.holds.open(inode, operation);
  try {
    operation.check();
    // truncate(2) by O_TRUNC sets the times even of an empty file.
    if (flags.truncate === true) await setAttributes(mount, inode, { size: 0, mtime: { kind: "now" } }, operation);
    operation.check();
  } catch (error) {
    if (!mount.ended) mount.holds.close(inode);
    throw error;
  }
}

/** chmod, chown, utimens: a transaction. A size: see truncate.ts. */
export async function setAttributes(
  mount: MountSession,
  inode: number,
  change: AttributeChange,
  operation: Operation,
): Promise<Attributes> {
  const fields = {
    mode: change.mode,
    uid: change.uid,
    gid: change.gid,
    atime: change.atime,
    mtime: change.mtime,
    ctime: change.ctime,
    killPrivileges: change.killPrivileges ?? false,
  } satisfies Partial<OperationOf<"setAttributes">>;
  const { size } = change;
  if (size === undefined) {
    operation.waitsFor = "leader.transact";
    const result = await mount.transactions.submit({
      kind: "setAttributes",
      inode,
      mappings: [],
      size: undefined,
      ...fields,
    });
    return expectResult(result, "attributes").attributes;
  }
  const data = await mount.leases.use(inode, "exclusive", operation);
  try {
    return await mount.truncater.setSize(data, { ...fields, size }, operation);
  } catch (error) {
    throw leaseFailure(mount, inode, error);
  } finally {
    mount.leases.done(data);
  }
}

export async function read(
  handle: OpenHandle,
  offset: number,
  length: number,
  operation: Operation,
): Promise<readonly Uint8Array[]> {
  const { mount, inode, pattern } = handle;
  if (length === 0) return [];
  const data = await mount.leases.use(inode, "shared", operation);
  try {
    return await mount.reader.read(data, pattern, offset, length, operation);
  } finally {
    mount.leases.done(data);
  }
}

export async function write(
  handle: OpenHandle,
  offset: number,
  bytes: Uint8Array,
  killPrivileges: boolean,
  operation: Operation,
): Promise<number> {
  const { mount, inode, append } = handle;
  if (bytes.byteLength === 0) return 0;
  if (!append && offset + bytes.byteLength > fileBytesMax) throw new FileError("EFBIG");
  const data = await mount.leases.use(inode, "exclusive", operation);
  try {
    const request = { offset: append ? undefined : offset, bytes, killPrivileges };
    return await mount.writer.write(data, request, operation);
  } catch (error) {
    throw leaseFailure(mount, inode, error);
  } finally {
    mount.leases.done(data);
  }
}

/**
 * Resolves when the writes to the inode that are under way are finished.
 *
 * There is nothing else to do: every operation that has returned was durable before it did. A write is answered when its
 * blocks are on disk (fdatasync) on all in-sync members and its transaction is in the ledger (fdatasync); a change of
 * names or attributes when its transaction is. So whatever an fsync is to prove, its program has been told already; what
 * other threads have under way at the moment is awaited, and a failure is told to them.
 */
export async function sync(mount: MountSession, inode: number, operation: Operation): Promise<void> {
  const data = mount.leases.useHeld(inode);
  if (data === undefined) return;
  operation.waitsFor = "writes to the file";
  try {
    const unlock = await data.lock.lock(0, endOfRange, false);
    unlock();
  } finally {
    mount.leases.done(data);
  }
}

/** A store has seen a write of a later grant: ours was lost. What is known under it must not be used any more. */
function leaseFailure(mount: MountSession, inode: number, error: unknown): unknown {
  if ((error as { code?: string }).code === "superseded") mount.leases.giveBack(inode);
  return error;
}
