/**
 * Frames: how messages lie in the byte stream of a connection. All integers are little-endian.
 *
 *     0      4       8      12         20       22     23   24
 *     +------+-------+------+----------+--------+------+----+------------+--------------------+
 *     | crc  | frame | body | request  | method | kind | 0  | body       | payload            |
 *     |      | bytes | bytes| id       | id     |      |    |            |                    |
 *     +------+-------+------+----------+--------+------+----+------------+--------------------+
 *            \_______________ covered by the crc ___________/            (own checksums in the body)
 *
 * `frame bytes` counts everything from the crc to the payload's end. The crc comes first so that what it covers is one
 * piece. It is checked before anything is believed but the two lengths, and those have bounds.
 */
import { CodecError, type Writer } from "../codec/buffers.ts";
import { crc32c } from "./crc32c.ts";

export const headerBytes = 24;
/** Where the kind is in a header. */
export const kindOffset = 22;

/** For the few messages that speak of everything at once: holdings after a reconnect, the status of a cluster. */
export const bodyBytesMax = 16 * 1024 * 1024;

/** A whole chunk is the most that one message carries; the rest is slack for what may come with it. */
export const payloadBytesMax = 4 * 1024 * 1024 + 64 * 1024;

/** Before the hello the other side is a stranger: it gets what a hello needs (its longest is below 9 KiB), no more. */
export const helloBytesMax = 16 * 1024;

export const kindRequest = 0;
export const kindResponse = 1;
export const kindFailure = 2;
/** A response whose body has `timeBytes` in front: how long the request was worked on. All but the hello's. */
export const kindTimedResponse = 3;
/** Two u32 of microseconds: from the request's arrival to its answer; the part of it in which it waited for the disk. */
export const timeBytes = 8;

/** What a header says beside the lengths. */
export interface FrameHeader {
  readonly kind: number;
  readonly requestId: number;
  readonly methodId: number;
}

/** What a connection accepts at the moment. */
export interface FrameLimits {
  bodyBytesMax: number;
  payloadBytesMax: number;
}

/**
 * Makes header and body in `writer` (reset before), with the body that `writeBody` writes.
 * Returns the bytes to send, valid until the writer's next use. Throws CodecError if the body is too long.
 */
export function writeFrame(
  writer: Writer,
  header: FrameHeader,
  writeBody: (writer: Writer) => void,
  payloadBytes: number,
): Buffer {
  writer.reset();
  writer.u32(0);
  writer.u32(0);
  writer.u32(0);
  writer.u64(header.requestId);
  writer.u16(header.methodId);
  writer.u8(header.kind);
  writer.u8(0);
  writeBody(writer);
  const length = writer.length;
  if (length - headerBytes > bodyBytesMax) throw new CodecError(`a body of ${length - headerBytes} bytes`);
  if (payloadBytes > payloadBytesMax) throw new CodecError(`a payload of ${payloadBytes} bytes`);
  writer.patchU32(4, length + payloadBytes);
  writer.patchU32(8, length - headerBytes);
  const frame = writer.view();
  writer.patchU32(0, crc32c(frame, 4, length));
  return frame;
}

export function payloadBytesOf(payload: readonly Uint8Array[] | undefined): number {
  let total = 0;
  if (payload !== undefined) for (const buffer of payload) total += buffer.byteLength;
  return total;
}
