/**
 * A connection that speaks frames: what lies under a peer and under the handshake that comes before it.
 *
 * A link has one receiver at a time: first the handshake's, which then hands the link over to the peer. Bytes that are
 * no frame, and frames that the receiver objects to (CodecError), end the link with exactly one log line.
 */
import { CodecError, Writer } from "../codec/buffers.ts";
import { Counter } from "../metrics/metrics.ts";
import type { Logger } from "../platform/logger.ts";
import type { Connection } from "../platform/network.ts";
import {
  bodyBytesMax,
  type FrameHeader,
  type FrameLimits,
  helloBytesMax,
  payloadBytesMax,
  payloadBytesOf,
  writeFrame,
} from "./frame.ts";
import { type Frame, FrameParser } from "./frame-parser.ts";

/** protocol: the other side broke it. closed: any other end. */
export type EndCode = "closed" | "protocol";

export interface LinkReceiver {
  /** Throws CodecError if the frame can't come from a correct peer: the link then ends. */
  onFrame(frame: Frame): void;
  /** The link takes bulk again, after `writable` was false. */
  onDrain(): void;
  /** Once, at the end, with the reason. Called within `close` and `drop` too. */
  onEnd(reason: string, code: EndCode): void;
}

/** Frames of the whole process are made here, several to an allocation: they live until the kernel has them. */
const frames = new Writer(64 * 1024);

export class Link {
  readonly remoteAddress: string;
  readonly localAddress: string;
  /** Where the bytes are counted; those of the handshake aren't. */
  traffic = { sent: new Counter(), received: new Counter() };
  readonly #connection: Connection;
  readonly #logger: Logger;
  readonly #limits: FrameLimits = { bodyBytesMax: helloBytesMax, payloadBytesMax: 0 };
  readonly #parser: FrameParser;
  #receiver: LinkReceiver | undefined;
  #closeReason: string | undefined;
  #writable = true;
  /** Who it is, for log lines; known after the hello. */
  #peerName: string | undefined;

  constructor(connection: Connection, logger: Logger) {
    this.remoteAddress = connection.remoteAddress;
    this.localAddress = connection.localAddress;
    this.#connection = connection;
    this.#logger = logger;
    this.#parser = new FrameParser(this.#limits, (frame) => {
      this.#receiver!.onFrame(frame);
      return this.#closeReason === undefined;
    });
  }

  /** Starts the connection: in the same turn in which it was received. */
  start(receiver: LinkReceiver): void {
    this.#receiver = receiver;
    this.#connection.start({
      onData: (bytes) => this.#received(bytes),
      target: () => (this.closed ? undefined : this.#parser.target()),
      onDrain: () => this.#drained(),
      onClose: (reason) => this.#end(reason, "closed"),
    });
  }

  /** The handshake is done: from the next frame on, all go to `receiver`, and frames may have their full size. */
  open(receiver: LinkReceiver, peerName: string): void {
    this.#receiver = receiver;
    this.#peerName = peerName;
    this.#limits.bodyBytesMax = bodyBytesMax;
    this.#limits.payloadBytesMax = payloadBytesMax;
  }

  get closed(): boolean {
    return this.#closeReason !== undefined;
  }

  /** False while more waits to be sent than the connection wants: bulk should wait for onDrain. */
  get writable(): boolean {
    return this.#writable;
  }

  /** Bytes handed to the connection that have not left this process. */
  get bufferedBytes(): number {
    return this.#connection.bufferedBytes;
  }

  /** The bytes of header and body. Throws CodecError if the body doesn't fit its codec or the bounds of a frame. */
  encode(header: FrameHeader, writeBody: (writer: Writer) => void, payload: readonly Uint8Array[] | undefined): Buffer {
    writeFrame(frames, header, writeBody, payloadBytesOf(payload));
    return frames.take();
  }

  /** Sends a frame made by `encode`. Dropped silently if the link has ended. @param sent see Connection.send */
  send(head: Uint8Array, payload: readonly Uint8Array[] | undefined, sent?: () => void): void {
    if (this.closed) return;
    this.traffic.sent.add(head.byteLength + payloadBytesOf(payload));
    const buffers = payload === undefined || payload.length === 0 ? [head] : [head, ...payload];
    if (!this.#connection.send(buffers, sent)) this.#writable = false;
  }

  /** Ends the link because the other side breaks the protocol. Writes the one log line. */
  drop(reason: string): void {
    if (this.closed) return;
    this.#logger.warn("connection dropped", { remote: this.remoteAddress, peer: this.#peerName, reason });
    this.#end(reason, "protocol");
    this.#connection.destroy();
  }

  /** Ends the link; unsent bytes are lost. Idempotent. */
  close(reason: string): void {
    if (this.closed) return;
    this.#end(reason, "closed");
    this.#connection.destroy();
  }

  #received(bytes: Uint8Array): void {
    if (this.closed) return;
    this.traffic.received.add(bytes.byteLength);
    try {
      this.#parser.push(bytes);
    } catch (error) {
      if (error instanceof CodecError) this.drop(error.message);
      else this.#failed(error);
    }
  }

  /** A defect here, not of the peer. It costs this connection, never the process. */
  #failed(error: unknown): void {
    const stack = error instanceof Error ? error.stack : String(error);
    this.#logger.error("connection failed", { remote: this.remoteAddress, peer: this.#peerName, error: stack });
    this.close("internal error");
  }

  #drained(): void {
    this.#writable = true;
    if (!this.closed) this.#receiver!.onDrain();
  }

  #end(reason: string, code: EndCode): void {
    if (this.closed) return;
    this.#closeReason = reason;
    this.#receiver?.onEnd(reason, code);
  }
}
