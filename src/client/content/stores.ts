/**
 * Connections to stores: a few to each, made when needed, with what the balancing of reads wants to know: requests under
 * way and average latency.
 */
import type { Clock } from "../../platform/clock.ts";
import type { Address } from "../../platform/network.ts";
import type { Platform } from "../../platform/platform.ts";
import { connectPeer, type Identity } from "../../wire/connect.ts";
import type { Method, Payload } from "../../wire/method.ts";
import type { Peer, Reply } from "../../wire/peer.ts";
import { Service } from "../../wire/service.ts";

/** Two, so that a small request seldom waits behind the bytes of a large one. */
const connectionsPerStore = 2;
const connectTimeoutMs = 1_000;
/** A store that doesn't answer for this long is reported to the leader, which looks itself. */
export const storeTimeoutMs = 3_000;
/** Weight of the newest latency in the average: it follows a change within some ten requests. */
const latencyWeight = 0.1;
/** Weight of an answer that took less than an eighth of the average: a slow store is seldom asked, and must not stay slow for long. */
const recoveryWeight = 0.5;

/** One store at one address. */
export class StoreLink {
  readonly store: number;
  readonly address: Address;
  readonly #platform: Platform;
  readonly #identity: Identity;
  readonly #service = new Service();
  readonly #peers: (Promise<Peer> | undefined)[] = new Array(connectionsPerStore).fill(undefined);
  #turn = 0;
  #closed = false;
  /** Requests under way. */
  outstanding = 0;
  /** Moving average over answered requests. */
  latencyMs = 0;

  constructor(platform: Platform, identity: Identity, store: number, address: Address) {
    this.#platform = platform;
    this.#identity = identity;
    this.store = store;
    this.address = address;
  }

  get name(): string {
    return `store ${this.store} at ${this.address}`;
  }

  /** Errors: those of connecting, of the answer, and timedOut. */
  async request<Q, R>(method: Method<Q, R>, body: Q, payload?: Payload): Promise<Reply<R>> {
    const clock: Clock = this.#platform.clock;
    const sentMs = clock.nowMs();
    this.outstanding += 1;
    try {
      const peer = await this.#peer();
      const options = payload === undefined ? { timeoutMs: storeTimeoutMs } : { timeoutMs: storeTimeoutMs, payload };
      return await peer.request(method, body, options);
    } finally {
      this.outstanding -= 1;
      const elapsedMs = clock.nowMs() - sentMs;
      const weight = elapsedMs < this.latencyMs / 8 ? recoveryWeight : latencyWeight;
      this.latencyMs += (elapsedMs - this.latencyMs) * weight;
    }
  }

  close(reason: string): void {
    this.#closed = true;
    for (const connecting of this.#peers) {
      connecting?.then(
        (peer) => peer.close(reason),
        () => {},
      );
    }
  }

  #peer(): Promise<Peer> {
    const slot = this.#turn;
    this.#turn = (slot + 1) % connectionsPerStore;
    const known = this.#peers[slot];
    if (known !== undefined) return known;
    const connecting = connectPeer(this.#platform, this.address, this.#identity, this.#service, connectTimeoutMs);
    this.#peers[slot] = connecting;
    const forget = () => {
      if (this.#peers[slot] === connecting) this.#peers[slot] = undefined;
    };
    connecting.then((peer) => {
      peer.onClose(forget);
      if (this.#closed) peer.close("unmounted");
    }, forget);
    return connecting;
  }
}

export class Stores {
  readonly #platform: Platform;
  readonly #identity: Identity;
  readonly #links = new Map<number, StoreLink>();

  constructor(platform: Platform, identity: Identity) {
    this.#platform = platform;
    this.#identity = identity;
  }

  /** The link to a store; a new address closes the one to the old. */
  link(store: number, address: Address): StoreLink {
    const known = this.#links.get(store);
    if (known?.address === address) return known;
    known?.close(`store ${store} has moved to ${address}`);
    const link = new StoreLink(this.#platform, this.#identity, store, address);
    this.#links.set(store, link);
    return link;
  }

  close(): void {
    for (const link of this.#links.values()) link.close("unmounted");
    this.#links.clear();
  }
}
