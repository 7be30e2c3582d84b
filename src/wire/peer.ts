/** What the rest of brinefs sees of a connection: requests in both directions. Made by connectPeer and listenPeers. */
import type { Method, Payload } from "./method.ts";

export interface Reply<R> {
  readonly body: R;
  /** The payload in one piece, the caller's to keep; empty if there was none. */
  readonly payload: Uint8Array;
}

export interface RequestOptions {
  /**
   * Sent as it is, without a copy. The buffers must not change until the request is answered; those of a request that
   * failed with timedOut or by its signal may still be on their way, and are not to be used again.
   */
  readonly payload?: Payload;
  /** After it the request fails with BrineError timedOut. Required: every wait has a deadline. */
  readonly timeoutMs: number;
  /** Fails the request with the signal's reason. The other side is not told, and may execute it all the same. */
  readonly signal?: AbortSignal;
  /**
   * Doesn't wait for its turn behind other requests. Only for few and small ones, on which others wait: heartbeats, the
   * giving back of leases.
   */
  readonly urgent?: boolean;
}

/** What a handler may say of its work on one request. */
export interface Work {
  /** Of the time until the answer: so long it waited for the disk. */
  diskMs: number;
}

/** Answers a request. A returned payload is sent after the body. Throw BrineError or FileError to fail it. */
export type Handler<Q, R> = (
  body: Q,
  payload: Uint8Array,
  peer: Peer,
  work: Work,
) => Promise<R | { body: R; payload: Payload }> | R | { body: R; payload: Payload };

/** One connection after its handshake. Both ends can send requests. */
export interface Peer {
  readonly remote: {
    readonly address: string;
    /** Client or server id; the server's on the side that connected. */
    readonly peerId: string;
    /** The Role that it said in its hello; "server" for a peer that we connected to ourselves. */
    readonly role: string;
    readonly description: string;
  };
  /** Of the connection, as this machine sees it. */
  readonly localAddress: string;
  /**
   * Sends a request. The body is encoded within the call.
   * Errors: what the handler threw (BrineError, FileError), and BrineError timedOut; closed (executed or not, nobody
   * knows); busy (far too many wait); protocol (an answer that can't be read); CodecError if the body is beyond its
   * codec's bounds.
   */
  request<Q, R>(method: Method<Q, R>, body: Q, options: RequestOptions): Promise<Reply<R>>;
  readonly closed: boolean;
  /** Called once when the connection has ended, with the reason (closedByPeer for one); at once if it has ended already. */
  onClose(callback: (reason: string) => void): void;
  close(reason: string): void;
}
