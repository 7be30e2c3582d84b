/** A method of the protocol: its number on the wire, and the codecs of its request and response. */
import type { Codec } from "../codec/schema.ts";

export interface Method<Q, R> {
  readonly id: number;
  /** `part.verb`, for logs and `brine waits`. */
  readonly name: string;
  readonly request: Codec<Q>;
  readonly response: Codec<R>;
}

/** Bytes that follow a request or response as they are, apart from its body: file data. */
export type Payload = readonly Uint8Array[];

/** Ids are never used again for something else: an old peer must not take a new message for an old one. */
export function method<Q, R>(id: number, name: string, request: Codec<Q>, response: Codec<R>): Method<Q, R> {
  return { id, name, request, response };
}
