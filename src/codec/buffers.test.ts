/** The writer's pieces: copied, lent, handed over. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CodecError, Reader, Writer } from "./buffers.ts";

test("pieces that were taken stay as they were, whatever is written after them", () => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 200 }), { maxLength: 30 });
  fc.assert(
    fc.property(pieces, fc.integer({ min: 1, max: 300 }), (contents, initialBytes) => {
      const writer = new Writer(initialBytes);
      const taken = contents.map((content) => {
        writer.u32(0);
        writer.raw(content);
        writer.patchU32(0, content.byteLength);
        return writer.take();
      });
      for (const [index, content] of contents.entries()) {
        const reader = new Reader(taken[index]!);
        assert.equal(reader.u32(), content.byteLength);
        assert.deepEqual(new Uint8Array(reader.raw(content.byteLength)), content);
        reader.end();
      }
    }),
  );
});

test("a reset begins the piece again, not the ones that were taken", () => {
  const writer = new Writer(64);
  writer.u8(1);
  const first = writer.take();
  writer.u8(2);
  writer.reset();
  assert.equal(writer.length, 0);
  writer.u8(3);
  assert.deepEqual([...first, ...writer.finish(), ...writer.view()], [1, 3, 3]);
});

test("an allocation that grew for one large piece is not kept", () => {
  const writer = new Writer(64);
  writer.raw(new Uint8Array(100_000));
  writer.take();
  writer.u8(1);
  assert.equal(writer.view().buffer.byteLength, 64);
});

test("the reader takes from any view, and says what is missing", () => {
  const reader = new Reader(new Uint8Array([9, 1, 2, 3]).subarray(1));
  assert.equal(reader.u16(), 0x0201);
  assert.deepEqual([reader.position, reader.remaining], [2, 1]);
  assert.throws(() => reader.u32(), new CodecError("4 bytes wanted, 1 left"));
  assert.equal(reader.u8(), 3);
  reader.end();
});
