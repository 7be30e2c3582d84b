/**
 * bindSession: from now on the session acts for one user, and for good: what it asks is checked by his permissions
 * (authorization.ts). A session that isn't bound is a mount's, which serves many users: there the kernel checks.
 *
 * Errors: ENOENT (no such session), EPERM (it is bound to another user).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import { isSameUser } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";

export function bindSession(context: Context, { session: number, user }: OperationOf<"bindSession">): Result {
  const { sessions } = context.tables;
  const session = sessions.get(number);
  if (session === undefined) throw new FileError("ENOENT", `no session ${number}`);
  if (session.user === undefined) sessions.bind(session, user);
  else if (!isSameUser(session.user, user)) throw new FileError("EPERM", `session ${number} has another user`);
  return { kind: "done" };
}
