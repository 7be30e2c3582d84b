/** Operations on open files and their data. */
import { FileError } from "../errors/file-error.ts";
import { authorizeChange } from "../namespace/authorization.ts";
import { type Attributes, fileBytesMax } from "../namespace/model.ts";
import type { OperationOf, Result } from "../namespace/operation.ts";
import { mayChangeData } from "../namespace/permissions.ts";
import { markAccessed } from "./access-times.ts";
import { change } from "./changes.ts";
import type { Sought } from "./content/seek.ts";
import type { Allocation, AttributeChange, OpenFlags, ReadOptions, SyncScope, WriteOptions } from "./file-system.ts";
import type { MountSession } from "./mount-session.ts";
import { readNextFiles } from "./next-files.ts";
import type { Node } from "./node.ts";
import { OpenHandle } from "./open-handle.ts";
import { expectResult } from "./results.ts";
import { afterwards, ifItFails, type Soon, whenThere } from "./soon.ts";
import { isWithinSize, readSplit, writeSplit } from "./split-data.ts";
import type { Operation } from "./waits.ts";

/** Opens an inode: the handle is counted under a lease, which is a hold. Errors: ENOENT. */
export function open(mount: MountSession, inode: number, flags: OpenFlags, operation: Operation): Soon<OpenHandle> {
  const opening = mount.fetcher.run(operation, (access) => new OpenHandle(mount, access.node(inode, "shared"), flags));
  if (flags.truncate !== true) return opening;
  // truncate(2) by O_TRUNC sets the times even of an empty file.
  const emptied = { size: 0, mtime: { kind: "now" } } as const;
  return whenThere(opening, (handle) =>
    ifItFails<OpenHandle>(
      () => whenThere(setAttributes(mount, inode, emptied, operation), () => handle),
      (error) => {
        handle.close();
        throw error;
      },
    ),
  );
}

/** chmod, chown, utimens; a size: see content/truncate.ts. */
export function setAttributes(
  mount: MountSession,
  inode: number,
  asked: AttributeChange,
  operation: Operation,
): Soon<Attributes> {
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
    const changed: OperationOf<"setAttributes"> = {
      kind: "setAttributes",
      inode,
      mappings: [],
      size: undefined,
      ...fields,
    };
    const then = (result: Result) => expectResult(result, "attributes").attributes;
    return change(mount, changed, operation, then, asked.permit);
  }
  return usingContent(mount, inode, operation, (node) => {
    const change = { ...fields, size };
    const { user } = mount.session;
    if (user !== undefined) {
      authorizeChange(user, node.record, { kind: "setAttributes", inode, mappings: [], ...change });
    }
    return mount.contentOf(node).setSize(change, operation);
  });
}

/** What the kernel keeps (`pages`) it keeps under a lease of the file. If it may change it without a word, alone. */
export function read(
  handle: OpenHandle,
  asked: ReadOptions & { readonly offset: number; readonly length: number },
  operation: Operation,
): Soon<readonly Uint8Array[]> {
  const { mount, inode, pattern } = handle;
  const { offset, length, pages, loan } = asked;
  const mayBeShort = pages === undefined && asked.mayBeShort;
  if (length === 0) return [];
  const mode = pages === "change" ? "exclusive" : "shared";
  return whenThere(mount.leases.use(inode, mode, operation, "read", pages === undefined), (node) =>
    usingNode(mount, node, () => {
      const request = { pattern, offset, length, loan, mayBeShort };
      if (node.mode === "split") return readSplit(mount, node, request, operation);
      markAccessed(handle, node);
      const reading = mount.contentOf(node).read(request, operation);
      if (offset === 0) readNextFiles(mount, node);
      return reading;
    }),
  );
}

/** Lets go of a pinned node when the body has ended. */
function usingNode<T>({ leases }: MountSession, node: Node, body: () => Soon<T>): Soon<T> {
  return afterwards(body, () => leases.done(node));
}

