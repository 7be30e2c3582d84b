/**
 * The sequential specification: what each operation does to the model, and what it gives (POSIX, man pages in section 2).
 * Here: operations on names; the others are in model-inode-operations.ts.
 */
import type { FileOperation } from "./file-operation.ts";
import { type Model, type ModelInode, newInode } from "./model.ts";
import { inheriting } from "./model-access-lists.ts";
import { executeOnInode } from "./model-inode-operations.ts";
import type { Prediction } from "./model-prediction.ts";
import { attributesOf, dropUnused, failed, withoutUse } from "./model-rules.ts";

export interface Execution {
  readonly model: Model;
  readonly prediction: Prediction;
}

export interface Invocation {
  /** Number of the operation in the history; new inodes get it as their key. From 1. */
  readonly id: number;
  readonly client: string;
  readonly operation: FileOperation;
}

/** What the root's owner gets; new nodes are made with it. */
export const owner = { uid: 1000, gid: 1000 };
/** Errors of operations in a directory that was removed. */
const removed = ["ENOENT", "ESTALE", "ENOTDIR"];

/** Executes an operation in one piece. */
export function execute(model: Model, invocation: Invocation): Execution {
  const { operation } = invocation;
  switch (operation.kind) {
    case "lookup":
      return lookup(model, operation);
    case "create":
      return create(model, invocation, operation);
    case "createUnnamed":
      return createUnnamed(model, invocation, operation);
    case "link":
      return link(model, operation);
    case "unlink":
    case "removeDirectory":
      return remove(model, operation);
    case "rename":
      return rename(model, operation);
    case "exchange":
      return exchange(model, operation);
    default:
      return executeOnInode(model, invocation, operation);
  }
}

/** The client's locks are gone. */
export function dropLocks(model: Model, client: string): Model {
  const locked = [...model.inodes()].filter(({ locks }) => locks.some((lock) => lock.client === client));
  const unlocked = locked.map((inode) => ({ ...inode, locks: inode.locks.filter((lock) => lock.client !== client) }));
  return locked.length === 0 ? model : model.with(...unlocked);
}

/** What the client has made without a name is gone, with its session. */
export function dropUnnamed(model: Model, client: string): Model {
  const unnamed = [...model.inodes()].filter(({ unnamedBy }) => unnamedBy === client);
  return unnamed.length === 0 ? model : model.with(...unnamed.map(withoutUse));
}

/** The client's handles are gone. */
export function dropHolds(model: Model, client: string): Model {
  let after = model;
  for (const inode of model.inodes()) {
    if (!inode.holds.has(client)) continue;
    const holds = new Map(inode.holds);
    holds.delete(client);
    after = after.with(dropUnused({ ...inode, holds }));
  }
  return after;
}

type Operation<K extends FileOperation["kind"]> = Extract<FileOperation, { kind: K }>;

/** The directory with this number, if it is one that entries can be made in; else what the operation then gives. */
function directory(model: Model, number: number): ModelInode | Execution {
  const inode = model.numbered(number);
  if (inode === undefined) throw new Error(`the history never told of directory ${number}`);
  if (inode.gone || (inode.type === "directory" && inode.linkCount === 0)) return failed(model, ...removed);
  return inode.type === "directory" ? inode : failed(model, "ENOTDIR");
}

function withEntry(parent: ModelInode, name: string, key: number | undefined): ModelInode {
  const entries = new Map(parent.entries);
  if (key === undefined) entries.delete(name);
  else entries.set(name, key);
  return { ...parent, entries };
}

function lookup(model: Model, { parent, name }: Operation<"lookup">): Execution {
  const found = directory(model, parent);
  // In a removed directory nothing is found, or the directory itself isn't.
  if ("prediction" in found) return model.numbered(parent)!.gone ? { model, prediction: { kind: "any" } } : found;
  const key = found.entries.get(name);
  if (key === undefined) return { model, prediction: { kind: "absent" } };
  return { model, prediction: attributesOf(model, model.inode(key)) };
}

function create(model: Model, { id, client }: Invocation, operation: Operation<"create">): Execution {
  const parent = directory(model, operation.parent);
  if ("prediction" in parent) return parent;
  if (parent.entries.has(operation.name)) return failed(model, "EEXIST");
  const { type, mode, target } = operation;
  const made = inheriting(newInode(id, { type, mode, ...owner, target, parent: parent.key }), parent);
  const inode = operation.open ? { ...made, holds: new Map([[client, 1]]) } : made;
  const after = model.with(inode, withEntry(parent, operation.name, id));
  return { model: after, prediction: attributesOf(after, inode) };
}

function createUnnamed(model: Model, { id, client }: Invocation, operation: Operation<"createUnnamed">): Execution {
  const parent = directory(model, operation.parent);
  if ("prediction" in parent) return parent;
  const given = { type: "file", mode: operation.mode, ...owner, target: "", parent: parent.key } as const;
  const made = inheriting(newInode(id, given), parent);
  const inode = { ...made, linkCount: 0, holds: new Map([[client, 1]]), unnamedBy: client };
  return { model: model.with(inode), prediction: attributesOf(model, inode) };
}

