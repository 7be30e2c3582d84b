/** Operations on names and attributes, over what is cached under leases. */
import { FileError } from "../errors/file-error.ts";
import { checkName } from "../namespace/inodes.ts";
import { type Attributes, targetBytesMax } from "../namespace/model.ts";
import {
  directoryEntriesMax,
  readDirectory as readDirectoryMethod,
  statVolume as statVolumeMethod,
} from "../wire/catalogue/leader.ts";
import { change, takeSiblings } from "./changes.ts";
import type { DirectoryEntry, NewNode, VolumeSpace } from "./file-system.ts";
import type { MountSession } from "./mount-session.ts";
import type { Node } from "./node.ts";
import { expectResult } from "./results.ts";
import type { Operation } from "./waits.ts";

export { rename } from "./changes.ts";

export function lookup(
  { fetcher }: MountSession,
  parent: number,
  name: string,
  operation: Operation,
): Promise<Attributes | undefined> {
  checkName(name);
  return fetcher.run(operation, (access) => {
    const directory = access.directory(parent, name);
    if (directory.names === undefined) throw new FileError("ENOTDIR");
    const entry = access.entry(directory, name);
    return entry === undefined ? undefined : access.node(entry.inode, "shared").record.attributes;
  });
}

export function getAttributes(
  { fetcher }: MountSession,
  inode: number,
  operation: Operation,
): Promise<{ attributes: Attributes; parent: number }> {
  return fetcher.run(operation, (access) => {
    const { attributes, parent } = access.node(inode, "shared").record;
    return { attributes, parent };
  });
}

/** @param then runs in the moment in which the inode is made */
export async function create<T>(
  mount: MountSession,
  parent: number,
  name: string,
  node: NewNode,
  operation: Operation,
  then: (attributes: Attributes) => T,
): Promise<T> {
  checkName(name);
  const { type, mode, uid, gid, device = 0, target = "" } = node;
  if (target.length > targetBytesMax) throw new FileError("ENAMETOOLONG");
  const inode = await mount.ids.takeInode(operation);
  try {
    const made = { kind: "create", parent, name, inode, type, mode, uid, gid, device, target } as const;
    return await change(mount, made, operation, (result) => then(expectResult(result, "attributes").attributes));
  } catch (error) {
    if (mount.leases.get(inode) === undefined) mount.ids.giveBackInode(inode);
    throw error;
  }
}

export function link(
  mount: MountSession,
  inode: number,
  parent: number,
  name: string,
  operation: Operation,
): Promise<Attributes> {
  checkName(name);
  const linked = { kind: "link", inode, parent, name } as const;
  return change(mount, linked, operation, (result) => expectResult(result, "attributes").attributes);
}

export async function remove(
  mount: MountSession,
  kind: "unlink" | "rmdir",
  parent: number,
  name: string,
  operation: Operation,
): Promise<void> {
  checkName(name);
  await takeSiblings(mount, parent, name);
  const directory = mount.leases.get(parent);
  if (directory !== undefined && directory.lastPosition <= mount.journal.committedPosition)
    directory.names?.committed();
  await change(mount, { kind, parent, name }, operation, () => {});
}

export function readLink({ fetcher }: MountSession, inode: number, operation: Operation): Promise<string> {
  return fetcher.run(operation, (access) => {
    const { attributes, target } = access.node(inode, "shared").record;
    if (attributes.type !== "symlink") throw new FileError("EINVAL", `inode ${inode} is no symlink`);
    return target;
  });
}

/** Entries behind the cookie `after`; with attributes where they are at hand. */
export async function readDirectory(
  mount: MountSession,
  inode: number,
  after: number,
  limit: number,
  withAttributes: boolean,
  operation: Operation,
): Promise<readonly DirectoryEntry[]> {
  const most = Math.max(1, Math.min(limit, directoryEntriesMax));
  for (;;) {
    const found = await mount.fetcher.run(operation, (access) => {
      const directory = access.node(inode, "shared");
      if (directory.names === undefined) throw new FileError("ENOTDIR");
      const entries = directory.names.list(after, most);
      if (entries === undefined) return directory;
      return entries.map(({ name, entry: { inode: child, type, cookie } }): DirectoryEntry => {
        const node = withAttributes ? mount.leases.held(child, "shared") : undefined;
        return { name, inode: child, type, cookie, attributes: node?.record.attributes };
      });
    });
    if (Array.isArray(found)) return found;
    await loadPage(mount, found as Node, withAttributes, operation);
  }
}

/** The next page of a directory's names. One at a time: who comes meanwhile waits for the same. */
function loadPage(mount: MountSession, directory: Node, withLeases: boolean, operation: Operation): Promise<void> {
  directory.loading ??= fetchPage(mount, directory, withLeases, operation).finally(() => {
    directory.loading = undefined;
  });
  return directory.loading;
}

async function fetchPage(
  { journal, session, leases }: MountSession,
  directory: Node,
  withLeases: boolean,
  operation: Operation,
): Promise<void> {
  // The leader lists what is committed; what is changed after that is known here, and newer.
  while (journal.committedPosition < directory.lastPosition) await journal.committed(directory.lastPosition, operation);
  const { names, grant } = directory;
  if (directory.mode === undefined || names === undefined || names.isWhole) return;
  names.beginPage();
  const request = { directory: directory.inode, held: grant, after: names.listedUpTo, limit: directoryEntriesMax };
  try {
    const answer = await session.request(
      readDirectoryMethod,
      { session: session.id, ...request, withLeases },
      operation,
    );
    for (const { child } of answer.entries) if (child !== undefined) leases.learn(child);
    if (answer.parent !== undefined) leases.learn(answer.parent);
    else if (directory.names === names && directory.grant === grant) {
      names.addPage(answer.entries, answer.entries.length < directoryEntriesMax);
    }
  } finally {
    names.endPage();
  }
}

export function statVolume({ session }: MountSession, operation: Operation): Promise<VolumeSpace> {
  return session.request(statVolumeMethod, { session: session.id }, operation);
}

export function getExtendedAttribute(
  { fetcher }: MountSession,
  inode: number,
  name: string,
  operation: Operation,
): Promise<Uint8Array> {
  return fetcher.run(operation, (access) => {
    const { extendedAttributes } = access.node(inode, "shared").record;
    const found = extendedAttributes.find((one) => one.name === name);
    if (found === undefined) throw new FileError("ENODATA");
    return found.value;
  });
}

export function listExtendedAttributes(
  { fetcher }: MountSession,
  inode: number,
  operation: Operation,
): Promise<readonly string[]> {
  return fetcher.run(operation, (access) =>
    access.node(inode, "shared").record.extendedAttributes.map(({ name }) => name),
  );
}
