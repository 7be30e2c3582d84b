/**
 * A write of many parts: all are appended in one turn, so that they share a commit of the log, and each succeeds or fails
 * alone. What a part can fail of by itself is told to the writer; anything else (the disk) fails the whole request.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { blockBytes } from "../namespace/model.ts";
import type { PartFailure, WritePart } from "../wire/catalogue/store.ts";
import type { Store } from "./store.ts";

/** What fits into a PartFailure. */
const reasonLengthMax = 80;

export interface PartsWrite {
  readonly session: number;
  readonly generation: number;
  readonly parts: readonly WritePart[];
  readonly restores: boolean;
}

/** Resolves, when the outcome of all is known, with the parts that were not written. Errors: diskFailed, invalid. */
export async function writeParts(store: Store, write: PartsWrite, payload: Uint8Array): Promise<PartFailure[]> {
  const { session, generation, parts, restores } = write;
  let blockCount = 0;
  for (const { checksums } of parts) blockCount += checksums.length;
  if (payload.byteLength !== blockCount * blockBytes) {
    throw new BrineError("invalid", `${payload.byteLength} bytes for ${blockCount} blocks`);
  }
  let from = 0;
  const writing = parts.map((part) => {
    const to = from + part.checksums.length * blockBytes;
    const blocks = payload.subarray(from, to);
    from = to;
    return store.write({ ...part, session, generation, restores }, blocks);
  });
  const failed: PartFailure[] = [];
  let broken: unknown;
  for (const [part, outcome] of (await Promise.allSettled(writing)).entries()) {
    if (outcome.status === "fulfilled") continue;
    const { reason: error } = outcome;
    if (hasCode(error, "noSpace", "badChecksum", "superseded", "invalid")) {
      const { code, message } = error as BrineError & { code: PartFailure["code"] };
      failed.push({ part, code, reason: message.slice(0, reasonLengthMax) });
    } else broken ??= error;
  }
  if (broken !== undefined) throw broken;
  return failed;
}
