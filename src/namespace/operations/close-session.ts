/**
 * closeSession: forgets a session. What it never mapped of its granted chunks is to be deleted: whole grants are retired
 * as they are, so the transaction touches at most `openGrantsMax` (session-table.ts) of them, however many chunks that is.
 *
 * Errors: ENOENT (no such session, or closed before).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import type { OperationOf, Result } from "../operation.ts";

export function closeSession(context: Context, operation: OperationOf<"closeSession">): Result {
  const { chunks, sessions } = context.tables;
  const session = sessions.get(operation.session);
  if (session === undefined) throw new FileError("ENOENT", `no session ${operation.session}`);
  for (const grant of session.chunkGrants.all) chunks.retire(grant);
  sessions.close(session);
  return { kind: "done" };
}
