/**
 * Takes the chunks of a byte stream and gives the frames in them, with as few copies as can be.
 *
 * A chunk is valid only while it is being pushed. A header and body that lie in one chunk are not copied: the receiver
 * decodes them at once. Those that continue in the next chunk are gathered in a buffer of their own. A payload is
 * copied once, into the buffer that its receiver keeps, piece by piece as chunks bring it; what is still to come of a large
 * one is not copied at all, if whoever pushes has the next chunk written where `target` says.
 *
 *     header (24 bytes) -> limits -> body -> crc -> payload -> onFrame -> header …
 *
 * Nothing is allocated for a length before it was compared with its limit, and nothing for a payload before the crc
 * over its length was right.
 */
import { CodecError } from "../codec/buffers.ts";
import { crc32c } from "./crc32c.ts";
import { type FrameLimits, headerBytes, kindOffset, kindRequest, kindTimedResponse } from "./frame.ts";
import { requestPayloads, responsePayloads } from "./payload-pool.ts";

export interface Frame {
  readonly kind: number;
  readonly requestId: number;
  readonly methodId: number;
  /** Valid only during the call of onFrame. */
  readonly body: Uint8Array;
  /** The receiver's to keep, or to give back to its pool: see payload-pool.ts. */
  readonly payload: Uint8Array;
}

const noBytes: Uint8Array = new Uint8Array(0);
/** Below, copying is cheaper than a system call of its own. */
const targetBytesMin = 64 * 1024;

export class FrameParser {
  readonly #limits: FrameLimits;
  readonly #onFrame: (frame: Frame) => boolean;

  /** The first bytes of a header that ended with its chunk. */
  readonly #header = new Uint8Array(headerBytes);
  #headerFilled = 0;
  /** Header and body that didn't come in one chunk. */
  #head: Uint8Array | undefined;
  #headFilled = 0;
  /** Set while a payload is being filled; then #kept is its frame's header and body. */
  #payload: Uint8Array | undefined;
  #payloadFilled = 0;
  #kept: Uint8Array = noBytes;

  /**
   * @param limits looked at for each frame: the owner may change them
   * @param onFrame returns false when it wants no more frames, not even those in the same chunk
   */
  constructor(limits: FrameLimits, onFrame: (frame: Frame) => boolean) {
    this.#limits = limits;
    this.#onFrame = onFrame;
  }

