/**
 * A read of many parts: each is answered or not by itself, for what it fails of its reader finds out when he asks for it alone. The disk
 * reads them side by side.
 */
import { BrineError } from "../errors/brine-error.ts";
import { type Extent, type ReadPart, readTogetherBlocksMax } from "../wire/catalogue/store.ts";

export interface PartsRead {
  readonly parts: { readonly isRead: boolean; readonly extents: Extent[] }[];
  /** Of all parts, one after the other. */
  readonly payload: Uint8Array[];
}

/** @param read one part, with its data in one buffer. Errors: invalid. */
export async function readParts(
  parts: readonly ReadPart[],
  read: (part: ReadPart) => Promise<{ readonly extents: Extent[]; readonly payload: Uint8Array }>,
): Promise<PartsRead> {
  const blockCount = parts.reduce((sum, part) => sum + part.blockCount, 0);
  if (blockCount > readTogetherBlocksMax) throw new BrineError("invalid", `${blockCount} blocks in one read`);
  const answer: PartsRead = { parts: [], payload: [] };
  for (const outcome of await Promise.allSettled(parts.map(read))) {
    const isRead = outcome.status === "fulfilled";
    answer.parts.push({ isRead, extents: isRead ? outcome.value.extents : [] });
    if (isRead) answer.payload.push(outcome.value.payload);
    else if (!(outcome.reason instanceof BrineError)) throw outcome.reason;
  }
  return answer;
}
