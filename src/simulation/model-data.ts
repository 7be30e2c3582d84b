/**
 * The sequential specification of what changes a file's bytes: which bytes, in which chunks, and what may be left of it when
 * its client dies.
 */
import { chunkBytes } from "../namespace/model.ts";
import type { FileOperation } from "./file-operation.ts";
import type { Model, ModelInode } from "./model.ts";
import type { Invocation } from "./model-operations.ts";
import { moved, overwritten, type Piece, type TornWrite, torn, within } from "./tagged-data.ts";

const endOfFile = Number.MAX_SAFE_INTEGER;

type Operation<K extends FileOperation["kind"]> = Extract<FileOperation, { kind: K }>;
/** What changes bytes, but for a new size. */
type DataOperation = Operation<"write" | "store" | "copyRange" | "allocate">;

/** Indexes of chunks, `below` not included. */
interface Chunks {
  readonly first: number;
  readonly below: number;
}

export function changesData(operation: FileOperation): operation is DataOperation {
  return ["write", "store", "copyRange", "allocate"].includes(operation.kind);
}

/** True if it may be told that there is no space. */
export function takesSpace(operation: FileOperation): boolean {
  return changesData(operation) || (operation.kind === "setAttributes" && operation.change.size !== undefined);
}

export function resized(inode: ModelInode, size: number): ModelInode {
  if (size === inode.size) return inode;
  const pieces = overwritten(inode.pieces, size, endOfFile, undefined);
  const mapped = new Set([...inode.mapped].filter((index) => index * chunkBytes < size));
  return { ...inode, size, pieces, mapped };
}

/** What a copy has read, at its place in the target. In one step, if the checker doesn't say what it holds to have been read. */
export function copiedPieces(model: Model, operation: Operation<"copyRange">): readonly Piece[] {
  if (operation.copied !== undefined) return operation.copied;
  const { source, sourceOffset, offset, length } = operation;
  const from = model.numbered(source)!;
  const end = Math.min(sourceOffset + length, from.size);
  return within(from.pieces, sourceOffset, end).map((piece) => moved(piece, offset - sourceOffset));
}

/** The file after an operation in one piece. What a copy reads has to be in it. */
export function withData(inode: ModelInode, operation: FileOperation): ModelInode {
  if (!changesData(operation)) return inode;
  const written = writtenPieces(inode, operation);
  let { pieces, size } = inode;
  const mapped = new Set(inode.mapped);
  for (const { start, end, source } of written) {
    pieces = overwritten(pieces, start, end, source);
    if (operation.kind === "allocate") continue;
    size = Math.max(size, end);
    for (let index = Math.floor(start / chunkBytes); index * chunkBytes < end; index++) mapped.add(index);
  }
  const { first, below } = unmapped(inode, operation);
  for (let index = first; index < below; index++) mapped.delete(index);
  if (operation.kind === "allocate" && operation.grow) size = Math.max(size, operation.offset + operation.length);
  return { ...inode, pieces, mapped, size };
}

/** Each of the bytes that the operation writes, with where it comes from; in order. */
function writtenPieces(inode: ModelInode, operation: DataOperation): readonly Piece[] {
  switch (operation.kind) {
    case "copyRange":
      return operation.copied!;
    case "allocate": {
      const { offset, length, zero } = operation;
      const end = Math.min(offset + length, inode.size);
      return zero && offset < end ? [{ start: offset, end, source: undefined }] : [];
    }
    default: {
      const start = operation.offset ?? inode.size;
      const end = start + operation.length;
      // What of a mapped page lies behind the end of the file never reaches it.
      const reached = operation.kind === "store" ? Math.min(end, inode.size) : end;
      return start < reached ? [{ start, end: reached, source: { tag: operation.tag, base: start } }] : [];
    }
  }
}

/** Chunks that become holes: those that are zeroed whole, to the end of the file. */
function unmapped(inode: ModelInode, operation: DataOperation): Chunks {
  if (operation.kind !== "allocate" || !operation.zero) return { first: 0, below: 0 };
  const end = Math.min(operation.offset + operation.length, inode.size);
  const first = Math.ceil(operation.offset / chunkBytes);
  const below = end === inode.size ? Math.ceil(end / chunkBytes) : Math.floor(end / chunkBytes);
  return first < below ? { first, below } : { first: 0, below: 0 };
}

/** What an operation changes in place: before the end of the file, in chunks that are mapped and stay so. */
function overwrittenPieces(inode: ModelInode, operation: FileOperation): Piece[] {
  if (!changesData(operation)) return [];
  const holes = unmapped(inode, operation);
  const found: Piece[] = [];
  for (const piece of writtenPieces(inode, operation)) {
    const to = Math.min(piece.end, inode.size);
    for (let index = Math.floor(piece.start / chunkBytes); index * chunkBytes < to; index++) {
      if (!inode.mapped.has(index) || (index >= holes.first && index < holes.below)) continue;
      const start = Math.max(piece.start, index * chunkBytes);
      found.push({ start, end: Math.min(to, (index + 1) * chunkBytes), source: piece.source });
    }
  }
  return found;
}

/** True if all that the operation does is to change bytes in place. */
export function onlyOverwrites(inode: ModelInode, operation: FileOperation): boolean {
  if (!changesData(operation)) return false;
  if (operation.kind === "allocate") {
    const { first, below } = unmapped(inode, operation);
    return first === below && !(operation.grow && operation.offset + operation.length > inode.size);
  }
  const bytesOf = (pieces: readonly Piece[]) => pieces.reduce((sum, { start, end }) => sum + end - start, 0);
  return bytesOf(overwrittenPieces(inode, operation)) >= bytesOf(writtenPieces(inode, operation));
}

/**
 * What can be left of a change whose client died: each block that it changed in place has what it wrote, or not; and the
 * chunks that it made holes are, or not.
 */
export function executeTorn(model: Model, { operation, id }: Invocation, write: TornWrite): Model | undefined {
  if (!changesData(operation)) return undefined;
  const inode = model.numbered(operation.inode);
  if (inode === undefined || inode.gone) return undefined;
  let { pieces } = inode;
  // These write their bytes first, as other overwrites, and then change the map of the file.
  const isOrdered = write.isOrdered && operation.kind !== "allocate" && operation.kind !== "copyRange";
  for (const { start, end, source } of overwrittenPieces(inode, operation)) {
    pieces = torn(pieces, start, end, source, { ...write, isOrdered }, `${id}`);
  }
  const { first, below } = unmapped(inode, operation);
  const holes = { start: first * chunkBytes, end: below * chunkBytes };
  if (first < below) pieces = torn(pieces, holes.start, holes.end, undefined, write, `${id} holes`, endOfFile);
  return pieces === inode.pieces ? undefined : model.with({ ...inode, pieces });
}