export function write(
  handle: OpenHandle,
  offset: number,
  bytes: Uint8Array,
  { killPrivileges, withinSize = false }: WriteOptions,
  operation: Operation,
): Soon<number> {
  const { mount, inode, append } = handle;
  if (bytes.byteLength === 0) return 0;
  const place = append && !withinSize ? undefined : offset;
  if (place !== undefined && offset + bytes.byteLength > fileBytesMax) throw new FileError("EFBIG");
  const body = (node: Node): Soon<number> => {
    if (node.mode === "split") {
      return writeSplit(mount, node, { offset, bytes, killPrivileges }, operation);
    }
    const { mode } = node.record.attributes;
    const content = mount.contentOf(node);
    const inside = withinSize ? bytes.subarray(0, Math.max(0, content.size - offset)) : bytes;
    if (inside.byteLength === 0) return bytes.byteLength;
    const writing = content.write({ offset: place, bytes: inside, killPrivileges }, operation);
    return whenThere(writing, (written) => {
      // After a write the kernel asks for size and times again, but not for the mode.
      if (node.record.attributes.mode !== mode) mount.forgetAttributes(inode);
      return written === inside.byteLength ? bytes.byteLength : written;
    });
  };
  return usingContent(mount, inode, operation, body, (node) => isWithinSize(node, place, bytes.byteLength));
}

/** fallocate(2): see FileSystem.allocate. */
export function allocate({ mount, inode }: OpenHandle, asked: Allocation, operation: Operation): Soon<void> {
  if (asked.offset + asked.length > fileBytesMax) throw new FileError("EFBIG");
  return usingContent(mount, inode, operation, (node) => mount.contentOf(node).allocate(asked, operation));
}

/** Where data or a hole begins. Errors: ENXIO (there is none), EIO. */
export async function seek({ mount, inode }: OpenHandle, sought: Sought, operation: Operation): Promise<number> {
  const node = await mount.leases.use(inode, "shared", operation, "read");
  try {
    const found = await mount.contentOf(node).seek(sought, operation);
    if (found === undefined) throw new FileError("ENXIO");
    return found;
  } finally {
    mount.leases.done(node);
  }
}

/**
 * Changes a file's content under its exclusive lease. What the session's user may not change is refused before anything goes to
 * the stores, which know no permissions: bytes that are overwritten are there before the leader hears of them. Errors: EACCES.
 *
 * @param fitsSplit whether it can be done under the split lease as well, if there is one
 */
export function usingContent<T>(
  mount: MountSession,
  inode: number,
  operation: Operation,
  body: (node: Node) => Soon<T>,
  fitsSplit?: (node: Node) => boolean,
): Soon<T> {
  const { journal, leases } = mount;
  const using = whenThere(journal.room(operation), () =>
    leases.use(inode, "exclusive", operation, "write", mayFitSplit(mount, inode, fitsSplit)),
  );
  const fitting = whenThere(using, (node) => {
    if (node.mode !== "split" || fitsSplit?.(node) === true) return node;
    leases.done(node);
    return leases.use(inode, "exclusive", operation, "write");
  });
  return whenThere(fitting, (node) =>
    usingNode(mount, node, () => {
      if (node.record.attributes.type !== "file") {
        throw new FileError(node.record.attributes.type === "directory" ? "EISDIR" : "EINVAL");
      }
      const { user } = mount.session;
      if (user !== undefined && !mayChangeData(user, node.record)) throw new FileError("EACCES");
      return whenThere(body(node), (outcome) => visible(mount, node, operation, outcome));
    }),
  );
}

/** The outcome, as soon as it may be given. */
function visible<T>({ journal, session }: MountSession, node: Node, operation: Operation, outcome: T): Soon<T> {
  // It took a while: what was answered must be visible to whoever comes after us.
  const living = session.live ? undefined : session.whenLive(operation);
  const committed = whenThere(living, () =>
    session.writeThrough ? journal.committed(node.lastPosition, operation) : undefined,
  );
  return whenThere(committed, () => outcome);
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
 *
 * Of the data alone: times that overwrites have set are not waited for. Under a split lease they are.
 */
export async function sync(handle: OpenHandle, operation: Operation, scope: SyncScope = "all"): Promise<void> {
  const { mount, inode, node } = handle;
  const { journal } = mount;
  const { content, mode, dataSyncPosition } = node;
  if (scope === "data" && content !== undefined && mode !== "split") {
    await journal.committed(dataSyncPosition, operation);
    await content.durable(operation);
  } else {
    const isRoot = inode === mount.session.volume.root;
    await journal.committed(isRoot ? journal.position : node.lastPosition, operation);
  }
  handle.checkErrors();
}