  /** Where the next bytes are to go in the end, if these are many. A chunk that is written there is pushed as any other. */
  target(): Uint8Array | undefined {
    const payload = this.#payload;
    if (payload === undefined || payload.byteLength - this.#payloadFilled < targetBytesMin) return undefined;
    return payload.subarray(this.#payloadFilled);
  }

  /** Throws CodecError on bytes that are no frame; the parser can't be used after that. */
  push(chunk: Uint8Array): void {
    let position = 0;
    while (position < chunk.byteLength) {
      const next = this.#advance(chunk, position);
      if (next < 0) return;
      position = next;
    }
  }

  /** Consumes what the present state can use; returns the position after it, or −1 to stop. */
  #advance(chunk: Uint8Array, position: number): number {
    if (this.#payload !== undefined) return this.#fillPayload(this.#payload, chunk, position);
    if (this.#head !== undefined) return this.#fillHead(this.#head, chunk, position);
    if (this.#headerFilled > 0 || chunk.byteLength - position < headerBytes) return this.#fillHeader(chunk, position);

    const bodyBytes = this.#checkLengths(chunk, position);
    const end = position + headerBytes + bodyBytes;
    if (end <= chunk.byteLength) return this.#headComplete(chunk, position, end, chunk, end);
    this.#head = new Uint8Array(headerBytes + bodyBytes);
    this.#headFilled = 0;
    return position;
  }

  #fillHeader(chunk: Uint8Array, position: number): number {
    const count = Math.min(headerBytes - this.#headerFilled, chunk.byteLength - position);
    this.#header.set(chunk.subarray(position, position + count), this.#headerFilled);
    this.#headerFilled += count;
    const next = position + count;
    if (this.#headerFilled < headerBytes) return next;
    const bodyBytes = this.#checkLengths(this.#header, 0);
    this.#headerFilled = 0;
    const head = new Uint8Array(headerBytes + bodyBytes);
    head.set(this.#header);
    if (bodyBytes === 0) return this.#headComplete(head, 0, headerBytes, chunk, next);
    this.#head = head;
    this.#headFilled = headerBytes;
    return next;
  }

  #fillHead(head: Uint8Array, chunk: Uint8Array, position: number): number {
    const count = Math.min(head.byteLength - this.#headFilled, chunk.byteLength - position);
    head.set(chunk.subarray(position, position + count), this.#headFilled);
    this.#headFilled += count;
    const next = position + count;
    if (this.#headFilled < head.byteLength) return next;
    this.#head = undefined;
    return this.#headComplete(head, 0, head.byteLength, chunk, next);
  }

  #fillPayload(payload: Uint8Array, chunk: Uint8Array, position: number): number {
    const count = Math.min(payload.byteLength - this.#payloadFilled, chunk.byteLength - position);
    const isThere = chunk.buffer === payload.buffer;
    if (!isThere) payload.set(chunk.subarray(position, position + count), this.#payloadFilled);
    this.#payloadFilled += count;
    const next = position + count;
    if (this.#payloadFilled < payload.byteLength) return next;
    const head = this.#kept;
    this.#payload = undefined;
    this.#kept = noBytes;
    return this.#deliver(head, 0, head.byteLength, payload) ? next : -1;
  }

  /** Header and body are whole, from `start` to `end` in `bytes`; what follows them begins at `next` in `chunk`. */
  #headComplete(bytes: Uint8Array, start: number, end: number, chunk: Uint8Array, next: number): number {
    const expected = readU32(bytes, start);
    const found = crc32c(bytes, start + 4, end);
    if (found !== expected) throw new CodecError("checksum of header and body is wrong");
    const payloadBytes = readU32(bytes, start + 4) - (end - start);
    if (payloadBytes === 0) return this.#deliver(bytes, start, end, noBytes) ? next : -1;
    const isRequest = bytes[start + kindOffset] === kindRequest;
    const payload = (isRequest ? requestPayloads : responsePayloads).take(payloadBytes);
    if (next + payloadBytes <= chunk.byteLength) {
      payload.set(chunk.subarray(next, next + payloadBytes));
      return this.#deliver(bytes, start, end, payload) ? next + payloadBytes : -1;
    }
    this.#payload = payload;
    this.#payloadFilled = 0;
    // The body has to outlive its chunk; gathered ones do already.
    this.#kept = bytes === chunk ? Buffer.from(bytes.subarray(start, end)) : bytes;
    return next;
  }

  #deliver(bytes: Uint8Array, start: number, end: number, payload: Uint8Array): boolean {
    const kind = bytes[start + kindOffset]!;
    if (kind > kindTimedResponse || bytes[start + 23] !== 0) throw new CodecError(`kind ${kind} of a frame`);
    const idHigh = readU32(bytes, start + 16);
    if (idHigh > 0x1f_ffff) throw new CodecError("request id above 2^53");
    return this.#onFrame({
      kind,
      requestId: idHigh * 0x1_0000_0000 + readU32(bytes, start + 12),
      methodId: bytes[start + 20]! | (bytes[start + 21]! << 8),
      body: bytes.subarray(start + headerBytes, end),
      payload,
    });
  }

  /** Compares the lengths in the header at `position` with the limits; returns the body's. */
  #checkLengths(bytes: Uint8Array, position: number): number {
    const frameBytes = readU32(bytes, position + 4);
    const bodyBytes = readU32(bytes, position + 8);
    const payloadBytes = frameBytes - headerBytes - bodyBytes;
    if (bodyBytes > this.#limits.bodyBytesMax) {
      throw new CodecError(`a body of ${bodyBytes} bytes, at most ${this.#limits.bodyBytesMax} are accepted`);
    }
    if (payloadBytes < 0) throw new CodecError(`a frame of ${frameBytes} bytes with a body of ${bodyBytes}`);
    if (payloadBytes > this.#limits.payloadBytesMax) {
      throw new CodecError(`a payload of ${payloadBytes} bytes, at most ${this.#limits.payloadBytesMax} are accepted`);
    }
    return bodyBytes;
  }
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}
