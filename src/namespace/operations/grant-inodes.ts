/**
 * grantInodes: new inode numbers for a session, fewer than asked for above `inodeGrantMax`. Of too many unfinished grants
 * the oldest is taken back: its numbers will not be used by anybody.
 *
 * Errors: EINVAL for a count of 0.
 */
import { FileError } from "../../errors/file-error.ts";
import type { ClientContext } from "../context.ts";
import { Grant } from "../grant.ts";
import { inodeGrantMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";

export function grantInodes(context: ClientContext, operation: OperationOf<"grantInodes">): Result {
  const { tables, session, sequence } = context;
  if (operation.count === 0) throw new FileError("EINVAL", "a grant of nothing");
  const count = Math.min(operation.count, inodeGrantMax);
  const grant = new Grant(tables.header.take("nextInode", count), count);
  session.inodeGrants.add(sequence, grant);
  return { kind: "granted", range: grant.range };
}
