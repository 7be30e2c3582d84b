/** A new server of the ledger asks to be taken in as the second copy, until it is. */
import { hasCode } from "../errors/brine-error.ts";
import type { Voter } from "../ledger/copies/voter.ts";
import { sleep } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { joinLedger, type LedgerRule } from "../wire/catalogue/ledger.ts";
import { connectPeer, type ServerPeer } from "../wire/connect.ts";
import { KnownLeaders } from "../wire/known-leaders.ts";
import { KnownTerm } from "../wire/known-term.ts";
import { LeaderSearch } from "../wire/leader-search.ts";
import { Service } from "../wire/service.ts";

const joinTimeoutMs = 3_000;

export interface JoinOptions {
  readonly clusterId: string;
  readonly serverId: string;
  readonly address: Address;
  /** Where the leader may be. */
  readonly leaders: readonly Address[];
  readonly rule: LedgerRule;
  readonly voter: Voter;
  readonly log: Logger;
  readonly isOver: () => boolean;
}

/** Resolves when the leader knows of this copy, and connects to it. Errors: exists, invalid, wrongCluster, refused. */
export async function joinAsCopy(platform: Platform, options: JoinOptions): Promise<void> {
  const { leaders, serverId, clusterId, voter, log, isOver } = options;
  const identity = { role: "store" as const, clusterId, peerId: serverId, description: "the ledger's second copy" };
  const search = new LeaderSearch({
    ...{ platform, leaders: new KnownLeaders(leaders), known: new KnownTerm(log) },
    connect: (address) => connectPeer(platform, address, identity, new Service(), joinTimeoutMs),
  });
  while (!isOver() && voter.ballot.configuration === undefined) {
    for await (const peer of search.round(joinTimeoutMs)) if (await joinAt(peer, options)) break;
    for (const { address, error } of search.failures) notTakenIn(log, address, error);
    await sleep(platform.clock, voter.timeouts.renewMs);
  }
  search.stop();
}

/** False where nobody leads. */
async function joinAt(peer: ServerPeer, { serverId, address, rule, log }: JoinOptions): Promise<boolean> {
  try {
    await peer.request(joinLedger, { serverId, address, rule }, { timeoutMs: joinTimeoutMs });
    return true;
  } catch (error) {
    // A server without metadata has told in its hello who may lead.
    if (peer.term > 0 || !hasCode(error, "refused")) notTakenIn(log, peer.remote.address, error);
    return false;
  } finally {
    peer.close("joined");
  }
}

/** Throws what won't pass by itself. */
function notTakenIn(log: Logger, leader: Address, error: unknown): void {
  if (hasCode(error, "exists", "invalid", "wrongCluster", "refused")) throw error;
  log.warn("not taken in as the ledger's copy yet", { leader, reason: (error as Error).message });
}
