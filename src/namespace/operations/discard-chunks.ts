/**
 * discardChunks: granted chunk ids that the session will never map, because a write with them failed, are to be deleted
 * now and not only when the session ends.
 *
 * Errors: EINVAL for a chunk that isn't granted, is used already, or comes twice.
 */
import { FileError } from "../../errors/file-error.ts";
import type { ClientContext } from "../context.ts";
import type { OperationOf, Result } from "../operation.ts";

export function discardChunks(context: ClientContext, operation: OperationOf<"discardChunks">): Result {
  const { tables, session } = context;
  if (new Set(operation.chunks).size !== operation.chunks.length) throw new FileError("EINVAL", "a chunk comes twice");
  for (const chunk of operation.chunks) {
    if (!session.chunkGrants.has(chunk))
      throw new FileError("EINVAL", `chunk ${chunk} is not the session's to discard`);
  }
  for (const chunk of operation.chunks) {
    session.chunkGrants.use(chunk);
    tables.chunks.addDeletion(chunk);
  }
  return { kind: "done" };
}
