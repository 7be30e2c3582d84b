/** Connections of one session to whoever may lead: to which addresses, as whom, and under which term. */
import { BrineError } from "../errors/brine-error.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import type { KnownLedger } from "../wire/catalogue/handshake.ts";
import { leadersChanged } from "../wire/catalogue/leader.ts";
import { connectPeer, type Identity, type ServerPeer } from "../wire/connect.ts";
import type { KnownLeaders } from "../wire/known-leaders.ts";
import { KnownTerm } from "../wire/known-term.ts";
import { LeaderSearch } from "../wire/leader-search.ts";
import type { Peer } from "../wire/peer.ts";
import { isTransient } from "./retry.ts";
import type { SessionOptions } from "./session-options.ts";

/** A network that loses packets may need some tries. */
const connectTimeoutMs = 3_000;
/** The protocol's bound: of a long host line the beginning says enough. */
const hostLengthMax = 80;

export class LeaderLinks {
  readonly leaders: KnownLeaders;
  readonly #platform: Platform;
  readonly #options: SessionOptions;
  readonly #clientId: string;
  readonly #known: KnownTerm;
  readonly #search: LeaderSearch;
  #leader: Peer | undefined;
  #clusterId: string;
  /** Who answered last, and when. */
  #heard: { readonly from: string; readonly atMs: number } | undefined;

  constructor(platform: Platform, log: Logger, options: SessionOptions, clientId: string) {
    this.#platform = platform;
    this.#options = options;
    this.#clientId = clientId;
    this.#clusterId = options.clusterId ?? "";
    this.leaders = options.leaders;
    this.#known = new KnownTerm(log, options.known);
    this.#search = this.#newSearch();
    options.service.handle(leadersChanged, ({ leaders }, _payload, peer) => {
      if (peer === this.#leader) this.leaders.named(peer.remote.address, leaders);
      return {};
    });
  }

  /** What is known of the leader that was met last. */
  get known(): KnownLedger {
    return this.#known.ledger;
  }

  /** With the answer to a heartbeat. */
  told({ remote }: Peer, answer: { leaders: readonly Address[]; ledgerTerm: number; ledgerIndex: number }): void {
    this.leaders.named(remote.address, answer.leaders);
    this.#known.heard(answer.ledgerTerm, answer.ledgerIndex);
  }

  /** Empty until the session has met its cluster. */
  get clusterId(): string {
    return this.#clusterId;
  }

  /** For people. */
  get host(): string {
    return this.#options.host.slice(0, hostLengthMax);
  }

  get identity(): Identity {
    const { volume, host } = this.#options;
    const description = `brine mount ${volume} ${host}`.slice(0, hostLengthMax);
    return { role: "client", clusterId: this.#clusterId, peerId: this.#clientId, description };
  }

  /** A leader has answered. */
  heard(address: Address | undefined): void {
    const from = address ?? this.#heard?.from ?? this.leaders.addresses.join(" or ");
    this.#heard = { from, atMs: this.#platform.clock.nowMs() };
  }

  /** Who has not answered for longer than this, and for how long, for people. */
  silence(longerThanMs: number): string | undefined {
    if (this.#heard === undefined) return undefined;
    const { from, atMs } = this.#heard;
    const forMs = this.#platform.clock.nowMs() - atMs;
    if (forMs <= longerThanMs) return undefined;
    return `the leader at ${from} has not answered for ${(forMs / 1000).toFixed(1)} s`;
  }

  /** A round of a search among all who may lead (leader-search.ts). */
  round(): AsyncIterable<ServerPeer> {
    return this.#search.round();
  }

  /** The session is asked for on this connection, since its server leads: what it says of leaders is believed. */
  met(peer: ServerPeer): void {
    this.#known.met(peer);
    this.#leader = peer;
  }

  /** The session goes on there. From now on no other cluster's servers are accepted. */
  entered({ clusterId, remote }: ServerPeer): void {
    this.#clusterId = clusterId;
    this.heard(remote.address);
  }

  /** Why a round has found nobody: what passes by itself comes first, since others may answer then. */
  get failure(): unknown {
    const { failures } = this.#search;
    const failure = failures.find(({ error }) => isTransient(error)) ?? failures[0];
    if (failure !== undefined) return failure.error;
    return new BrineError("timedOut", `no answer yet from ${this.leaders.addresses.join(" or ")}`);
  }

  /** Nobody looks for the leader any more, for this session. */
  stop(): void {
    this.#search.stop();
  }

  /** To all that may lead, one after the other, as far as they can be reached; each is closed when the next is asked for. */
  async *each(): AsyncIterable<ServerPeer> {
    const search = this.#newSearch();
    try {
      for await (const peer of search.round(connectTimeoutMs)) {
        try {
          yield peer;
        } finally {
          peer.close("the session is over");
        }
      }
    } finally {
      search.stop();
    }
  }

  #newSearch(): LeaderSearch {
    const { service } = this.#options;
    return new LeaderSearch({
      platform: this.#platform,
      leaders: this.leaders,
      known: this.#known,
      connect: (address) => connectPeer(this.#platform, address, this.identity, service, connectTimeoutMs),
    });
  }
}
