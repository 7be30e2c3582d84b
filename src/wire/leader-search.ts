/**
 * Looks for the leader, at all addresses where it may be at the same time: a server that is gone answers nothing for seconds, and
 * delays nobody so.
 *
 *     round ──► connects to all, as far as no attempt is under way ──► hands out who answers, the highest term first
 *                                    ▲                                        │ refused: it doesn't lead, or not yet
 *                                    └── hints of servers that don't lead ◄───┘
 *
 * A round ends when all have answered, or after `roundMs`; attempts that are slower are waited for in the next one. Whoever finds
 * the leader leaves the round: the other connections are ended.
 *
 * An outdated leader is not handed out (known-term.ts), and hints that are older than the leader that was met last are dropped.
 */
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import type { ServerPeer } from "./connect.ts";
import type { KnownLeaders } from "./known-leaders.ts";
import type { KnownTerm } from "./known-term.ts";

/** A leader that is alive takes a connection and answers the hello in a few milliseconds. */
const roundMs = 250;

export interface LeaderSearchParts {
  readonly platform: Platform;
  readonly leaders: KnownLeaders;
  readonly known: KnownTerm;
  /** Has a deadline of its own. */
  readonly connect: (address: Address) => Promise<ServerPeer>;
}

export class LeaderSearch {
  readonly #parts: LeaderSearchParts;
  #underWay = new Map<Address, object>();
  #arrived: ServerPeer[] = [];
  #failures = new Map<Address, unknown>();
  #wake: () => void = () => {};
  #isStopped = false;

  constructor(parts: LeaderSearchParts) {
    this.#parts = parts;
  }

  /** Why those that were asked last are of no use: errors of `connect`, and notLeader (outdated). The likeliest address first. */
  get failures(): readonly { readonly address: Address; readonly error: unknown }[] {
    return this.#parts.leaders.addresses.flatMap((address) => {
      return this.#failures.has(address) ? [{ address, error: this.#failures.get(address) }] : [];
    });
  }

  /**
   * Servers that may lead, each at most once; one round at a time. Who gets a peer closes it, if it is of no use.
   * A server without a term is among them as long as no leader was ever met: it says itself what it is.
   */
  async *round(waitMs = roundMs): AsyncGenerator<ServerPeer, void, void> {
    const asked = new Set<Address>();
    let isTimeUp = false;
    const timer = this.#parts.platform.clock.startTimer(waitMs, () => {
      isTimeUp = true;
      this.#wake();
    });
    let isFound = true;
    try {
      for (;;) {
        if (!this.#isStopped) this.#askAll(asked);
        const peer = this.#next();
        if (peer !== undefined) {
          yield peer;
          continue;
        }
        if (isTimeUp || this.#isStopped || this.#underWay.size === 0) {
          isFound = false;
          return;
        }
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    } finally {
      timer.cancel();
      if (isFound) this.#discard();
    }
  }

  /** Nobody looks any more: a round that is under way ends, and so do the connections that nobody got. */
  stop(): void {
    this.#isStopped = true;
    this.#discard();
    this.#wake();
  }

  #askAll(asked: Set<Address>): void {
    for (const address of this.#parts.leaders.addresses) {
      if (asked.has(address)) continue;
      asked.add(address);
      const waits = this.#arrived.some(({ remote, closed }) => remote.address === address && !closed);
      if (!waits && !this.#underWay.has(address)) void this.#ask(address);
    }
  }

  /** Never rejects. */
  async #ask(address: Address): Promise<void> {
    const attempt = {};
    this.#underWay.set(address, attempt);
    const isWanted = () => this.#underWay.get(address) === attempt;
    try {
      const peer = await this.#parts.connect(address);
      if (isWanted()) this.#arrives(peer, address);
      else peer.close("another server leads");
    } catch (error) {
      if (isWanted()) this.#failures.set(address, error);
    }
    if (!isWanted()) return;
    this.#underWay.delete(address);
    this.#wake();
  }

  /** Error: notLeader. */
  #arrives(peer: ServerPeer, address: Address): void {
    const { known, leaders } = this.#parts;
    const { term, addresses } = peer.keepers;
    if (term >= known.term) leaders.hinted(addresses);
    try {
      known.check(peer, address);
    } catch (error) {
      peer.close("it doesn't lead");
      throw error;
    }
    this.#failures.delete(address);
    this.#arrived.push(peer);
  }

  #next(): ServerPeer | undefined {
    this.#arrived.sort((left, right) => right.term - left.term);
    for (;;) {
      const peer = this.#arrived.shift();
      // Another one, with a higher term, may have been met since.
      if (peer === undefined || (!peer.closed && peer.term >= this.#parts.known.term)) return peer;
      peer.close("it doesn't lead any more");
    }
  }

  #discard(): void {
    this.#underWay = new Map();
    this.#failures = new Map();
    for (const peer of this.#arrived.splice(0)) peer.close("another server leads");
  }
}
