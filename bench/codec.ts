/**
 * How fast records become bytes and back.
 *
 *     node bench/codec.ts
 *
 * An inode's attributes (thirteen fields, four of them times as bigint), and a transaction that creates a file.
 */
import { performance } from "node:perf_hooks";
import { Reader, Writer } from "../src/codec/buffers.ts";
import { type Codec, encode } from "../src/codec/schema.ts";
import { type Attributes, attributes } from "../src/namespace/model.ts";
import { type Transaction, transaction } from "../src/namespace/operation.ts";

const count = 200_000;
const rounds = 10;

const nowNs = 1_777_000_000_123_456_789n;

measure(
  "attributes",
  attributes,
  (index): Attributes => ({
    inode: 2 ** 40 + index,
    type: "file",
    mode: 0o644,
    uid: 1000,
    gid: 1000,
    linkCount: 1,
    size: 123_456 + index,
    chunkCount: 1,
    hasHoles: false,
    device: 0,
    atimeNs: nowNs,
    mtimeNs: nowNs + BigInt(index),
    ctimeNs: nowNs,
    btimeNs: nowNs,
  }),
);

measure(
  "transaction (create)",
  transaction,
  (index): Transaction => ({
    session: 7,
    sequence: index,
    confirmed: index,
    timeNs: nowNs + BigInt(index),
    predicted: true,
    operation: {
      kind: "create",
      parent: 2 ** 33,
      name: "Makefile.build",
      inode: 2 ** 40 + index,
      type: "file",
      mode: 0o644,
      uid: 1000,
      umask: 0,
      gid: 1000,
      device: 0,
      target: "",
    },
  }),
);

function measure<T>(name: string, codec: Codec<T>, make: (index: number) => T): void {
  const values = Array.from({ length: 1000 }, (_, index) => make(index));
  const encoded = values.map((value) => encode(codec, value));
  const joined = Buffer.concat(encoded);
  const writer = new Writer(1024);
  const write = () => {
    for (let index = 0; index < count; index++) {
      writer.reset();
      codec.write(writer, values[index % 1000]!);
    }
  };
  const read = () => {
    for (let done = 0; done < count; done += 1000) {
      const reader = new Reader(joined);
      for (let index = 0; index < 1000; index++) codec.read(reader);
    }
  };
  const bytes = Math.round(joined.byteLength / 1000);
  console.log(`${name.padEnd(22)} ${bytes} bytes: ${rate(write)} M/s encoded, ${rate(read)} M/s decoded`);
}

function rate(action: () => void): string {
  let best = Number.POSITIVE_INFINITY;
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    action();
    best = Math.min(best, performance.now() - start);
  }
  return (count / best / 1000).toFixed(1);
}
