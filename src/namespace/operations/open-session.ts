/**
 * openSession: registers a client, or finds the session that this clientId has already.
 *
 * Errors: EINVAL (no clientId, or its session is on another volume), ENOENT (no such volume, or deleted).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import type { OperationOf, Result } from "../operation.ts";

export function openSession(context: Context, operation: OperationOf<"openSession">): Result {
  const { header, sessions, volumes } = context.tables;
  const { clientId, volume, host } = operation;
  if (clientId === "") throw new FileError("EINVAL", "a session needs a client id");
  const present = sessions.byClientId(clientId);
  if (present !== undefined) {
    if (present.volume !== volume) throw new FileError("EINVAL", "the client has a session on another volume");
    return { kind: "session", session: present.session, lastSequence: present.lastSequence };
  }
  if (volumes.get(volume)?.deleted !== false) throw new FileError("ENOENT", `no volume ${volume}`);
  const session = header.take("nextSession");
  sessions.open(session, clientId, volume, host, context.timeNs);
  return { kind: "session", session, lastSequence: 0 };
}
