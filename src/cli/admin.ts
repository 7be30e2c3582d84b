/** Requests of the command line to a metadata server. */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { thisProcess } from "../platform/processes.ts";
import { connectPeer, type Identity } from "../wire/connect.ts";
import type { Method } from "../wire/method.ts";
import type { Peer } from "../wire/peer.ts";
import { Service } from "../wire/service.ts";

/** A person waits: long enough for a busy server, short enough to be told. */
const connectTimeoutMs = 3_000;
const requestTimeoutMs = 30_000;

/** Sends one request to the first of the addresses that answers as leader. Errors: unreachable, and the method's own. */
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
  const peer = await connectPeer(platform, address, adminIdentity(), new Service(), connectTimeoutMs);
  try {
    return (await peer.request(method, body, { timeoutMs: requestTimeoutMs })).body;
  } finally {
    peer.close("done");
  }
}

function adminIdentity(): Identity {
  const description = `brine pid ${thisProcess.pid} on ${thisProcess.host}`;
  return { role: "admin", clusterId: "", peerId: "", description };
}

/** For who asks more than once: the connection stays, and is made anew when it has ended. */
export class AdminConnection {
  readonly #platform: Platform;
  readonly #addresses: readonly Address[];
  #peer: Peer | undefined;

  constructor(platform: Platform, addresses: readonly Address[]) {
    this.#platform = platform;
    this.#addresses = addresses;
  }

  /** Errors: unreachable, and the method's own. */
  async ask<Q, R>(method: Method<Q, R>, body: Q): Promise<R> {
    if (this.#peer?.closed === false) return this.#request(this.#peer, method, body);
    let failure: unknown;
    for (const address of this.#addresses) {
      try {
        this.#peer = await this.#connect(address);
        return await this.#request(this.#peer, method, body);
      } catch (error) {
        this.close();
        if (!hasCode(error, "unreachable", "notLeader", "notServing", "timedOut", "closed")) throw error;
        failure ??= error;
      }
    }
    throw failure ?? new BrineError("invalid", "no address was given");
  }

  close(): void {
    this.#peer?.close("done");
    this.#peer = undefined;
  }

  async #request<Q, R>(peer: Peer, method: Method<Q, R>, body: Q): Promise<R> {
    return (await peer.request(method, body, { timeoutMs: requestTimeoutMs })).body;
  }

  #connect(address: Address): Promise<Peer> {
    return connectPeer(this.#platform, address, adminIdentity(), new Service(), connectTimeoutMs);
  }
}