function link(model: Model, operation: Operation<"link">): Execution {
  const parent = directory(model, operation.parent);
  if ("prediction" in parent) return parent;
  const inode = model.numbered(operation.inode)!;
  const errnos = [];
  if (inode.linkCount === 0 && inode.unnamedBy === undefined) errnos.push("ENOENT", "ESTALE");
  if (inode.type === "directory") errnos.push("EPERM");
  if (parent.entries.has(operation.name)) errnos.push("EEXIST");
  if (errnos.length > 0) return failed(model, ...errnos);
  const linked = { ...inode, linkCount: inode.linkCount + 1, unnamedBy: undefined };
  const after = model.with(linked, withEntry(parent, operation.name, inode.key));
  return { model: after, prediction: attributesOf(after, linked) };
}

function remove(model: Model, operation: Operation<"unlink" | "removeDirectory">): Execution {
  const parent = directory(model, operation.parent);
  if ("prediction" in parent) return parent;
  const key = parent.entries.get(operation.name);
  if (key === undefined) return failed(model, "ENOENT");
  const inode = model.inode(key);
  if (operation.kind === "unlink" && inode.type === "directory") return failed(model, "EISDIR", "EPERM");
  if (operation.kind === "removeDirectory" && inode.type !== "directory") return failed(model, "ENOTDIR");
  if (inode.entries.size > 0) return failed(model, "ENOTEMPTY");
  const after = model.with(withEntry(parent, operation.name, undefined), withoutName(inode));
  return { model: after, prediction: { kind: "done" } };
}

function withoutName(inode: ModelInode): ModelInode {
  return dropUnused({ ...inode, linkCount: inode.type === "directory" ? 0 : inode.linkCount - 1 });
}

function rename(model: Model, operation: Operation<"rename">): Execution {
  const [from, to] = [directory(model, operation.parent), directory(model, operation.newParent)];
  if ("prediction" in from) return from;
  if ("prediction" in to) return to;
  const key = from.entries.get(operation.name);
  if (key === undefined) return failed(model, "ENOENT");
  const moved = model.inode(key);
  const replacedKey = to.entries.get(operation.newName);
  const replaced = replacedKey === undefined ? undefined : model.inode(replacedKey);
  const errnos = renameErrors(model, moved, replaced, to, operation.noReplace);
  if (errnos.length > 0) return failed(model, ...errnos);
  if (replacedKey === key) return { model, prediction: { kind: "done" } }; // two names of one file: nothing happens
  let after = model.with(withEntry(from, operation.name, undefined));
  after = after.with(withEntry(after.inode(to.key), operation.newName, key));
  after = after.with({ ...moved, parent: to.key });
  if (replaced !== undefined) after = after.with(withoutName(after.inode(replaced.key)));
  return { model: after, prediction: { kind: "done" } };
}

function exchange(model: Model, operation: Operation<"exchange">): Execution {
  const [from, to] = [directory(model, operation.parent), directory(model, operation.newParent)];
  if ("prediction" in from) return from;
  if ("prediction" in to) return to;
  const [key, otherKey] = [from.entries.get(operation.name), to.entries.get(operation.newName)];
  if (key === undefined || otherKey === undefined) return failed(model, "ENOENT");
  const [one, other] = [model.inode(key), model.inode(otherKey)];
  const isTied = (moved: ModelInode, target: ModelInode) =>
    moved.type === "directory" && isWithin(model, target, moved);
  if (isTied(one, to) || isTied(other, from)) return failed(model, "EINVAL");
  if (key === otherKey) return { model, prediction: { kind: "done" } };
  let after = model.with(withEntry(from, operation.name, otherKey));
  after = after.with(withEntry(after.inode(to.key), operation.newName, key));
  after = after.with({ ...one, parent: to.key }, { ...other, parent: from.key });
  return { model: after, prediction: { kind: "done" } };
}

function renameErrors(
  model: Model,
  moved: ModelInode,
  replaced: ModelInode | undefined,
  to: ModelInode,
  noReplace: boolean,
): string[] {
  const errnos: string[] = [];
  const directoryMoved = moved.type === "directory";
  if (directoryMoved && isWithin(model, to, moved)) errnos.push("EINVAL");
  if (replaced === undefined) return errnos;
  if (noReplace) errnos.push("EEXIST");
  if (replaced.key === moved.key) return errnos;
  if (replaced.type === "directory") {
    if (!directoryMoved) errnos.push("EISDIR");
    if (replaced.entries.size > 0) errnos.push("ENOTEMPTY");
  } else if (directoryMoved) errnos.push("ENOTDIR");
  return errnos;
}

function isWithin(model: Model, inode: ModelInode, ancestor: ModelInode): boolean {
  for (let at = inode; ; at = model.inode(at.parent)) {
    if (at.key === ancestor.key) return true;
    if (at.key === 0) return false;
  }
}
