/**
 * Operations on names and attributes: a request to the leader, or a transaction. Nothing is cached; what the leader
 * answers is what every mount sees.
 */
import { FileError } from "../errors/file-error.ts";
import { type Attributes, nameBytesMax, targetBytesMax } from "../namespace/model.ts";
import {
  directoryEntriesMax,
  getAttributes as getAttributesMethod,
  lookup as lookupMethod,
  readDirectory as readDirectoryMethod,
  readLink as readLinkMethod,
  statVolume as statVolumeMethod,
} from "../wire/catalogue/leader.ts";
import type { DirectoryEntry, NewNode, VolumeSpace } from "./file-system.ts";
import type { MountSession } from "./mount-session.ts";
import { expectResult } from "./results.ts";
import type { Operation } from "./waits.ts";

export async function lookup(
  { session }: MountSession,
  parent: number,
  name: string,
  operation: Operation,
): Promise<Attributes | undefined> {
  checkName(name);
  return (await session.request(lookupMethod, { session: session.id, parent, name }, operation)).attributes;
}

export function getAttributes(
  { session }: MountSession,
  inode: number,
  operation: Operation,
): Promise<{ attributes: Attributes; parent: number }> {
  return session.request(getAttributesMethod, { session: session.id, inode }, operation);
}

/** @param hold the inode is held open from the start */
export async function create(
  mount: MountSession,
  parent: number,
  name: string,
  node: NewNode,
  hold: boolean,
  operation: Operation,
): Promise<Attributes> {
  checkName(name);
  const { type, mode, uid, gid, device = 0, target = "" } = node;
  if (target.length > targetBytesMax) throw new FileError("ENAMETOOLONG");
  const inode = await mount.ids.takeInode(operation);
  operation.waitsFor = "leader.transact";
  const result = await mount.transactions.submit(
    { kind: "create", parent, name, inode, type, mode, uid, gid, device, target },
    hold,
  );
  if (result.kind === "failed") mount.ids.giveBackInode(inode);
  return expectResult(result, "attributes").attributes;
}

export async function link(
  mount: MountSession,
  inode: number,
  parent: number,
  name: string,
  operation: Operation,
): Promise<Attributes> {
  checkName(name);
  operation.waitsFor = "leader.transact";
  const result = await mount.transactions.submit({ kind: "link", inode, parent, name });
  return expectResult(result, "attributes").attributes;
}

export async function remove(
  mount: MountSession,
  kind: "unlink" | "rmdir",
  parent: number,
  name: string,
  operation: Operation,
): Promise<void> {
  checkName(name);
  operation.waitsFor = "leader.transact";
  const result = await mount.transactions.submit({ kind, parent, name });
  forget(mount, expectResult(result, "removed").orphan);
}

export async function rename(
  mount: MountSession,
  from: { readonly parent: number; readonly name: string },
  to: { readonly parent: number; readonly name: string },
  noReplace: boolean,
  operation: Operation,
): Promise<void> {
  checkName(from.name);
  checkName(to.name);
  operation.waitsFor = "leader.transact";
  const result = await mount.transactions.submit({
    kind: "rename",
    parent: from.parent,
    name: from.name,
    newParent: to.parent,
    newName: to.name,
    noReplace,
  });
  forget(mount, expectResult(result, "removed").orphan);
}

export async function readLink({ session }: MountSession, inode: number, operation: Operation): Promise<string> {
  return (await session.request(readLinkMethod, { session: session.id, inode }, operation)).target;
}

export async function readDirectory(
  { session }: MountSession,
  directory: number,
  after: number,
  limit: number,
  withAttributes: boolean,
  operation: Operation,
): Promise<readonly DirectoryEntry[]> {
  const most = Math.max(1, Math.min(limit, directoryEntriesMax));
  const request = { session: session.id, directory, after, limit: most, withAttributes };
  return (await session.request(readDirectoryMethod, request, operation)).entries;
}

export function statVolume({ session }: MountSession, operation: Operation): Promise<VolumeSpace> {
  return session.request(statVolumeMethod, { session: session.id }, operation);
}

/** An inode without names is reaped when nobody holds it: our lease on its data need not be asked back for that. */
function forget(mount: MountSession, orphan: number): void {
  if (orphan !== 0) mount.leases.giveBack(orphan);
}

/** Errors: ENAMETOOLONG; EINVAL for what is no name at all. */
function checkName(name: string): void {
  if (name.length > nameBytesMax) throw new FileError("ENAMETOOLONG");
  if (name === "" || name === "." || name === ".." || name.includes("/") || name.includes("\0")) {
    throw new FileError("EINVAL", "not the name of an entry");
  }
}
