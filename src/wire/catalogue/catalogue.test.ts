/** The catalogue as a whole: numbers, names, and that no bytes from outside do more than fail to decode. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { CodecError } from "../../codec/buffers.ts";
import { type Codec, decode, encode } from "../../codec/schema.ts";
import { operation, result, transaction } from "../../namespace/operation.ts";
import type { Method } from "../method.ts";
import * as admin from "./admin.ts";
import * as handshake from "./handshake.ts";
import * as leader from "./leader.ts";
import * as ledger from "./ledger.ts";
import * as locks from "./locks.ts";
import * as placement from "./placement.ts";
import * as quotas from "./quotas.ts";
import * as registration from "./registration.ts";
import * as sessions from "./sessions.ts";
import * as store from "./store.ts";
import { termMax } from "./term.ts";
import * as watch from "./watch.ts";

type AnyMethod = Method<unknown, unknown>;

function methodsOf(module: object): AnyMethod[] {
  return Object.values(module).filter((value): value is AnyMethod => {
    return typeof value === "object" && value !== null && "request" in value && "response" in value;
  });
}

const parts: [object, number, number][] = [
  [handshake, 1, 99],
  [leader, 100, 199],
  [sessions, 100, 104],
  [quotas, 100, 399],
  [registration, 130, 139],
  [locks, 150, 159],
  [store, 200, 299],
  [admin, 300, 399],
  [placement, 330, 339],
  [watch, 400, 499],
  [ledger, 500, 599],
];

test("numbers are unique and lie in the range of their part", () => {
  const seen = new Set<number>();
  for (const [module, first, last] of parts) {
    const methods = methodsOf(module);
    assert.ok(methods.length > 0);
    for (const { id, name } of methods) {
      assert.ok(id >= first && id <= last, `${name} ${id}`);
      assert.ok(!seen.has(id), `${name} ${id} is taken`);
      assert.match(name, /^(hello|(leader|client|store|admin|watch|ledger)\.[a-zA-Z]+)$/);
      seen.add(id);
    }
  }
});

test("docs/protocol.md lists every method", () => {
  const page = readFileSync(new URL("../../../docs/protocol.md", import.meta.url), "utf8");
  const listed = [...page.matchAll(/^\| (\d+) \| `([\w.]+)` \|/gm)].map((row) => `${row[1]} ${row[2]}`);
  const methods = parts.flatMap(([module]) => methodsOf(module)).map(({ id, name }) => `${id} ${name}`);
  assert.deepEqual(listed.sort(), methods.sort());
});

test("any bytes decode or are a CodecError, for every message", () => {
  const codecs = parts.flatMap(([module]) => methodsOf(module).flatMap(({ request, response }) => [request, response]));
  codecs.push(...([operation, result, transaction] as unknown as Codec<unknown>[]));
  // Small numbers make valid kinds, booleans and lengths likely.
  const byte = fc.oneof(fc.nat(4), fc.nat(255));
  const input = fc.array(byte, { maxLength: 120 }).map((bytes) => Uint8Array.from(bytes));
  for (const codec of codecs) {
    fc.assert(
      fc.property(input, (bytes) => {
        try {
          decode(codec, bytes);
        } catch (error) {
          assert.ok(error instanceof CodecError, String(error));
        }
      }),
      { numRuns: 60 },
    );
  }
});

test("a term under which no grant could be given is no term: who promised it could never lead again", () => {
  const { request } = ledger.claimTerm;
  const bytes = encode(request, { term: termMax, leader: "" });
  assert.deepEqual(decode(request, bytes), { term: termMax, leader: "" });
  bytes.writeUInt32LE(termMax + 1, 0);
  assert.throws(() => decode(request, bytes), CodecError);
});
