import { strict as assert } from "node:assert";
import { test } from "node:test";
import { PayloadPool } from "./payload-pool.ts";

test("large payloads that are given back are used again, for others of about their size", () => {
  const pool = new PayloadPool();
  const first = pool.take(700_000);
  assert.equal(first.byteLength, 700_000);
  pool.giveBack(first);
  assert.equal(pool.freeBytes, 1 << 20);
  const second = pool.take(1_000_000);
  assert.equal(second.byteLength, 1_000_000);
  assert.equal(second.buffer, first.buffer);
  assert.equal(pool.freeBytes, 0);
  assert.notEqual(pool.take(1_000_000).buffer, second.buffer);
});

test("what is small, from elsewhere or too much is left to the collector", () => {
  const pool = new PayloadPool();
  pool.giveBack(pool.take(1000));
  pool.giveBack(Buffer.alloc(100_000));
  pool.giveBack(pool.take(1 << 20).subarray(4096));
  pool.giveBack(new Uint8Array(0));
  assert.equal(pool.freeBytes, 0);
  const many = Array.from({ length: 40 }, () => pool.take(1 << 20));
  for (const payload of many) pool.giveBack(payload);
  assert.equal(pool.freeBytes, 32 << 20);
});
