/** placeholder contract, replaced by its implementation */
import type { Method, Payload } from "./method.ts";

export interface Reply<R> {
  readonly body: R;
  /** The payload in one piece, the caller's to keep; empty if there was none. */
  readonly payload: Uint8Array;
}

export interface RequestOptions {
  readonly payload?: Payload;
  /** After it the request fails with BrineError timedOut. Required: every wait has a deadline. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Answers a request. A returned payload is sent after the body. Throw BrineError or FileError to fail it. */
export type Handler<Q, R> = (
  body: Q,
  payload: Uint8Array,
  peer: Peer,
) => Promise<R | { body: R; payload: Payload }> | R | { body: R; payload: Payload };

/** One connection after its handshake. Both ends can send requests. */
export interface Peer {
  readonly remote: { readonly address: string; readonly peerId: string; readonly role: string; readonly description: string };
  request<Q, R>(method: Method<Q, R>, body: Q, options: RequestOptions): Promise<Reply<R>>;
  readonly closed: boolean;
  /** Called once when the connection has ended, with the reason; at once if it has ended already. */
  onClose(callback: (reason: string) => void): void;
  close(reason: string): void;
}
