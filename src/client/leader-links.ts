/** Connections of one session to whoever may lead: to which addresses, as whom, and under which term. */
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { connectPeer, type Identity } from "../wire/connect.ts";
import { KnownLeaders } from "../wire/known-leaders.ts";
import { KnownTerm } from "../wire/known-term.ts";
import type { SessionOptions } from "./session-options.ts";

/** A server that has said who it is. */
type LeaderPeer = Awaited<ReturnType<typeof connectPeer>>;

/** A leader that is alive takes a connection and answers an opening in a few milliseconds. */
const connectTimeoutMs = 3_000;
/** The protocol's bound: of a long host line the beginning says enough. */
const hostLengthMax = 80;

export class LeaderLinks {
  readonly leaders: KnownLeaders;
  readonly #platform: Platform;
  readonly #options: SessionOptions;
  readonly #clientId: string;
  readonly #known: KnownTerm;
  #clusterId: string;
  /** Who answered last, and when. */
  #heard: { readonly from: string; readonly atMs: number } | undefined;

  constructor(platform: Platform, log: Logger, options: SessionOptions, clientId: string) {
    this.#platform = platform;
    this.#options = options;
    this.#clientId = clientId;
    this.#clusterId = options.clusterId ?? "";
    this.leaders = new KnownLeaders(options.leaders);
    this.#known = new KnownTerm(log, options.term);
  }

  /** The highest term of a leader that was met. */
  get term(): number {
    return this.#known.term;
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

  /** From now on no other cluster's servers are accepted. */
  belongsTo(clusterId: string): void {
    this.#clusterId = clusterId;
  }

  /** Errors: those of connectPeer; notLeader if an outdated leader answers: what it says is not believed. */
  async connect(address: Address): Promise<LeaderPeer> {
    const { service } = this.#options;
    const peer = await connectPeer(this.#platform, address, this.identity, service, connectTimeoutMs);
    try {
      this.#known.check(peer.term, address);
      this.#known.met(peer.term);
      return peer;
    } catch (error) {
      peer.close("not ready");
      throw error;
    }
  }

  /** To all that may lead, one after the other, as far as they can be reached; each is closed when the next is asked for. */
  async *each(): AsyncIterable<LeaderPeer> {
    for (const address of this.leaders.addresses) {
      const peer = await this.connect(address).catch(() => undefined);
      if (peer === undefined) continue;
      try {
        yield peer;
      } finally {
        peer.close("the session is over");
      }
    }
  }
}
