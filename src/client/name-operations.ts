/** Operations on names and attributes, over what is cached under leases. */
import { FileError } from "../errors/file-error.ts";
import type { FileOperation } from "../namespace/apply.ts";
import { checkName } from "../namespace/inodes.ts";
import { type Attributes, targetBytesMax } from "../namespace/model.ts";
import { statVolume as statVolumeMethod } from "../wire/catalogue/leader.ts";
import { markFollowed } from "./access-times.ts";
import { change } from "./changes.ts";
import type { NewNode, VolumeSpace } from "./file-system.ts";
import { listAhead } from "./listing.ts";
import type { MountSession } from "./mount-session.ts";
import { expectResult } from "./results.ts";
import { takeSiblings } from "./siblings.ts";
import { ifItFails, type Soon, whenThere } from "./soon.ts";
import type { Operation } from "./waits.ts";

export { rename } from "./changes.ts";
export { readDirectory } from "./listing.ts";

export function lookup(
  mount: MountSession,
  parent: number,
  name: string,
  operation: Operation,
): Soon<Attributes | undefined> {
  checkName(name);
  const atHand = () =>
    listAhead(mount, parent, name, operation) ?? takeSiblings(mount, parent, name, "shared", operation);
  return whenThere(atHand(), () =>
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

export function readLink(mount: MountSession, inode: number, operation: Operation): Soon<string> {
  return mount.fetcher.run(operation, (access) => {
    const node = access.node(inode, "shared");
    const { attributes, target } = node.record;
    if (attributes.type !== "symlink") throw new FileError("EINVAL", `inode ${inode} is no symlink`);
    markFollowed(mount, node);
    return target;
  });
}

export async function statVolume(
  { contents, journal, quotas, session }: MountSession,
  inode: number,
  operation: Operation,
): Promise<VolumeSpace> {
  // Of a quota the leader knows what is committed.
  if (quotas.isActive) await journal.committed(journal.position, operation);
  const space = await session.request(statVolumeMethod, { session: session.id, inode }, operation);
  // The stores know nothing yet of what is to be written to them.
  return { ...space, freeBytes: Math.max(0, space.freeBytes - contents.dirtyBytes) };
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
