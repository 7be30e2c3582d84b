/** Listens for peers: takes connections, waits for their hello, accepts or refuses it. */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { sleep, type Timer } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address, Connection } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { BoundedLog } from "./bounded-log.ts";
import { type HelloRequest, type HelloResponse, hello } from "./catalogue/handshake.ts";
import { ConnectedPeer } from "./connected-peer.ts";
import { failure, failureOf } from "./failure.ts";
import { kindFailure, kindResponse } from "./frame.ts";
import type { Frame } from "./frame-parser.ts";
import { acceptHello, helloTimeoutMs, readHello, type ServerIdentity } from "./handshake.ts";
import { Link, type LinkReceiver } from "./link.ts";
import type { Peer } from "./peer.ts";
import type { Service } from "./service.ts";

/**
 * Connections whose hello is awaited. A burst of reconnecting clients stays far below it. With one more the oldest is ended: a
 * peer says hello at once, so who keeps a thousand silent connections open shuts nobody out.
 */
const strangersMax = 1024;

/** How long a refused side has to read why, before the connection is ended from here. */
const refusalTimeoutMs = 1_000;

/** How long the end of the server waits for answers to leave; on a network that works they do at once. */
const farewellMs = 250;
const farewellStepMs = 5;

export interface ListenOptions {
  /** Asked at each hello: a server may learn its cluster while it runs. */
  readonly identity: () => ServerIdentity;
  readonly service: Service;
  /** Called for each peer after its hello, before any of its requests is handled. */
  readonly onPeer?: (peer: Peer) => void;
  /** A peer is refused since it is of another cluster. */
  readonly onForeign?: (request: HelloRequest, from: Address) => void;
}

/**
 * Errors: NetworkError EADDRINUSE, EADDRNOTAVAIL, EACCES, EINVAL.
 * `close` stops listening and ends all connections that came in here.
 */
export async function listenPeers(
  platform: Platform,
  address: Address,
  options: ListenOptions,
): Promise<{ readonly address: Address; close(): Promise<void> }> {
  const logger = new BoundedLog(platform.clock, platform.logger.for("wire"));
  const links = new Set<Link>();
  /** In the order in which they came. */
  const strangers = new Set<Link>();
  let saidMs = Number.NEGATIVE_INFINITY;
  const dropOldest = (): void => {
    const [oldest] = strangers;
    const reason = `${strangersMax} connections have not said hello yet`;
    const nowMs = platform.clock.nowMs();
    if (nowMs - saidMs >= helloTimeoutMs) {
      // One line for all that are ended in this time: there may be thousands.
      saidMs = nowMs;
      logger.warn("connections dropped, the oldest first", { remote: oldest!.remoteAddress, reason });
    }
    oldest!.close(reason);
  };
  const accept = (connection: Connection): void => {
    const link = new Link(connection, logger);
    links.add(link);
    strangers.add(link);
    const stranger = new Stranger(platform, logger, link, options, {
      onKnown: () => strangers.delete(link),
      onEnd: () => links.delete(link),
    });
    link.start(stranger);
    if (strangers.size > strangersMax) dropOldest();
  };
  const listener = await platform.network.listen(address, accept);
  return {
    address: listener.address,
    async close() {
      await listener.close();
      // The last answers (to who asked the server to stop, for one) leave first, unless somebody doesn't take them.
      const untilMs = platform.clock.nowMs() + farewellMs;
      while ([...links].some((link) => link.bufferedBytes > 0) && platform.clock.nowMs() < untilMs) {
        await sleep(platform.clock, farewellStepMs);
      }
      for (const link of [...links]) link.close("the server stops");
      logger.close();
    },
  };
}

interface StrangerEvents {
  /** Its hello is answered, or the connection has ended. */
  readonly onKnown: () => void;
  readonly onEnd: () => void;
}

/** The link's receiver until it has said hello, and while it reads that it is refused. */
class Stranger implements LinkReceiver {
  readonly #platform: Platform;
  readonly #logger: Logger;
  readonly #link: Link;
  readonly #options: ListenOptions;
  readonly #events: StrangerEvents;
  #timer: Timer;
  #known = false;
  #refused = false;

  constructor(platform: Platform, logger: Logger, link: Link, options: ListenOptions, events: StrangerEvents) {
    this.#platform = platform;
    this.#logger = logger;
    this.#link = link;
    this.#options = options;
    this.#events = events;
    this.#timer = platform.clock.startTimer(helloTimeoutMs, () => link.drop(`no hello within ${helloTimeoutMs} ms`));
  }

  onFrame(frame: Frame): void {
    if (this.#refused) return;
    try {
      this.#accept(frame);
    } catch (error) {
      if (!(error instanceof BrineError)) throw error;
      this.#refuse(frame, error);
    }
  }

  onDrain(): void {}

  onEnd(): void {
    this.#timer.cancel();
    this.#become();
    this.#events.onEnd();
  }

  #accept(frame: Frame): void {
    const request = readHello(frame);
    const identity = this.#options.identity();
    const response = this.#answer(request, identity);
    this.#timer.cancel();
    this.#become();
    const { peerId, role, description } = request;
    const remote = { address: this.#link.remoteAddress, peerId, role, description };
    const peer = new ConnectedPeer(this.#platform, this.#link, this.#options.service, remote, identity);
    this.#link.open(peer, peerId);
    peer.onClose(() => this.#events.onEnd());
    const header = { kind: kindResponse, requestId: frame.requestId, methodId: hello.id };
    const write = (writer: Parameters<typeof hello.response.write>[0]) => hello.response.write(writer, response);
    this.#link.send(this.#link.encode(header, write, undefined), undefined);
    this.#options.onPeer?.(peer);
  }

  #answer(request: HelloRequest, identity: ServerIdentity): HelloResponse {
    try {
      return acceptHello(request, identity);
    } catch (error) {
      if (hasCode(error, "wrongCluster")) this.#options.onForeign?.(request, this.#link.remoteAddress);
      throw error;
    }
  }

  /** Tells why and leaves it to the other side to end the connection: ended from here, the answer could be lost. */
  #refuse(frame: Frame, error: BrineError): void {
    this.#refused = true;
    this.#logger.warn("connection refused", {
      remote: this.#link.remoteAddress,
      code: error.code,
      reason: error.message,
    });
    const header = { kind: kindFailure, requestId: frame.requestId, methodId: hello.id };
    const told = failureOf(error, hello.name);
    this.#link.send(
      this.#link.encode(header, (writer) => failure.write(writer, told), undefined),
      undefined,
    );
    this.#timer.cancel();
    this.#timer = this.#platform.clock.startTimer(refusalTimeoutMs, () => this.#link.close("refused"));
  }

  #become(): void {
    if (this.#known) return;
    this.#known = true;
    this.#events.onKnown();
  }
}
