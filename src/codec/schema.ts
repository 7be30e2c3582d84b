/**
 * Codecs declared from one schema: the type and its bytes come from the same line of code.
 *
 *     const point = struct({ x: u32, y: u32, label: text(100) });
 *     type Point = Infer<typeof point>;            // { x: number; y: number; label: string }
 *     const bytes = encode(point, { x: 1, y: 2, label: "here" });
 *     const back = decode(point, bytes);
 */
import { CodecError, Reader, Writer } from "./buffers.ts";

export interface Codec<T> {
  write(writer: Writer, value: T): void;
  /** Throws CodecError on bytes that are not a T. */
  read(reader: Reader): T;
}

export type Infer<C> = C extends Codec<infer T> ? T : never;

export const u8: Codec<number> = { write: (w, v) => w.u8(v), read: (r) => r.u8() };
export const u16: Codec<number> = { write: (w, v) => w.u16(v), read: (r) => r.u16() };
export const u32: Codec<number> = { write: (w, v) => w.u32(v), read: (r) => r.u32() };
/** Whole numbers up to 2^53 − 1: ids, offsets, sizes. */
export const u64: Codec<number> = { write: (w, v) => w.u64(v), read: (r) => r.u64() };
/** The same with a bound of its own. */
export function upTo(max: number): Codec<number> {
  return { write: (w, v) => w.u64(checkedNumber(v, max)), read: (r) => checkedNumber(r.u64(), max) };
}
/** Signed 64 bits as bigint: times in nanoseconds. */
export const i64: Codec<bigint> = { write: (w, v) => w.i64(v), read: (r) => r.i64() };

export const boolean: Codec<boolean> = {
  write: (w, v) => w.u8(v ? 1 : 0),
  read: (r) => {
    const value = r.u8();
    if (value > 1) throw new CodecError(`${value} is not a boolean`);
    return value === 1;
  },
};

/** Bytes, at most `maxBytes`. Decoding copies, so that the value outlives the buffer it came in. */
export function bytes(maxBytes: number): Codec<Uint8Array> {
  return {
    write: (w, v) => {
      w.u32(checkedLength(v.byteLength, maxBytes));
      w.raw(v);
    },
    read: (r) => Buffer.from(r.raw(checkedLength(r.u32(), maxBytes))),
  };
}

/** A UTF-8 text, at most `maxBytes` encoded. For what people read: messages, addresses, volume names. */
export function text(maxBytes: number): Codec<string> {
  return {
    write: (w, v) => w.utf8(v, maxBytes),
    read: (r) => r.raw(checkedLength(r.u32(), maxBytes)).toString("utf8"),
  };
}

/** Bytes held as a string with one character (0–255) a byte: file names, symlink targets. */
export function byteString(maxBytes: number): Codec<string> {
  return {
    write: (w, v) => {
      w.u16(checkedLength(v.length, maxBytes));
      w.latin1(v);
    },
    read: (r) => r.latin1(checkedLength(r.u16(), maxBytes)),
  };
}

export function list<T>(item: Codec<T>, maxItems: number): Codec<T[]> {
  return {
    write: (w, v) => {
      w.u32(checkedLength(v.length, maxItems));
      for (const one of v) item.write(w, one);
    },
    read: (r) => readItems(r, item, checkedLength(r.u32(), maxItems)),
  };
}

/** The same with two bytes for the number of items, for what is nearly always empty. */
export function shortList<T>(item: Codec<T>, maxItems: number): Codec<T[]> {
  return {
    write: (w, v) => {
      w.u16(checkedLength(v.length, maxItems));
      for (const one of v) item.write(w, one);
    },
    read: (r) => readItems(r, item, checkedLength(r.u16(), maxItems)),
  };
}

function readItems<T>(reader: Reader, item: Codec<T>, count: number): T[] {
  // Every item takes at least one byte: a count above what is left is a lie, and would make us allocate for it.
  if (count > reader.remaining) throw new CodecError(`${count} items in ${reader.remaining} bytes`);
  const items: T[] = [];
  for (let index = 0; index < count; index++) items.push(item.read(reader));
  return items;
}

