/** The sequential specification of operations on an inode that is named by its number: data, attributes, handles, locks. */
import type { FileOperation } from "./file-operation.ts";
import type { Model, ModelInode, ModelLock } from "./model.ts";
import { listNames, withList, withMode } from "./model-access-lists.ts";
import { copiedPieces, resized, withData } from "./model-data.ts";
import type { Execution, Invocation } from "./model-operations.ts";
import { attributesOf, dropUnused, failed } from "./model-rules.ts";
import { within } from "./tagged-data.ts";

type Operation<K extends FileOperation["kind"]> = Extract<FileOperation, { kind: K }>;
export type InodeOperation = Extract<FileOperation, { inode: number }>;

export function executeOnInode(model: Model, { id, client }: Invocation, operation: InodeOperation): Execution {
  const inode = model.numbered(operation.inode);
  if (inode === undefined) throw new Error(`the history never told of the inode of ${JSON.stringify(operation)}`);
  if (inode.gone) return { model, prediction: { kind: "any" } };
  switch (operation.kind) {
    case "setAttributes": {
      const { size, ...rest } = operation.change;
      if (size !== undefined && inode.type !== "file") return failed(model, "EISDIR", "EINVAL");
      const { mode, ...others } = rest;
      const owned = { ...resized(inode, size ?? inode.size), ...others };
      return changed(model, mode === undefined ? owned : withMode(owned, mode));
    }
    case "readLink":
      if (inode.type !== "symlink") return failed(model, "EINVAL");
      return { model, prediction: { kind: "target", target: inode.target } };
    case "open":
      return open(model, inode, client, operation.truncate);
    case "close":
      return close(model, inode, client);
    case "load":
    case "read": {
      const { offset } = operation;
      // The rest of a mapped page, behind the end of the file, is zeros.
      const end = operation.kind === "load" ? offset + operation.length : inode.size;
      const length = Math.max(0, Math.min(operation.length, end - offset));
      const pieces = within(inode.pieces, offset, offset + length);
      return { model, prediction: { kind: "data", pieces, offset, length } };
    }
    case "write":
      return written(model, inode, operation, operation.length);
    case "copyRange": {
      const copied = copiedPieces(model, operation);
      const bytes = copied.reduce((sum, { start, end }) => sum + end - start, 0);
      return written(model, inode, { ...operation, copied }, bytes);
    }
    case "store":
    case "allocate":
      return done(model.with(withData(inode, operation)));
    case "readDirectory": {
      if (inode.type !== "directory") return failed(model, "ENOTDIR");
      const entries = new Map([...inode.entries].map(([name, key]) => [name, model.inode(key)]));
      return { model, prediction: { kind: "entries", entries } };
    }
    case "sync":
      return done(model);
    case "lock":
    case "unlock":
      return lock(model, inode, client, operation);
    case "setExtended":
    case "getExtended":
    case "listExtended":
    case "removeExtended":
      return extended(model, inode, id, operation);
    case "setAccessList":
    case "getAccessList":
      return accessList(model, inode, operation);
    default:
      return { model, prediction: attributesOf(model, inode) };
  }
}

function written(model: Model, inode: ModelInode, operation: InodeOperation, length: number): Execution {
  return { model: model.with(withData(inode, operation)), prediction: { kind: "written", length } };
}

function done(model: Model): Execution {
  return { model, prediction: { kind: "done" } };
}

function changed(model: Model, inode: ModelInode): Execution {
  const after = model.with(inode);
  return { model: after, prediction: attributesOf(after, inode) };
}

function open(model: Model, inode: ModelInode, client: string, truncate: boolean): Execution {
  const holds = new Map([...inode.holds, [client, (inode.holds.get(client) ?? 0) + 1]]);
  const opened = { ...inode, holds };
  return done(model.with(truncate ? resized(opened, 0) : opened));
}

function close(model: Model, inode: ModelInode, client: string): Execution {
  const holds = new Map(inode.holds);
  const left = (holds.get(client) ?? 0) - 1;
  if (left > 0) holds.set(client, left);
  else holds.delete(client);
  const unnamedBy = left > 0 ? inode.unnamedBy : undefined;
  return done(model.with(dropUnused({ ...inode, holds, unnamedBy })));
}

function lock(model: Model, inode: ModelInode, client: string, operation: Operation<"lock" | "unlock">): Execution {
  const { owner, start, end } = operation;
  const mine = (one: ModelLock) => one.client === client && one.owner === owner;
  const meets = (one: ModelLock) => one.start <= end && one.end >= start;
  if (operation.kind === "lock") {
    const inTheWay = (one: ModelLock) =>
      !mine(one) && meets(one) && (one.mode === "exclusive" || operation.mode === "exclusive");
    // Who waits is not served yet: nothing that it could return explains it here.
    if (inode.locks.some(inTheWay)) return operation.wait ? failed(model) : failed(model, "EAGAIN", "EACCES");
  }
  const locks: ModelLock[] = inode.locks.flatMap((one) => (mine(one) && meets(one) ? outside(one, start, end) : [one]));
  if (operation.kind === "lock") locks.push({ client, owner, start, end, mode: operation.mode });
  return done(model.with({ ...inode, locks }));
}

function outside(one: ModelLock, start: number, end: number): ModelLock[] {
  const left = one.start < start ? [{ ...one, end: start - 1 }] : [];
  return one.end > end ? [...left, { ...one, start: end + 1 }] : left;
}

function extended(
  model: Model,
  inode: ModelInode,
  id: number,
  operation: Operation<"setExtended" | "getExtended" | "listExtended" | "removeExtended">,
): Execution {
  if (operation.kind === "listExtended") {
    const lists = [...inode.lists.keys()].map((which) => listNames[which]);
    return { model, prediction: { kind: "names", names: [...inode.extended.keys(), ...lists].sort() } };
  }
  const { name } = operation;
  const present = inode.extended.get(name);
  if (operation.kind === "setExtended") {
    if (operation.mode === "create" && present !== undefined) return failed(model, "EEXIST");
    if (operation.mode === "replace" && present === undefined) return failed(model, "ENODATA");
    return done(model.with({ ...inode, extended: new Map([...inode.extended, [name, id]]) }));
  }
  if (present === undefined) return failed(model, "ENODATA");
  if (operation.kind === "getExtended") return { model, prediction: { kind: "target", target: `${present}` } };
  const left = new Map(inode.extended);
  left.delete(name);
  return done(model.with({ ...inode, extended: left }));
}

function accessList(
  model: Model,
  inode: ModelInode,
  operation: Operation<"setAccessList" | "getAccessList">,
): Execution {
  const { which } = operation;
  if (inode.type === "symlink") return failed(model, "EOPNOTSUPP");
  const list = inode.lists.get(which);
  if (operation.kind === "getAccessList") {
    return list === undefined ? failed(model, "ENODATA") : { model, prediction: { kind: "target", target: list } };
  }
  // Of what isn't there nothing is to be removed.
  if (operation.list === undefined && list === undefined) return done(model);
  if (which === "default" && inode.type !== "directory") return failed(model, "EACCES");
  return done(model.with(withList(inode, which, operation.list)));
}
