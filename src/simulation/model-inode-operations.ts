/** The sequential specification of operations on an inode that is named by its number: data, attributes, handles, locks. */
import { chunkBytes } from "../namespace/model.ts";
import type { FileOperation } from "./file-operation.ts";
import type { Model, ModelInode, ModelLock } from "./model.ts";
import type { Execution, Invocation } from "./model-operations.ts";
import { attributesOf, dropUnused, failed } from "./model-rules.ts";
import { overwritten, type Source, type TornWrite, torn, within } from "./tagged-data.ts";

const endOfFile = Number.MAX_SAFE_INTEGER;

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
      return changed(model, { ...resized(inode, size ?? inode.size), ...rest });
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
    case "write": {
      const offset = operation.offset ?? inode.size;
      const written = withData(inode, offset, offset + operation.length, { tag: operation.tag, base: offset });
      return { model: model.with(written), prediction: { kind: "written", length: operation.length } };
    }
    case "store":
      return done(model.with(stored(inode, operation)));
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
    default:
      return { model, prediction: attributesOf(model, inode) };
  }
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
  return done(model.with(dropUnused({ ...inode, holds })));
}

function resized(inode: ModelInode, size: number): ModelInode {
  if (size === inode.size) return inode;
  const pieces = overwritten(inode.pieces, size, endOfFile, undefined);
  const mapped = new Set([...inode.mapped].filter((index) => index * chunkBytes < size));
  return { ...inode, size, pieces, mapped };
}

function withData(inode: ModelInode, start: number, end: number, source: Source): ModelInode {
  const mapped = new Set(inode.mapped);
  for (let index = Math.floor(start / chunkBytes); index * chunkBytes < end; index++) mapped.add(index);
  const pieces = overwritten(inode.pieces, start, end, source);
  return { ...inode, pieces, mapped, size: Math.max(inode.size, end) };
}

/** What of a mapped page lies behind the end of the file never reaches it. */
function stored(inode: ModelInode, { offset, length, tag }: Operation<"store">): ModelInode {
  const end = Math.min(offset + length, inode.size);
  return offset < end ? withData(inode, offset, end, { tag, base: offset }) : inode;
}

/** The bytes that a write changes in place: before its end of file, in chunks that are mapped. */
export function overwrittenRanges(inode: ModelInode, operation: FileOperation): { start: number; end: number }[] {
  if (operation.kind !== "write" && operation.kind !== "store") return [];
  const from = operation.offset ?? inode.size;
  const to = Math.min(from + operation.length, inode.size);
  const ranges: { start: number; end: number }[] = [];
  for (let index = Math.floor(from / chunkBytes); index * chunkBytes < to; index++) {
    if (!inode.mapped.has(index)) continue;
    ranges.push({ start: Math.max(from, index * chunkBytes), end: Math.min(to, (index + 1) * chunkBytes) });
  }
  return ranges;
}

/** True if all that the write does is to change bytes in place. */
export function onlyOverwrites(inode: ModelInode, operation: FileOperation): boolean {
  if (operation.kind !== "write" && operation.kind !== "store") return false;
  const from = operation.offset ?? inode.size;
  const end = operation.kind === "store" ? Math.min(from + operation.length, inode.size) : from + operation.length;
  const bytes = overwrittenRanges(inode, operation).reduce((sum, { start, end: to }) => sum + to - start, 0);
  return bytes >= end - from;
}

/** What can be left of a write whose client died: each block that it changed in place has what it wrote, or not. */
export function executeTorn(model: Model, { operation, id }: Invocation, write: TornWrite): Model | undefined {
  if (operation.kind !== "write" && operation.kind !== "store") return undefined;
  const inode = model.numbered(operation.inode);
  if (inode === undefined || inode.gone) return undefined;
  const source = { tag: operation.tag, base: operation.offset ?? inode.size };
  let { pieces } = inode;
  for (const { start, end } of overwrittenRanges(inode, operation)) {
    pieces = torn(pieces, start, end, source, write, `${id}`);
  }
  return pieces === inode.pieces ? undefined : model.with({ ...inode, pieces });
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
    return { model, prediction: { kind: "names", names: [...inode.extended.keys()].sort() } };
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