export function optional<T>(inner: Codec<T>): Codec<T | undefined> {
  return {
    write: (w, v) => {
      boolean.write(w, v !== undefined);
      if (v !== undefined) inner.write(w, v);
    },
    read: (r) => (boolean.read(r) ? inner.read(r) : undefined),
  };
}

/** One of a fixed set of words, a byte each, in the order given. New words go to the end. */
export function oneOf<const W extends string>(...words: readonly W[]): Codec<W> {
  const numbers = new Map(words.map((word, index) => [word, index]));
  return {
    write: (w, v) => {
      const number = numbers.get(v);
      if (number === undefined) throw new CodecError(`${v} is none of ${words.join(", ")}`);
      w.u8(number);
    },
    read: (r) => {
      const number = r.u8();
      const word = words[number];
      if (word === undefined) throw new CodecError(`${number} stands for none of ${words.join(", ")}`);
      return word;
    },
  };
}

type Fields = Readonly<Record<string, Codec<never>>>;
// biome-ignore lint/suspicious/noExplicitAny: a codec's type parameter is invariant; `any` lets fields differ
type AnyFields = Readonly<Record<string, Codec<any>>>;
type StructOf<F extends AnyFields> = { -readonly [K in keyof F]: Infer<F[K]> };

/** The fields in the order given, without tags: a change of fields is a new format version. */
export function struct<F extends AnyFields>(fields: F): Codec<StructOf<F>> {
  const names = Object.keys(fields);
  const codecs = Object.values(fields) as unknown as Fields[string][];
  // Straight-line code for each struct: one object shape, no loop over field names at run time.
  const parameters = codecs.map((_, index) => `c${index}`);
  const writeBody = names.map((name, index) => `c${index}.write(w, v[${JSON.stringify(name)}]);`).join("\n");
  const readBody = names.map((name, index) => `${JSON.stringify(name)}: c${index}.read(r)`).join(",\n");
  const compile = new Function(
    ...parameters,
    `return { write: (w, v) => { ${writeBody} }, read: (r) => ({ ${readBody} }) };`,
  );
  return compile(...codecs) as Codec<StructOf<F>>;
}

type UnionOf<V extends AnyFields> = { [K in keyof V]: { kind: K } & Infer<V[K]> }[keyof V];

/**
 * One of several structs, told apart by `kind`; a byte on the wire, given by the order. New kinds go to the end.
 *
 *     const shape = union({ circle: struct({ radius: u32 }), square: struct({ side: u32 }) });
 *     encode(shape, { kind: "circle", radius: 3 });
 */
export function union<V extends AnyFields>(variants: V): Codec<UnionOf<V>> {
  const kinds = Object.keys(variants);
  const numbers = new Map(kinds.map((kind, index) => [kind, index]));
  return {
    write: (w, v) => {
      const kind = (v as { kind: string }).kind;
      const number = numbers.get(kind);
      if (number === undefined) throw new CodecError(`${kind} is none of ${kinds.join(", ")}`);
      w.u8(number);
      (variants[kind] as Codec<unknown>).write(w, v);
    },
    read: (r) => {
      const number = r.u8();
      const kind = kinds[number];
      if (kind === undefined) throw new CodecError(`${number} stands for none of ${kinds.join(", ")}`);
      const value = (variants[kind] as Codec<object>).read(r);
      return Object.assign(value, { kind }) as unknown as UnionOf<V>;
    },
  };
}

/** The empty struct. */
export const nothing: Codec<Record<never, never>> = struct({});

const scratch = new Writer(4096);

/** The bytes of `value`, in a buffer of its own. */
export function encode<T>(codec: Codec<T>, value: T): Buffer {
  scratch.reset();
  codec.write(scratch, value);
  return scratch.finish();
}

/** The value of exactly these bytes. Throws CodecError if they are too few, too many or wrong. */
export function decode<T>(codec: Codec<T>, encoded: Uint8Array): T {
  const reader = new Reader(encoded);
  const value = codec.read(reader);
  reader.end();
  return value;
}

function checkedNumber(value: number, max: number): number {
  if (value > max) throw new CodecError(`${value} is above its bound ${max}`);
  return value;
}

function checkedLength(length: number, max: number): number {
  if (length > max) throw new CodecError(`length ${length} is above its bound ${max}`);
  return length;
}
