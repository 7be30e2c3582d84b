/** Requests of the command line to a metadata server. */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { thisProcess } from "../platform/processes.ts";
import { connectPeer, type Identity, type ServerPeer } from "../wire/connect.ts";
import { KnownLeaders } from "../wire/known-leaders.ts";
import { KnownTerm } from "../wire/known-term.ts";
import { LeaderSearch } from "../wire/leader-search.ts";
import type { Method } from "../wire/method.ts";
import type { Peer } from "../wire/peer.ts";
import { Service } from "../wire/service.ts";

/** A person waits: long enough for a busy server, short enough to be told. */
const connectTimeoutMs = 3_000;
const requestTimeoutMs = 30_000;

/** Sends one request to the leader, see AdminConnection. Errors: unreachable, and the method's own. */
export async function askLeader<Q, R>(
  platform: Platform,
  addresses: readonly Address[],
  method: Method<Q, R>,
  body: Q,
): Promise<R> {
  const connection = new AdminConnection(platform, addresses);
  try {
    return await connection.ask(method, body);
  } finally {
    connection.close();
  }
}

/** Asks this server, whatever it is. Errors: unreachable, and the method's own. */
export async function askServer<Q, R>(platform: Platform, address: Address, method: Method<Q, R>, body: Q): Promise<R> {
  const peer = await connect(platform, address);
  try {
    return await request(peer, method, body);
  } finally {
    peer.close("done");
  }
}

/**
 * The leader, found through the servers at some addresses: one that doesn't lead any more, or never did, says who may
 * (leader-search.ts). For who asks more than once: the connection stays, and is made anew when it has ended.
 */
export class AdminConnection {
  readonly #leaders: KnownLeaders;
  readonly #known: KnownTerm;
  readonly #search: LeaderSearch;
  #peer: Peer | undefined;

  /** `clusterId`: that of what is asked about; other clusters' servers are refused. Empty: whatever is there. */
  constructor(platform: Platform, addresses: readonly Address[], clusterId = "") {
    this.#leaders = new KnownLeaders(addresses);
    this.#known = new KnownTerm(platform.logger.for("admin"));
    this.#search = new LeaderSearch({
      ...{ platform, leaders: this.#leaders, known: this.#known },
      connect: (address) => connect(platform, address, clusterId),
    });
  }

  /** Errors: unreachable, wrongCluster, and the method's own. */
  async ask<Q, R>(method: Method<Q, R>, body: Q): Promise<R> {
    let failure: unknown;
    if (this.#peer?.closed === false) {
      try {
        return await request(this.#peer, method, body);
      } catch (error) {
        if (!hasCode(error, "notLeader", "notServing")) throw error;
        this.#peer.close("it leads no more");
        failure = error;
      }
    }
    for await (const peer of this.#search.round(connectTimeoutMs)) {
      try {
        const answer = await request(peer, method, body);
        this.#meets(peer);
        return answer;
      } catch (error) {
        peer.close("done");
        if (!isOfNoUse(peer, error)) throw error;
        // Of two that can't answer the one that may lead says more.
        if (failure === undefined || peer.term > 0) failure = error;
      }
    }
    throw failure ?? this.#search.failures[0]?.error ?? new BrineError("invalid", "no address was given");
  }

  close(): void {
    this.#search.stop();
    this.#peer?.close("done");
    this.#peer = undefined;
  }

  #meets(peer: ServerPeer): void {
    this.#peer = peer;
    this.#known.met(peer);
    this.#leaders.named(peer.remote.address, peer.keepers.addresses);
  }
}

/** Another server may answer. */
function isOfNoUse({ term }: ServerPeer, error: unknown): boolean {
  // A server that doesn't lead knows only some methods.
  if (term === 0 && hasCode(error, "refused")) return true;
  return hasCode(error, "unreachable", "notLeader", "notServing", "timedOut", "closed");
}

function connect(platform: Platform, address: Address, clusterId = ""): Promise<ServerPeer> {
  const description = `brine pid ${thisProcess.pid} on ${thisProcess.host}`;
  const identity: Identity = { role: "admin", clusterId, peerId: "", description };
  return connectPeer(platform, address, identity, new Service(), connectTimeoutMs);
}

async function request<Q, R>(peer: Peer, method: Method<Q, R>, body: Q): Promise<R> {
  return (await peer.request(method, body, { timeoutMs: requestTimeoutMs })).body;
}
