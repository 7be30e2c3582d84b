/** What a client holds, and how it tells the leader: in as many messages as it takes. */
import type { Address } from "../platform/network.ts";
import { statedMax, stateHoldings } from "../wire/catalogue/leader.ts";
import type { Peer } from "../wire/peer.ts";

type Stated = Parameters<typeof stateHoldings.request.write>[1];

export type Holdings = Pick<Stated, "holds" | "leases" | "locks" | "quotas">;

/**
 * States everything on a new connection. Nothing of it changes in between, because leases are given back and locks are set
 * over the connection that this one is to become. Errors: those of the request.
 *
 * @param madeMs now, by the monotonic clock: what comes late of an earlier connection is known by it
 */
export async function stateAll(
  peer: Peer,
  session: number,
  madeMs: number,
  all: Holdings,
  timeoutMs: number,
): Promise<{ quotaVersion: number; leaders: Address[] }> {
  const { holds, leases, locks, quotas } = all;
  const count = Math.max(1, Math.ceil(Math.max(holds.length, leases.length, locks.length) / statedMax));
  const asked: Promise<{ body: { quotaVersion: number; leaders: Address[] } }>[] = [];
  for (let part = 0; part < count; part++) {
    const [from, to] = [part * statedMax, (part + 1) * statedMax];
    const body = {
      session,
      madeUs: Math.round(madeMs * 1_000),
      first: part === 0,
      last: part === count - 1,
      holds: holds.slice(from, to),
      leases: leases.slice(from, to),
      locks: locks.slice(from, to),
      quotas: part === 0 ? quotas : [],
    };
    asked.push(peer.request(stateHoldings, body, { timeoutMs }));
  }
  const answers = await Promise.all(asked);
  return answers.at(-1)!.body;
}
