/**
 * The connection by which the leader learns at once that this process has ended: nothing is sent on it, so the kernel ends it
 * in order when the process is gone, whatever the reason. A cut network says nothing, and a paused process is still there.
 *
 * So a process that lives must never close it, except after the leader has accepted a later one. One whose answer did not
 * come may have been accepted: it stays, until a later one was.
 */

import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { lifeline } from "../wire/catalogue/sessions.ts";
import { connectPeer, type Identity } from "../wire/connect.ts";
import type { Peer } from "../wire/peer.ts";
import { Service } from "../wire/service.ts";

const timeoutMs = 5_000;

export class Lifeline {
  readonly #platform: Platform;
  #peers: Peer[] = [];
  #number = 0;
  #isOver = false;

  constructor(platform: Platform) {
    this.#platform = platform;
  }

  /** Replaces the lifeline by one to this server. Without it the leader would learn of our death later: no error. */
  async renew(address: Address, identity: Identity, session: number): Promise<void> {
    this.#number += 1;
    const number = this.#number;
    try {
      const peer = await connectPeer(this.#platform, address, identity, new Service(), timeoutMs);
      if (this.#isOver || number !== this.#number) {
        peer.close("not needed"); // nobody was told of it
        return;
      }
      const earlier = this.#peers;
      this.#peers = [...earlier, peer];
      await peer.request(lifeline, { session, number, clientAddress: peer.localAddress }, { timeoutMs });
      for (const one of earlier) one.close("replaced");
      this.#peers = this.#peers.filter((one) => !earlier.includes(one));
    } catch (error) {
      this.#platform.logger.for("session").debug("no lifeline", { reason: String(error) });
    }
  }

  /** The session is over, or is to be taken for dead. */
  close(): void {
    this.#isOver = true;
    for (const peer of this.#peers.splice(0)) peer.close("the session is over");
  }
}
