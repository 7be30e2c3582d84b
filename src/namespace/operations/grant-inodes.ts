/**
 * grantInodes: new inode numbers for a session, fewer than asked for above `inodeGrantMax`.
 *
 * Errors: EINVAL for a count of 0, ENOSPC for a session that leaves too many grants unfinished.
 */
import { FileError } from "../../errors/file-error.ts";
import type { ClientContext } from "../context.ts";
import { Grant } from "../grant.ts";
import { inodeGrantMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";

/**
 * Grants of one kind that a session may have unfinished. A client works through one after the other and leaves a few
 * numbers behind at most where an operation failed; 1,024 grants bound what it costs to end a session.
 */
export const openGrantsMax = 1024;

export function grantInodes(context: ClientContext, operation: OperationOf<"grantInodes">): Result {
  const { tables, session } = context;
  if (operation.count === 0) throw new FileError("EINVAL", "a grant of nothing");
  if (session.inodeGrants.all.length >= openGrantsMax) throw new FileError("ENOSPC", "too many unfinished grants");
  const count = Math.min(operation.count, inodeGrantMax);
  const grant = new Grant(tables.header.take("nextInode", count), count);
  session.inodeGrants.add(grant);
  return { kind: "granted", range: grant.range };
}
