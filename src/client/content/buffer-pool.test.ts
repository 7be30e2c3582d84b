import { strict as assert } from "node:assert";
import { test } from "node:test";
import { BufferPool, slabBytes } from "./buffer-pool.ts";

test("memory is used again when the last has let go, unless views of it were given away", () => {
  const pool = new BufferPool();
  const small = pool.allocate(8192);
  small.slab.retain();
  small.slab.release();
  assert.equal(pool.freeBytes, 0);
  small.slab.release();
  assert.equal(pool.freeBytes, 8192);
  const again = pool.allocate(8192);
  assert.equal(again.bytes.buffer, small.bytes.buffer);
  again.slab.isLent = true;
  again.slab.release();
  assert.equal(pool.freeBytes, 0);
  assert.throws(() => again.slab.release());
});

test("large pieces share slabs, and a slab is free when all its pieces are", () => {
  const pool = new BufferPool();
  const pieces = Array.from({ length: 8 }, () => pool.allocate(slabBytes / 4));
  assert.equal(new Set(pieces.map(({ slab }) => slab)).size, 2);
  const starts = pieces.map(({ bytes, slab }) => `${bytes.byteOffset - slab.memory.byteOffset}`);
  assert.deepEqual(starts.slice(0, 4), ["0", "262144", "524288", "786432"]);
  for (const { slab } of pieces.slice(0, 4)) slab.release();
  assert.equal(pool.freeBytes, slabBytes);
  const huge = pool.allocate(slabBytes + 4096);
  huge.slab.release();
  assert.equal(pool.freeBytes, slabBytes);
});
