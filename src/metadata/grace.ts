/** Requests that wait until all clients of their volume have come back after a restart of the leader, or are gone. */
import { BrineError } from "../errors/brine-error.ts";
import type { Leader } from "./leader.ts";
import type { Session, Sessions } from "./sessions.ts";

/** At once where nothing has to be waited for: then requests are answered in the order in which they came. */
export type Answer<T> = T | Promise<T>;

/** Errors: closed (the client has a new connection and asks there); those of the answer. */
export function afterGrace<T>(
  { leader, sessions }: { leader: Leader; sessions: Sessions },
  session: Session,
  answer: () => Answer<T>,
): Answer<T> {
  if (!sessions.isInGrace(session.volume)) return answer();
  const { peer } = session;
  const wait = leader.waits.begin("clients to come back", () => ({ client: session.host }));
  return sessions.whenGraceEnds(session.volume).then(() => {
    wait.end();
    if (session.peer !== peer || session.ending !== undefined) {
      throw new BrineError("closed", "the connection was replaced");
    }
    return answer();
  });
}
