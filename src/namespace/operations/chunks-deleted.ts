/**
 * chunksDeleted: the stores have deleted these chunks. A chunk that is not in the list (any more) is skipped, so that a
 * new leader may report again what the old one did.
 */
import type { Context } from "../context.ts";
import type { OperationOf, Result } from "../operation.ts";

export function chunksDeleted(context: Context, operation: OperationOf<"chunksDeleted">): Result {
  for (const chunk of operation.chunks) context.tables.chunks.confirmDeleted(chunk);
  return { kind: "done" };
}
