/**
 * Writes that are shorter than asked, because there is no space or quota for the rest (write(2)). How long one is, is decided once, when it
 * takes effect.
 */
import { blockBytes, chunkBytes } from "../../namespace/model.ts";
import { allocatedBytes } from "../../namespace/usage.ts";
import type { FileOperation } from "../file-operation.ts";
import type { Model, ModelInode } from "../model.ts";
import { within } from "../tagged-data.ts";

/** What may make writes shorter. */
export interface Shortening {
  /** Quotas: to the end of a block, where the next one needs more of them. */
  readonly byQuotas: boolean;
  /** Full disks: to the end of a chunk. */
  readonly byDisks: boolean;
}

export const nothingShortens: Shortening = { byQuotas: false, byDisks: false };

export function mayBeShorter(operation: FileOperation, { byQuotas, byDisks }: Shortening): boolean {
  if (operation.kind !== "write" && operation.kind !== "copyRange") return false;
  const { offset, length } = operation;
  const isInOneChunk =
    offset !== undefined && Math.floor(offset / chunkBytes) * chunkBytes + chunkBytes >= offset + length;
  return byQuotas || (byDisks && !isInOneChunk);
}

/** What is known of the bytes that a write or a copy has written: so many, or any number that is possible. */
export type Length = number | "any";

/** Bytes to be written. */
interface Write {
  readonly inode: number;
  /** Undefined: at the end of the file. */
  readonly offset: number | undefined;
  readonly length: number;
}

/** What there is to know of how long something is. Nothing known: it is whole. */
export interface HowLong {
  readonly known: Length | undefined;
  readonly shortening: Shortening;
}

/** All lengths that a write may have if it takes effect now. */
export function lengthsOf(model: Model, { inode, offset, length }: Write, { known, shortening }: HowLong): number[] {
  const file = model.numbered(inode)!;
  if (known === undefined || file.gone) return [length];
  const lengths = [length, ...shorterLengths(file, offset ?? file.size, length, shortening)];
  return known === "any" ? lengths : lengths.filter((one) => one === known);
}

function shorterLengths(file: ModelInode, start: number, length: number, { byQuotas, byDisks }: Shortening): number[] {
  const end = start + length;
  const lengths = new Set<number>();
  const cutBetween = (bytes: number, isCut: (at: number) => boolean) => {
    for (let at = (Math.floor(start / bytes) + 1) * bytes; at < end; at += bytes)
      if (isCut(at)) lengths.add(at - start);
  };
  if (byQuotas) {
    // Chunks without data may be holes: a copy of a hole makes none.
    const written = new Set([...file.mapped].filter((index) => hasData(file, index)));
    const grows = (at: number, mapped: ReadonlySet<number>) => {
      const usage = (to: number) => usageOf({ size: file.size, mapped }, start, Math.min(to, end));
      return usage(at + blockBytes) > usage(at);
    };
    cutBetween(blockBytes, (at) => grows(at, file.mapped) || grows(at, written));
  }
  if (byDisks) cutBetween(chunkBytes, () => true);
  return [...lengths];
}

function hasData({ pieces }: ModelInode, index: number): boolean {
  return within(pieces, index * chunkBytes, (index + 1) * chunkBytes).some(({ source }) => source !== undefined);
}

/** Bytes that the file counts for in quotas, once it was written from `start` to `end`. */
function usageOf({ size, mapped }: Pick<ModelInode, "size" | "mapped">, start: number, end: number): number {
  let chunkCount = mapped.size;
  for (let index = Math.floor(start / chunkBytes); index * chunkBytes < end; index++) {
    if (!mapped.has(index)) chunkCount += 1;
  }
  return allocatedBytes({ size: Math.max(size, end), chunkCount });
}
