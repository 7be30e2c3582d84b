/** The sequential specification: what each operation does to the model, and what it gives (POSIX, man pages in section 2). */
import type { FileOperation } from "./file-operation.ts";
import { type Model, type ModelInode, newInode } from "./model.ts";
import type { Prediction } from "./model-prediction.ts";
import { overwritten, type Piece, torn, within } from "./tagged-data.ts";

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
const endOfFile = Number.MAX_SAFE_INTEGER;
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
    case "link":
      return link(model, operation);
    case "unlink":
    case "removeDirectory":
      return remove(model, operation);
    case "rename":
      return rename(model, operation);
    default:
      return onInode(model, invocation);
  }
}

/**
 * What else can be left of an operation whose client died in the middle: blocks that were mapped before are
 * overwritten in place, each or not, before the transaction that brings size and new mappings.
 */
export function executeTorn(model: Model, { id, operation }: Invocation): Execution | undefined {
  if (operation.kind !== "write") return undefined;
  const inode = model.numbered(operation.inode);
  if (inode === undefined || inode.gone) return undefined;
  const offset = operation.offset ?? inode.size;
  const end = Math.min(offset + operation.length, inode.size);
  if (offset >= end) return undefined;
  const pieces = torn(inode.pieces, offset, end, { tag: operation.tag, base: offset }, `${id}`);
  return { model: model.with({ ...inode, pieces }), prediction: { kind: "any" } };
}

/** The client is gone, and with it its handles. */
export function dropHolds(model: Model, client: string): Model {
  let after = model;
  for (const inode of model.inodes()) {
    if (!inode.holds.has(client)) continue;
    const holds = new Map(inode.holds);
    holds.delete(client);
    after = after.with(settled({ ...inode, holds }));
  }
  return after;
}

type Operation<K extends FileOperation["kind"]> = Extract<FileOperation, { kind: K }>;

function failed(model: Model, ...errnos: string[]): Execution {
  return { model, prediction: { kind: "failed", errnos } };
}

function attributesOf(model: Model, inode: ModelInode): Prediction {
  return { kind: "attributes", inode, subdirectories: subdirectories(model, inode) };
}

function subdirectories(model: Model, { entries }: ModelInode): number {
  let count = 0;
  for (const key of entries.values()) if (model.inode(key).type === "directory") count += 1;
  return count;
}

/** The directory with this number, if it is one that entries can be made in; else what the operation then gives. */
function directory(model: Model, number: number): ModelInode | Execution {
  const inode = model.numbered(number);
  if (inode === undefined) throw new Error(`the history never told of directory ${number}`);
  if (inode.gone || (inode.type === "directory" && inode.linkCount === 0)) return failed(model, ...removed);
  return inode.type === "directory" ? inode : failed(model, "ENOTDIR");
}

/** Without names and handles, an inode is gone. */
function settled(inode: ModelInode): ModelInode {
  const gone = inode.linkCount === 0 && inode.holds.size === 0;
  return gone ? { ...inode, gone: true, pieces: [], entries: new Map() } : inode;
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
  const made = newInode(id, { type, mode, ...owner, target, parent: parent.key });
  const inode = operation.open ? { ...made, holds: new Map([[client, 1]]) } : made;
  const after = model.with(inode, withEntry(parent, operation.name, id));
  return { model: after, prediction: attributesOf(after, inode) };
}

function link(model: Model, operation: Operation<"link">): Execution {
  const parent = directory(model, operation.parent);
  if ("prediction" in parent) return parent;
  const inode = model.numbered(operation.inode)!;
  const errnos = [];
  if (inode.linkCount === 0) errnos.push("ENOENT", "ESTALE");
  if (inode.type === "directory") errnos.push("EPERM");
  if (parent.entries.has(operation.name)) errnos.push("EEXIST");
  if (errnos.length > 0) return failed(model, ...errnos);
  const linked = { ...inode, linkCount: inode.linkCount + 1 };
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
  return settled({ ...inode, linkCount: inode.type === "directory" ? 0 : inode.linkCount - 1 });
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

function onInode(model: Model, { client, operation }: Invocation): Execution {
  const inode = model.numbered((operation as { inode: number }).inode);
  if (inode === undefined) throw new Error(`the history never told of the inode of ${JSON.stringify(operation)}`);
  if (inode.gone) return { model, prediction: { kind: "any" } };
  switch (operation.kind) {
    case "setAttributes": {
      const { size, ...rest } = operation.change;
      if (size !== undefined && inode.type !== "file") return failed(model, "EISDIR", "EINVAL");
      return changed(model, { ...resized(inode, size ?? inode.size), ...rest });
    }
    case "readLink":
      if (inode.type !== "symlink") return failed(model, "EINVAL");
      return { model, prediction: { kind: "target", target: inode.target } };
    case "open": {
      const holds = new Map([...inode.holds, [client, (inode.holds.get(client) ?? 0) + 1]]);
      const opened = { ...inode, holds };
      return { model: model.with(operation.truncate ? resized(opened, 0) : opened), prediction: { kind: "done" } };
    }
    case "close": {
      const holds = new Map(inode.holds);
      const left = (holds.get(client) ?? 0) - 1;
      if (left > 0) holds.set(client, left);
      else holds.delete(client);
      return { model: model.with(settled({ ...inode, holds })), prediction: { kind: "done" } };
    }
    case "read": {
      const { offset } = operation;
      const length = Math.max(0, Math.min(operation.length, inode.size - offset));
      const pieces = within(inode.pieces, offset, offset + length);
      return { model, prediction: { kind: "data", pieces, offset, length } };
    }
    case "write": {
      const offset = operation.offset ?? inode.size;
      const end = offset + operation.length;
      const pieces = overwritten(inode.pieces, offset, end, { tag: operation.tag, base: offset });
      const written = { ...inode, pieces, size: Math.max(inode.size, end) };
      return { model: model.with(written), prediction: { kind: "written", length: operation.length } };
    }
    case "readDirectory":
      if (inode.type !== "directory") return failed(model, "ENOTDIR");
      return { model, prediction: { kind: "entries", entries: inode.entries } };
    case "sync":
      return { model, prediction: { kind: "done" } };
    default:
      return { model, prediction: attributesOf(model, inode) };
  }
}

function changed(model: Model, inode: ModelInode): Execution {
  const after = model.with(inode);
  return { model: after, prediction: attributesOf(after, inode) };
}

function resized(inode: ModelInode, size: number): ModelInode {
  if (size === inode.size) return inode;
  const pieces: readonly Piece[] = overwritten(inode.pieces, size, endOfFile, undefined);
  return { ...inode, size, pieces };
}
