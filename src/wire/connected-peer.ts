/** A Peer on a link whose handshake is done: brings requests of both directions and the link together. */
import type { Platform } from "../platform/platform.ts";
import type { Keepers, LedgerOrigin } from "./catalogue/handshake.ts";
import type { ServerPeer } from "./connect.ts";
import { kindRequest } from "./frame.ts";
import type { Frame } from "./frame-parser.ts";
import { noKeepers, type ServerIdentity } from "./handshake.ts";
import { IncomingRequests } from "./incoming-requests.ts";
import type { Link, LinkReceiver } from "./link.ts";
import type { Method } from "./method.ts";
import { OutgoingRequests } from "./outgoing-requests.ts";
import type { Peer, Reply, RequestOptions } from "./peer.ts";
import { RequestMetrics } from "./request-metrics.ts";
import type { Service } from "./service.ts";

export class ConnectedPeer implements ServerPeer, LinkReceiver {
  readonly remote: Peer["remote"];
  /** Of the side that listens; on that side its own. */
  readonly serverId: string;
  readonly clusterId: string;
  /** Under which it leads the cluster; 0: it has no metadata. */
  readonly term: number;
  readonly origin: LedgerOrigin | undefined;
  /** As it knew them at the hello. */
  readonly keepers: Keepers;
  readonly localAddress: string;
  readonly #link: Link;
  readonly #outgoing: OutgoingRequests;
  readonly #incoming: IncomingRequests;
  #closeReason: string | undefined;
  #closeCallbacks: ((reason: string) => void)[] = [];

  constructor(platform: Platform, link: Link, service: Service, remote: Peer["remote"], server: ServerIdentity) {
    this.remote = remote;
    this.serverId = server.serverId;
    this.clusterId = server.clusterId;
    this.term = server.term ?? 0;
    this.origin = server.origin;
    this.keepers = server.keepers ?? noKeepers;
    this.localAddress = link.localAddress;
    this.#link = link;
    const name = remote.peerId === "" ? remote.address : `${remote.address} (${remote.peerId})`;
    const metrics = RequestMetrics.of(platform.metrics);
    link.traffic = metrics.traffic(remote);
    const meter = (method: string) => metrics.outgoing(method, remote);
    this.#outgoing = new OutgoingRequests(link, platform.clock, { name, meter });
    this.#incoming = new IncomingRequests(link, service, platform, this);
  }

  request<Q, R>(method: Method<Q, R>, body: Q, options: RequestOptions): Promise<Reply<R>> {
    return this.#outgoing.request(method, body, options);
  }

  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  onClose(callback: (reason: string) => void): void {
    if (this.#closeReason !== undefined) callback(this.#closeReason);
    else this.#closeCallbacks.push(callback);
  }

  close(reason: string): void {
    this.#link.close(reason);
  }

  // --- LinkReceiver, for the link only ---

  onFrame(frame: Frame): void {
    if (frame.kind === kindRequest) this.#incoming.onRequest(frame);
    else this.#outgoing.onAnswer(frame);
  }

  onDrain(): void {
    this.#incoming.pump();
    this.#outgoing.pump();
  }

  onEnd(reason: string): void {
    this.#closeReason = reason;
    this.#incoming.end();
    this.#outgoing.end(reason);
    const callbacks = this.#closeCallbacks;
    this.#closeCallbacks = [];
    for (const callback of callbacks) callback(reason);
  }
}
