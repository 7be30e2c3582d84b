/**
 * Operations on open files and their data.
 *
 * Times of last access are not kept: a read changes nothing (the mount behaves as with `noatime`), because a shared lease
 * would otherwise need a transaction for each read.
 */
import { FileError } from "../errors/file-error.ts";
import { type Attributes, fileBytesMax } from "../namespace/model.ts";
import type { OperationOf } from "../namespace/operation.ts";
import { change } from "./changes.ts";
import type { AttributeChange, OpenFlags, PageUse } from "./file-system.ts";
import type { MountSession } from "./mount-session.ts";
import type { Node } from "./node.ts";
import { OpenHandle } from "./open-handle.ts";
import { expectResult } from "./results.ts";
import { isWithinSize, readSplit, writeSplit } from "./split-data.ts";
import type { Operation } from "./waits.ts";

/** Opens an inode: the handle is counted under a lease, which is a hold. Errors: ENOENT. */
export async function open(
  mount: MountSession,
  inode: number,
  flags: OpenFlags,
  operation: Operation,
): Promise<OpenHandle> {
  const handle = await mount.fetcher.run(
    operation,
    (access) => new OpenHandle(mount, access.node(inode, "shared"), flags),
  );
  try {
    // truncate(2) by O_TRUNC sets the times even of an empty file.
    if (flags.truncate === true) {
      await setAttributes(mount, inode, { size: 0, mtime: { kind: "now" } }, operation);
    }
  } catch (error) {
    handle.close();
    throw error;
  }
  return handle;
}

/** chmod, chown, utimens; a size: see content/truncate.ts. */
export async function setAttributes(
  mount: MountSession,
  inode: number,
  asked: AttributeChange,
  operation: Operation,
): Promise<Attributes> {
  const fields = {
    mode: asked.mode,
    uid: asked.uid,
    gid: asked.gid,
    atime: asked.atime,
    mtime: asked.mtime,
    ctime: asked.ctime,
    killPrivileges: asked.killPrivileges ?? false,
  } satisfies Partial<OperationOf<"setAttributes">>;
  const { size } = asked;
  if (size === undefined) {
    const changed = { kind: "setAttributes", inode, mappings: [], size: undefined, ...fields } as const;
    return change(
      mount,
      { ...changed, mappings: [] },
      operation,
      (result) => expectResult(result, "attributes").attributes,
    );
  }
  return usingContent(mount, inode, operation, (node) => mount.contentOf(node).setSize({ ...fields, size }, operation));
}

/** @param pages the kernel keeps what is read, under a lease of the file. If it may change it without a word, alone */
export async function read(
  handle: OpenHandle,
  offset: number,
  length: number,
  pages: PageUse | undefined,
  operation: Operation,
): Promise<readonly Uint8Array[]> {
  const { mount, inode, pattern } = handle;
  if (length === 0) return [];
  const mode = pages === "change" ? "exclusive" : "shared";
  const node = await mount.leases.use(inode, mode, operation, "read", pages === undefined);
  try {
    if (node.mode === "split") return await readSplit(mount, node, pattern, offset, length, operation);
    return await mount.contentOf(node).read(pattern, offset, length, operation);
  } finally {
    mount.leases.done(node);
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
  const place = append ? undefined : offset;
  const body = async (node: Node): Promise<number> => {
    if (node.mode === "split") {
      return writeSplit(mount, node, { offset, bytes, killPrivileges }, operation);
    }
    const { mode } = node.record.attributes;
    const written = await mount.contentOf(node).write({ offset: place, bytes, killPrivileges }, operation);
    // After a write the kernel asks for size and times again, but not for the mode.
    if (node.record.attributes.mode !== mode) mount.forgetAttributes(inode);
    return written;
  };
  return usingContent(mount, inode, operation, body, (node) => isWithinSize(node, place, bytes.byteLength));
}

/**
 * Changes a file's content under its exclusive lease.
 *
 * @param fitsSplit whether it can be done under the split lease as well, if there is one
 */
async function usingContent<T>(
  mount: MountSession,
  inode: number,
  operation: Operation,
  body: (node: Node) => Promise<T>,
  fitsSplit?: (node: Node) => boolean,
): Promise<T> {
  const room = mount.journal.room(operation);
  if (room !== undefined) await room;
  let node = await mount.leases.use(inode, "exclusive", operation, "write", mayFitSplit(mount, inode, fitsSplit));
  if (node.mode === "split" && fitsSplit?.(node) !== true) {
    mount.leases.done(node);
    node = await mount.leases.use(inode, "exclusive", operation, "write");
  }
  try {
    if (node.record.attributes.type !== "file") {
      throw new FileError(node.record.attributes.type === "directory" ? "EISDIR" : "EINVAL");
    }
    const outcome = await body(node);
    // It took a while: what was answered must be visible to whoever comes after us.
    if (!mount.session.live) await mount.session.whenLive(operation);
    if (mount.session.writeThrough) await mount.journal.committed(node.lastPosition, operation);
    return outcome;
  } finally {
    mount.leases.done(node);
  }
}

/** What moves the end of the file, as far as it is known, asks for the exclusive lease at once. */
function mayFitSplit(mount: MountSession, inode: number, fitsSplit: ((node: Node) => boolean) | undefined): boolean {
  if (fitsSplit === undefined) return false;
  const known = mount.leases.get(inode);
  return known === undefined || fitsSplit(known);
}

/**
 * Resolves when all changes of the inode so far are committed: its data is then on all members' disks, because the journal
 * holds back what exposes it. What the changes depend on (its names, their directories) is before them in the journal. For
 * the root it is everything.
 */
export async function sync(handle: OpenHandle, operation: Operation): Promise<void> {
  const { mount, inode } = handle;
  const { journal } = mount;
  const isRoot = inode === mount.session.volume.root;
  await journal.committed(isRoot ? journal.position : handle.node.lastPosition, operation);
  handle.checkErrors();
}
