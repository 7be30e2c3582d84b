/** Frames through the parser: cut anywhere, damaged anywhere, and plain rubbish. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CodecError, Writer } from "../codec/buffers.ts";
import { bodyBytesMax, headerBytes, payloadBytesMax, writeFrame } from "./frame.ts";
import { FrameParser } from "./frame-parser.ts";

interface Message {
  kind: number;
  requestId: number;
  methodId: number;
  body: Uint8Array;
  payload: Uint8Array;
}

const limits = { bodyBytesMax, payloadBytesMax };

const message: fc.Arbitrary<Message> = fc.record(
  {
    kind: fc.integer({ min: 0, max: 2 }),
    requestId: fc.maxSafeNat(),
    methodId: fc.integer({ min: 0, max: 65_535 }),
    body: fc.uint8Array({ maxLength: 300 }),
    payload: fc.uint8Array({ maxLength: 300 }),
  },
  { noNullPrototype: true },
);

function bytesOf({ body, payload, ...header }: Message): Buffer {
  const head = writeFrame(new Writer(), header, (writer) => writer.raw(body), payload.byteLength);
  return Buffer.concat([head, payload]);
}

/** Pushes in pieces, each in a buffer that is overwritten afterwards. */
function parse(stream: Uint8Array, pieces: readonly number[]): Message[] {
  const found: Message[] = [];
  const parser = new FrameParser(limits, (frame) => {
    found.push({ ...frame, body: new Uint8Array(frame.body), payload: frame.payload });
    return true;
  });
  let at = 0;
  for (let piece = 0; at < stream.byteLength; piece++) {
    const size = pieces.length === 0 ? stream.byteLength : pieces[piece % pieces.length]!;
    const chunk = Uint8Array.from(stream.subarray(at, at + size));
    parser.push(chunk);
    chunk.fill(0xee);
    at += size;
  }
  return found.map((one) => ({ ...one, payload: new Uint8Array(one.payload) }));
}

test("frames are the same however the stream is cut", () => {
  const pieces = fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 5 });
  fc.assert(
    fc.property(fc.array(message, { maxLength: 8 }), pieces, (messages, sizes) => {
      assert.deepEqual(parse(Buffer.concat(messages.map(bytesOf)), sizes), messages);
    }),
  );
});

test("bytes that are received where they are to go in the end make the same frames", () => {
  const large = (requestId: number, byteCount: number) => {
    const payload = new Uint8Array(byteCount).map((_, index) => index * 7 + requestId);
    return { kind: 1, requestId, methodId: 9, body: new Uint8Array([1, 2, 3]), payload };
  };
  const messages = [large(1, 70_000), large(2, 5), large(3, 300_000), large(4, 1 << 18), large(5, 64 * 1024)];
  const stream = Buffer.concat(messages.map(bytesOf));
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 100_000 }), { minLength: 1, maxLength: 9 }), (sizes) => {
      const frames: Message[] = [];
      const parser = new FrameParser(limits, ({ body, payload, kind, requestId, methodId }) => {
        frames.push({ kind, requestId, methodId, body: Uint8Array.from(body), payload });
        return true;
      });
      let targets = 0;
      for (let at = 0, turn = 0; at < stream.byteLength; turn++) {
        const target = parser.target();
        if (target !== undefined) targets += 1;
        const chunk = (target ?? new Uint8Array(150_000)).subarray(0, sizes[turn % sizes.length]!);
        const count = stream.copy(chunk, 0, at);
        parser.push(chunk.subarray(0, count));
        at += count;
      }
      assert.ok(targets > 0);
      assert.deepEqual(
        frames.map(({ payload, ...rest }) => ({ ...rest, payload: Uint8Array.from(payload) })),
        messages,
      );
    }),
    { numRuns: 50 },
  );
});

test("a damaged bit in header or body never passes for a frame", () => {
  const piece = fc.integer({ min: 1, max: 400 });
  fc.assert(
    fc.property(message, message, fc.nat(), piece, (damaged, next, where, size) => {
      const stream = Buffer.concat([bytesOf(damaged), bytesOf(next)]);
      const bit = where % ((headerBytes + damaged.body.byteLength) * 8);
      stream[bit >> 3]! ^= 1 << (bit & 7);
      // A length that grew waits for bytes that may never come: the hello's or the request's deadline ends that.
      try {
        assert.deepEqual(parse(stream, [size]), []);
      } catch (error) {
        assert.ok(error instanceof CodecError, String(error));
      }
    }),
    { numRuns: 300 },
  );
});

test("rubbish is a CodecError or waits for more; nothing else", () => {
  const pieces = fc.array(fc.integer({ min: 1, max: 400 }), { maxLength: 3 });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 2000 }), pieces, (rubbish, sizes) => {
      try {
        assert.deepEqual(parse(rubbish, sizes), []);
      } catch (error) {
        assert.ok(error instanceof CodecError, String(error));
      }
    }),
    { numRuns: 500 },
  );
});

test("lengths are refused with the header, before there is a byte of what they promise", () => {
  const header = (frameBytes: number, bodyBytes: number) => {
    const bytes = Buffer.alloc(headerBytes);
    bytes.writeUInt32LE(frameBytes, 4);
    bytes.writeUInt32LE(bodyBytes, 8);
    return bytes;
  };
  for (const [frameBytes, bodyBytes, reason] of [
    [0xffff_ffff, 0, /payload of 4294967271 bytes/],
    [0xffff_ffff, 0xffff_ff00, /body of 4294967040 bytes/],
    [headerBytes + bodyBytesMax + 1, bodyBytesMax + 1, /body of/],
    [headerBytes + payloadBytesMax + 1, 0, /payload of/],
    [headerBytes + 10, 11, /a frame of 34 bytes with a body of 11/],
    [0, 0, /a frame of 0 bytes/],
  ] as const) {
    for (const size of [headerBytes, 5]) assert.throws(() => parse(header(frameBytes, bodyBytes), [size]), reason);
  }
  // A payload within the limit is given space only when the checksum says that its length is meant.
  const wrong = header(headerBytes + payloadBytesMax, 0);
  assert.throws(() => parse(wrong, []), /checksum/);
});

test("a receiver that has enough gets no more frames of the same chunk", () => {
  const frame = bytesOf({ kind: 0, requestId: 1, methodId: 1, body: new Uint8Array(2), payload: new Uint8Array(2) });
  let count = 0;
  const parser = new FrameParser(limits, () => {
    count += 1;
    return false;
  });
  parser.push(Buffer.concat([frame, frame]));
  assert.equal(count, 1);
});
