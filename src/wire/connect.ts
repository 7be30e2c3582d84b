/** Connects to a server: TCP, hello, and the peer that comes out of it. */
import { CodecError } from "../codec/buffers.ts";
import { decode } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import type { Timer } from "../platform/clock.ts";
import { type Address, NetworkError } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { hello, type Keepers, type LedgerOrigin } from "./catalogue/handshake.ts";
import { ConnectedPeer } from "./connected-peer.ts";
import { errorOf, failure } from "./failure.ts";
import { kindFailure, kindRequest } from "./frame.ts";
import type { Frame } from "./frame-parser.ts";
import { helloOf, type Identity, readWelcome } from "./handshake.ts";
import { type EndCode, Link, type LinkReceiver } from "./link.ts";
import type { Peer } from "./peer.ts";
import type { Service } from "./service.ts";

export type { Identity } from "./handshake.ts";

/** A server that has said who it is, under which term it leads, and who keeps the metadata as far as it knows. */
export interface ServerPeer extends Peer {
  readonly serverId: string;
  readonly clusterId: string;
  readonly term: number;
  readonly origin: LedgerOrigin | undefined;
  readonly keepers: Keepers;
}

/** The hello's request id; a peer's own begin at 1. */
const helloRequestId = 0;

/**
 * Connects and says hello, both within `timeoutMs`.
 *
 * @param service what the server may ask of this side
 * Errors: BrineError unreachable (with `cause` NetworkError; ECONNREFUSED there: nobody listens), timedOut, closed
 * (during the hello), protocol (something else listens there), versionMismatch, wrongCluster, refused.
 */
export async function connectPeer(
  platform: Platform,
  address: Address,
  identity: Identity,
  service: Service,
  timeoutMs: number,
): Promise<ServerPeer> {
  const deadlineMs = platform.clock.nowMs() + timeoutMs;
  const connection = await platform.network.connect(address, timeoutMs).catch((error) => {
    throw unreachable(address, error);
  });
  const link = new Link(connection, platform.logger.for("wire"));
  return new Promise((resolve, reject) => {
    const greeting = new Greeting(platform, link, address, identity, service, resolve, reject);
    greeting.start(Math.max(0, deadlineMs - platform.clock.nowMs()));
  });
}

function unreachable(address: Address, error: unknown): unknown {
  if (!(error instanceof NetworkError)) return error;
  const advice =
    error.code === "ECONNREFUSED"
      ? "nothing listens there: start the server (brine server), or check host and port"
      : error.code === "EINVAL"
        ? "addresses are HOST:PORT, IPv6 hosts in brackets"
        : "check host, port, firewall and network between the machines";
  return new BrineError("unreachable", `${address} can't be reached: ${error.code}`, { advice, cause: error });
}

/** The link's receiver until the server's answer is there. */
class Greeting implements LinkReceiver {
  readonly #platform: Platform;
  readonly #link: Link;
  readonly #address: Address;
  readonly #identity: Identity;
  readonly #service: Service;
  readonly #resolve: (peer: ConnectedPeer) => void;
  readonly #reject: (error: unknown) => void;
  #timer: Timer | undefined;

  constructor(
    platform: Platform,
    link: Link,
    address: Address,
    identity: Identity,
    service: Service,
    resolve: (peer: ConnectedPeer) => void,
    reject: (error: unknown) => void,
  ) {
    this.#platform = platform;
    this.#link = link;
    this.#address = address;
    this.#identity = identity;
    this.#service = service;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(timeoutMs: number): void {
    this.#timer = this.#platform.clock.startTimer(timeoutMs, () => {
      this.#fail(
        new BrineError("timedOut", `${this.#address} took the connection, but did not answer the hello in time`),
      );
    });
    this.#link.start(this);
    try {
      const header = { kind: kindRequest, requestId: helloRequestId, methodId: hello.id };
      const request = helloOf(this.#identity);
      this.#link.send(
        this.#link.encode(header, (writer) => hello.request.write(writer, request), undefined),
        undefined,
      );
    } catch (error) {
      this.#fail(error); // an identity beyond its bounds
    }
  }

  onFrame(frame: Frame): void {
    try {
      if (frame.kind === kindRequest || frame.requestId !== helloRequestId || frame.methodId !== hello.id) {
        throw new CodecError("something else than an answer to the hello");
      }
      if (frame.kind === kindFailure) throw errorOf(decode(failure, frame.body));
      const server = readWelcome(frame, this.#identity, this.#address);
      this.#timer?.cancel();
      const remote = { address: this.#address, peerId: server.serverId, role: "server", description: "server" };
      const peer = new ConnectedPeer(this.#platform, this.#link, this.#service, remote, server);
      this.#link.open(peer, server.serverId);
      this.#resolve(peer);
    } catch (error) {
      if (error instanceof CodecError) throw error; // the link ends, which ends up in onEnd
      this.#fail(error);
    }
  }

  onDrain(): void {}

  onEnd(reason: string, code: EndCode): void {
    this.#timer?.cancel();
    const message =
      code === "protocol"
        ? `${this.#address} does not speak the protocol of brinefs: ${reason}`
        : `the connection to ${this.#address} ended before the hello was answered: ${reason}`;
    const advice = "check host and port, something else may listen there; if it is a brinefs server, see its log";
    this.#reject(new BrineError(code, message, { advice }));
  }

  #fail(error: unknown): void {
    this.#timer?.cancel();
    this.#reject(error);
    this.#link.close("no handshake");
  }
}
