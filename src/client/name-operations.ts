/** Operations on names and attributes, over what is cached under leases. */
import { FileError } from "../errors/file-error.ts";
import type { FileOperation } from "../namespace/apply.ts";
import { checkName } from "../namespace/inodes.ts";
import { type Attributes, targetBytesMax } from "../namespace/model.ts";
import {
  directoryEntriesMax,
  readDirectory as readDirectoryMethod,
  statVolume as statVolumeMethod,
} from "../wire/catalogue/leader.ts";
import { change } from "./changes.ts";
import type { DirectoryNames, NamedEntry } from "./directory-names.ts";
import type { DirectoryEntry, NewNode, VolumeSpace } from "./file-system.ts";
import { leaseTimeoutMs } from "./leases.ts";
import type { MountSession } from "./mount-session.ts";
import type { Node } from "./node.ts";
import { expectResult } from "./results.ts";
import { takeSiblings } from "./siblings.ts";
import { ifItFails, type Soon, whenThere } from "./soon.ts";
import type { Operation } from "./waits.ts";

export { rename } from "./changes.ts";

export function lookup(
  mount: MountSession,
  parent: number,
  name: string,
  operation: Operation,
): Soon<Attributes | undefined> {
  checkName(name);
  return whenThere(takeSiblings(mount, parent, name, "shared", operation), () =>
    mount.fetcher.run(operation, (access) => {
      const directory = access.directory(parent, name);
      if (directory.names === undefined) throw new FileError("ENOTDIR");
      const entry = access.entry(directory, name);
      return entry === undefined ? undefined : access.node(entry.inode, "shared").record.attributes;
    }),
  );
}

export function getAttributes(
  { fetcher }: MountSession,
  inode: number,
  operation: Operation,
): Soon<{ attributes: Attributes; parent: number }> {
  return fetcher.run(operation, (access) => {
    const { attributes, parent } = access.node(inode, "shared").record;
    return { attributes, parent };
  });
}

/**
 * @param name undefined for a file that has none
 * @param then runs in the moment in which the inode is made
 */
export function create<T>(
  mount: MountSession,
  parent: number,
  name: string | undefined,
  node: NewNode,
  operation: Operation,
  then: (attributes: Attributes) => T,
): Soon<T> {
  if (name !== undefined) checkName(name);
  const { type, mode, umask = 0, uid, gid, device = 0, target = "" } = node;
  if (target.length > targetBytesMax) throw new FileError("ENAMETOOLONG");
  const placing = type === "file" ? mount.placement.poolOfNew(parent, name ?? "", operation) : 0;
  return whenThere(placing, (pool) =>
    whenThere(mount.ids.takeInode(operation), (inode) => {
      const asked = { parent, inode, mode, umask, uid, gid };
      const made: FileOperation =
        name === undefined
          ? { kind: "createUnnamed", ...asked }
          : { kind: "create", name, type, device, target, ...asked };
      return ifItFails(
        () =>
          change(mount, made, operation, (result, also) => {
            const { attributes } = expectResult(result, "attributes");
            if (pool !== 0) also({ kind: "place", inode, pool, mappings: [] });
            return then(attributes);
          }),
        (error) => {
          if (mount.leases.get(inode) === undefined) mount.ids.giveBackInode(inode);
          throw error;
        },
      );
    }),
  );
}

export function link(
  mount: MountSession,
  inode: number,
  parent: number,
  name: string,
  operation: Operation,
): Soon<Attributes> {
  checkName(name);
  const linked = { kind: "link", inode, parent, name } as const;
  return change(mount, linked, operation, (result) => expectResult(result, "attributes").attributes);
}

export function remove(
  mount: MountSession,
  kind: "unlink" | "rmdir",
  parent: number,
  name: string,
  operation: Operation,
): Soon<void> {
  checkName(name);
  return whenThere(takeSiblings(mount, parent, name, "exclusive", operation), () =>
    change(mount, { kind, parent, name }, operation, () => {}),
  );
}

export function readLink({ fetcher }: MountSession, inode: number, operation: Operation): Soon<string> {
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
  const { leases, session } = mount;
  const most = Math.max(1, Math.min(limit, directoryEntriesMax));
  // Pinned while pages are loaded: one that has come is used, whoever wants the directory.
  const directory = await leases.use(inode, "shared", operation);
  try {
    for (;;) {
      if (!session.live) await session.whenLive(operation);
      const { names } = directory;
      if (names === undefined) throw new FileError("ENOTDIR");
      const entries = names.list(after, most);
      if (entries !== undefined) return entries.map((entry) => listed(mount, entry, withAttributes));
      await loadPage(mount, directory, names, withAttributes, operation);
      operation.check();
    }
  } finally {
    leases.done(directory);
  }
}

function listed({ leases }: MountSession, { name, entry }: NamedEntry, withAttributes: boolean): DirectoryEntry {
  const { inode, type, cookie } = entry;
  const node = withAttributes ? leases.held(inode, "shared") : undefined;
  return { name, inode, type, cookie, attributes: node?.record.attributes };
}

/** The next page of a directory's names. One at a time: who comes meanwhile waits for the same; its errors are the first's. */
async function loadPage(
  mount: MountSession,
  directory: Node,
  names: DirectoryNames,
  withLeases: boolean,
  operation: Operation,
): Promise<void> {
  if (directory.loading !== undefined) {
    operation.waitsFor = readDirectoryMethod.name;
    await directory.loading.catch(() => {});
    return;
  }
  directory.loading = fetchPage(mount, directory, names, withLeases, operation).finally(() => {
    directory.loading = undefined;
  });
  await directory.loading;
}

async function fetchPage(
  { journal, session, leases }: MountSession,
  directory: Node,
  names: DirectoryNames,
  withLeases: boolean,
  operation: Operation,
): Promise<void> {
  names.beginPage();
  try {
    // The leader lists what is committed; what is changed from now on is known here, and newer.
    await journal.committed(directory.lastPosition, operation);
    const { inode, grant } = directory;
    const request = { directory: inode, held: grant, after: names.listedUpTo, limit: directoryEntriesMax };
    const answer = await session.request(
      readDirectoryMethod,
      { session: session.id, ...request, withLeases },
      operation,
      { timeoutMs: leaseTimeoutMs },
    );
    if (answer.parent !== undefined) leases.learn(answer.parent);
    for (const { child } of answer.entries) if (child !== undefined) leases.learn(child);
    if (directory.names === names) names.addPage(answer.entries, answer.entries.length < directoryEntriesMax);
  } finally {
    names.endPage();
  }
}

export async function statVolume(
  { journal, quotas, session }: MountSession,
  inode: number,
  operation: Operation,
): Promise<VolumeSpace> {
  // Of a quota the leader knows what is committed.
  if (quotas.isActive) await journal.committed(journal.position, operation);
  return session.request(statVolumeMethod, { session: session.id, inode }, operation);
}

export function getExtendedAttribute(
  { fetcher }: MountSession,
  inode: number,
  name: string,
  operation: Operation,
): Soon<Uint8Array> {
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
): Soon<readonly string[]> {
  return fetcher.run(operation, (access) =>
    access.node(inode, "shared").record.extendedAttributes.map(({ name }) => name),
  );
}
