/** For whom a session acts: settled when it is opened, in the namespace's state, and the same after any restart. */
import { BrineError } from "../errors/brine-error.ts";
import { isSameUser, type SessionUser } from "../namespace/model.ts";
import type { Committer } from "./committer.ts";
import type { Session } from "./sessions.ts";

export interface OpeningRequest {
  readonly clientId: string;
  readonly volume: string;
  readonly host: string;
  /** Undefined: a mount, which serves many users. */
  readonly user: SessionUser | undefined;
}

/**
 * The session acts for the user from now on, if it is to have one. A request without one for a session that has one is refused,
 * too: it would take the checks away. If the session ends meanwhile it is the caller's to say so. Errors: invalid.
 */
export async function bindToUser(committer: Committer, session: Session, user: SessionUser | undefined): Promise<void> {
  if (session.user === undefined && user !== undefined) {
    const result = await committer.execute({ kind: "bindSession", session: session.id, user });
    if (session.ending !== undefined) return;
    // Else another request of its client has bound it otherwise.
    if (result.kind === "done") session.user = user;
  }
  if (session.user === undefined && user === undefined) return;
  if (session.user !== undefined && user !== undefined && isSameUser(session.user, user)) return;
  throw new BrineError(
    "invalid",
    `session ${session.id} acts for another user: what a session may do is settled when it is opened`,
  );
}
