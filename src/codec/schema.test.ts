/** Every codec: what is written is read back; what is damaged is a CodecError or another value, never anything else. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CodecError, type Writer } from "./buffers.ts";
import * as schema from "./schema.ts";
import { type Codec, decode, encode } from "./schema.ts";

/** A codec, and the values that it can carry. */
interface Example {
  readonly name: string;
  readonly codec: Codec<unknown>;
  readonly values: fc.Arbitrary<unknown>;
}

const latin1 = fc.integer({ min: 0, max: 255 }).map((code) => String.fromCharCode(code));
const words = ["red", "green", "blue"] as const;

const leaves: Example[] = [
  example("u8", schema.u8, fc.integer({ min: 0, max: 255 })),
  example("u16", schema.u16, fc.integer({ min: 0, max: 65_535 })),
  example("u32", schema.u32, fc.integer({ min: 0, max: 0xffff_ffff })),
  example("u64", schema.u64, fc.maxSafeNat()),
  example("i64", schema.i64, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  example("boolean", schema.boolean, fc.boolean()),
  example(
    "bytes",
    schema.bytes(40),
    fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value)),
  ),
  example("text", schema.text(120), fc.string({ unit: "binary", maxLength: 30 })),
  example("byteString", schema.byteString(60), fc.string({ unit: latin1, maxLength: 60 })),
  example("oneOf", schema.oneOf(...words), fc.constantFrom(...words)),
  example("nothing", schema.nothing, fc.constant({})),
];

/** The same leaves inside everything that combines codecs. */
const combined: Example[] = leaves.flatMap(({ name, codec, values }) => {
  const listed = fc.array(values, { maxLength: 4 });
  const record = (fields: Record<string, fc.Arbitrary<unknown>>) => fc.record(fields, { noNullPrototype: true });
  const unions = schema.union({
    one: schema.struct({ inner: codec }),
    two: schema.struct({ "odd name": schema.u8 }),
  });
  const all = [
    example(`optional ${name}`, schema.optional(codec), fc.option(values, { nil: undefined })),
    example(
      `struct of ${name}`,
      schema.struct({ first: codec, second: schema.optional(codec), third: schema.u16 }),
      record({ first: values, second: fc.option(values, { nil: undefined }), third: fc.nat(65_535) }),
    ),
    example(
      `union of ${name}`,
      unions,
      fc.oneof(
        record({ kind: fc.constant("one"), inner: values }),
        record({ kind: fc.constant("two"), "odd name": fc.nat(255) }),
      ),
    ),
  ];
  // Items take at least one byte each: a list of nothings has no use, and is refused.
  if (name !== "nothing") all.push(example(`list of ${name}`, schema.list(codec, 4), listed));
  return all;
});

for (const { name, codec, values } of [...leaves, ...combined]) {
  test(`${name}: round trip`, () => {
    fc.assert(fc.property(values, (value) => assert.deepEqual(decode(codec, encode(codec, value)), value)));
  });

  test(`${name}: cut off or followed by more, it is a CodecError`, () => {
    fc.assert(
      fc.property(values, fc.nat(), (value, where) => {
        const encoded = encode(codec, value);
        assert.throws(() => decode(codec, Buffer.concat([encoded, Buffer.of(0)])), CodecError);
        if (encoded.byteLength === 0) return;
        assert.throws(() => decode(codec, encoded.subarray(0, where % encoded.byteLength)), CodecError);
      }),
    );
  });

  test(`${name}: damaged or made up, it is a CodecError or a value`, () => {
    const damaged = fc.tuple(values, fc.nat(), fc.integer({ min: 1, max: 255 })).map(([value, where, change]) => {
      const encoded = encode(codec, value);
      if (encoded.byteLength > 0) encoded[where % encoded.byteLength]! ^= change;
      return encoded;
    });
    fc.assert(fc.property(fc.oneof(damaged, fc.uint8Array({ maxLength: 100 })), (input) => decodes(codec, input)));
  });
}

function decodes(codec: Codec<unknown>, input: Uint8Array): void {
  try {
    decode(codec, input);
  } catch (error) {
    assert.ok(error instanceof CodecError, String(error));
  }
}

test("the values at the ends of each range", () => {
  for (const [codec, values] of [
    [schema.u8, [0, 255]],
    [schema.u16, [0, 65_535]],
    [schema.u32, [0, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff]],
    [schema.u64, [0, 2 ** 32 - 1, 2 ** 32, Number.MAX_SAFE_INTEGER]],
    [schema.i64, [-(2n ** 63n), -1n, 0n, 2n ** 63n - 1n]],
  ] as [Codec<unknown>, unknown[]][]) {
    for (const value of values) assert.equal(decode(codec, encode(codec, value)), value);
  }
});

test("values outside their codec are refused, not cut", () => {
  const refused: [{ write(writer: Writer, value: never): void }, unknown][] = [
    [schema.u8, 256],
    [schema.u8, -1],
    [schema.u8, 1.5],
    [schema.u16, 65_536],
    [schema.u32, 2 ** 32],
    [schema.u32, -1],
    [schema.u32, Number.NaN],
    [schema.u64, 2 ** 53],
    [schema.u64, -1],
    [schema.i64, 2n ** 63n],
    [schema.i64, -(2n ** 63n) - 1n],
    [schema.bytes(3), new Uint8Array(4)],
    [schema.text(3), "abcd"],
    [schema.text(3), "éé"],
    [schema.byteString(3), "abcd"],
    [schema.byteString(100), "Ā"],
    [schema.byteString(100), `${"a".repeat(50)}Ā`],
    [schema.list(schema.u8, 1), [1, 2]],
    [schema.oneOf("a", "b"), "c"],
    [schema.union({ a: schema.nothing }), { kind: "b" }],
  ];
  for (const [codec, value] of refused) {
    assert.throws(() => encode(codec as Codec<unknown>, value), CodecError, String(value));
  }
  // A refused value leaves nothing behind in the writer that encode shares.
  assert.deepEqual([...encode(schema.u8, 7)], [7]);
});

test("lengths that lie are refused before there is space for them", () => {
  const giant = Buffer.alloc(12, 0xff);
  const count = Buffer.alloc(12);
  count.writeUInt32LE(4_000_000);
  for (const codec of [
    schema.bytes(0xffff_ffff),
    schema.text(0xffff_ffff),
    schema.byteString(65_535),
    schema.list(schema.u64, 0xffff_ffff),
  ]) {
    assert.throws(() => decode(codec as Codec<unknown>, giant), CodecError);
  }
  assert.throws(() => decode(schema.list(schema.u64, 4_000_000), count), /4000000 items in 8 bytes/);
});

test("decoded bytes and texts outlive the buffer that they came in", () => {
  const codec = schema.struct({ data: schema.bytes(10), label: schema.text(10), name: schema.byteString(10) });
  const encoded = encode(codec, { data: Buffer.from("abc"), label: "déf", name: "ghi" });
  const decoded = decode(codec, encoded);
  encoded.fill(0xee);
  assert.deepEqual(decoded, { data: Buffer.from("abc"), label: "déf", name: "ghi" });
});

function example<T>(name: string, codec: Codec<T>, values: fc.Arbitrary<T>): Example {
  return { name, codec: codec as Codec<unknown>, values };
}
