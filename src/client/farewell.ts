/**
 * The last thing that is said of a session which has ended without its owner's wish. A store said that it is fenced, for
 * example: the leader that told the store so may have died in between, and the next one takes the session for alive. Others
 * would wait for its leases until its time has run out.
 *
 * So the leader is told, but only when nothing of what the session was answered is shown any more: the kernel's caches go
 * first. The lifeline, whose end says the same, stays until then, too. If they can't go before the session's time is over,
 * nothing is said: the leader goes by the same time.
 */
import type { Platform } from "../platform/platform.ts";
import { closeSession } from "../wire/catalogue/sessions.ts";
import type { Peer } from "../wire/peer.ts";

/** The leader answers when the stores have fenced the session, and its chunks are equal on all members. */
const answerTimeoutMs = 10_000;

export interface FarewellParts {
  readonly session: number;
  /** The kernel's caches have nothing of the session. */
  readonly forgotten: Promise<void>;
  /** What is left of the session's time. */
  readonly leftMs: number;
  /** Connections to whoever may lead, one after the other. */
  readonly peers: () => AsyncIterable<Peer>;
}

/** Returns true if the leader has answered that the session is over. */
export async function sayFarewell(platform: Platform, parts: FarewellParts): Promise<boolean> {
  const { session, forgotten, leftMs, peers } = parts;
  const timeUp = Promise.withResolvers<boolean>();
  const timer = platform.clock.startTimer(leftMs, () => timeUp.resolve(false));
  const isForgotten = await Promise.race([forgotten.then(() => true), timeUp.promise]).catch(() => false);
  timer.cancel();
  if (!isForgotten) return false;
  for await (const peer of peers()) {
    try {
      await peer.request(closeSession, { session }, { timeoutMs: answerTimeoutMs });
      return true;
    } catch (error) {
      platform.logger.for("session").debug("the leader was not told of the end", { session, reason: String(error) });
    }
  }
  return false;
}
