/** Which inodes an operation changes, and for which it needs leases, in a state of the model. Inodes by their keys. */
import type { FileOperation } from "../file-operation.ts";
import type { Model } from "../model.ts";
import type { Invocation } from "../model-operations.ts";
import type { Prediction } from "../model-prediction.ts";

/** Errors that a kernel can tell from what never changes. */
const knownWithoutLease = new Set(["EISDIR", "ENOTDIR", "EINVAL", "EPERM", "ESTALE", "EAGAIN"]);

/** Inodes whose record, entries or data the operation changes if it succeeds. */
export function changedInodes(model: Model, { id, operation }: Invocation): Set<number> {
  const keys = new Set<number>();
  const number = (inode: number) => {
    const known = model.numbered(inode);
    if (known !== undefined) keys.add(known.key);
  };
  const name = (parent: number, entry: string) => {
    number(parent);
    const key = model.numbered(parent)?.entries.get(entry);
    if (key !== undefined) keys.add(key);
  };
  switch (operation.kind) {
    case "create":
      number(operation.parent);
      keys.add(id);
      break;
    case "createUnnamed":
      keys.add(id);
      break;
    case "link":
      number(operation.parent);
      number(operation.inode);
      break;
    case "unlink":
    case "removeDirectory":
      name(operation.parent, operation.name);
      break;
    case "rename":
    case "exchange":
      name(operation.parent, operation.name);
      name(operation.newParent, operation.newName);
      break;
    case "setAttributes":
    case "write":
    case "store":
    case "allocate":
    case "copyRange":
    case "setAccessList":
    case "setExtended":
    case "removeExtended":
      number(operation.inode);
      break;
    case "open":
      if (operation.truncate) number(operation.inode);
      break;
    default:
  }
  return keys;
}

/** True if it only looks: what it saw, nobody has been told when it has no return. */
export function changesNothing(operation: FileOperation): boolean {
  switch (operation.kind) {
    case "lookup":
    case "getAttributes":
    case "readLink":
    case "read":
    case "load":
    case "readDirectory":
    case "sync":
    case "getAccessList":
    case "getExtended":
    case "listExtended":
      return true;
    case "open":
      return !operation.truncate;
    default:
      return false;
  }
}

/** The inodes that an operation is about: made, moved, changed, removed; and what a name stood for that another takes. */
export function subjectsOf(model: Model, { id, operation }: Invocation): Set<number> {
  if (operation.kind === "create" || operation.kind === "createUnnamed") return new Set([id]);
  if ("inode" in operation) return keyOf(model, operation.inode);
  const { parent, name } = operation;
  const names = [{ parent, name }];
  if ("newParent" in operation) names.push({ parent: operation.newParent, name: operation.newName });
  const keys = names.map((one) => model.numbered(one.parent)?.entries.get(one.name));
  return new Set(keys.filter((key) => key !== undefined));
}

/** The inodes, and all directories on the way to them. */
export function ancestorsOf(model: Model, keys: Iterable<number>): Set<number> {
  const above = new Set<number>();
  const waiting = [...keys];
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    if (above.has(at) || !model.has(at)) continue;
    above.add(at);
    const inode = model.inode(at);
    if (inode.type === "directory") {
      waiting.push(inode.parent);
      continue;
    }
    for (const other of model.inodes()) {
      if (other.type === "directory" && [...other.entries.values()].includes(at)) waiting.push(other.key);
    }
  }
  return above;
}

/** True if the leader decides it: a directory gets a new parent, or leaves its place to something else that does. */
export function isDecidedByLeader(model: Model, { operation }: Invocation): boolean {
  if (operation.kind !== "rename" && operation.kind !== "exchange") return false;
  const { parent, name, newParent, newName } = operation;
  if (parent === newParent) return false;
  const keys = [model.numbered(parent)?.entries.get(name), model.numbered(newParent)?.entries.get(newName)];
  return keys.some((key) => key !== undefined && model.inode(key).type === "directory");
}

/** Inodes on which the operation's client must have had a lease when it had this result. */
export function leasedInodes(model: Model, invocation: Invocation, prediction: Prediction): Set<number> {
  const { operation } = invocation;
  const none = new Set<number>();
  if (prediction.kind === "any") return none;
  if (prediction.kind === "failed") {
    if (prediction.errnos.some((errno) => knownWithoutLease.has(errno))) return none;
    return keyOf(model, "parent" in operation ? operation.parent : (operation as { inode: number }).inode);
  }
  if ((operation.kind === "rename" || operation.kind === "exchange") && isSameFile(model, operation)) {
    // Nothing happens, which the directories tell.
    return new Set([...keyOf(model, operation.parent), ...keyOf(model, operation.newParent)]);
  }
  return readsInode(operation) ?? changedInodes(model, invocation);

  function readsInode(one: FileOperation): Set<number> | undefined {
    switch (one.kind) {
      // What the name stands for may have come from the kernel's cache: that needs no lease on the inode itself.
      case "lookup":
        return keyOf(model, one.parent);
      case "getAttributes":
      case "read":
      case "load":
      case "readDirectory":
      case "getExtended":
      case "listExtended":
      case "getAccessList":
        return keyOf(model, one.inode);
      // What a file without a name gets comes from its directory.
      case "createUnnamed":
        return new Set([...keyOf(model, one.parent), invocation.id]);
      case "copyRange":
        return new Set([...keyOf(model, one.source), ...keyOf(model, one.inode)]);
      default:
        return undefined;
    }
  }
}

function isSameFile(model: Model, rename: Extract<FileOperation, { kind: "rename" | "exchange" }>): boolean {
  const from = model.numbered(rename.parent)?.entries.get(rename.name);
  const to = model.numbered(rename.newParent)?.entries.get(rename.newName);
  return from !== undefined && from === to;
}

function keyOf(model: Model, number: number): Set<number> {
  const inode = model.numbered(number);
  return new Set(inode === undefined ? [] : [inode.key]);
}
