import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MemoryKeyValueEngine } from "../platform/memory-key-value.ts";
import { type ChunkState, decodeChunk, encodeChunk } from "./chunk-row.ts";
import { ExtentIndex } from "./index.ts";

const state: ChunkState = {
  generation: 4_000_000_000,
  session: 2 ** 41 + 3,
  extents: [
    {
      firstBlock: 1000,
      stamp: { version: { grant: 2 ** 52, sequence: 7 }, generation: 3, session: 2 ** 33 },
      origin: 2 ** 50 + 1,
      checksums: [0, 0xffff_ffff, 17],
      segment: 2 ** 32 - 1,
      offset: 2 ** 33 + 4096,
    },
  ],
};

test("a chunk's row is read as it was written, and nothing else is taken for one", () => {
  const row = Buffer.from(encodeChunk(state));
  assert.deepEqual(decodeChunk(row), state);
  for (let length = 0; length < row.byteLength; length++) assert.throws(() => decodeChunk(row.subarray(0, length)));
  assert.throws(() => decodeChunk(Buffer.concat([row, Buffer.from([0])])));
});

test("the list of chunks is the same whether they are saved or not", async () => {
  const step = fc.record({ kind: fc.constantFrom("set", "set", "delete", "save"), chunk: fc.nat(40) });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const index = new ExtentIndex(await new MemoryKeyValueEngine().open("index"), assert.fail);
      const model = new Set<number>();
      for (const { kind, chunk } of steps) {
        if (kind === "save") index.save();
        else index.set(chunk, kind === "set" ? state : undefined);
        if (kind === "set") model.add(chunk);
        if (kind === "delete") model.delete(chunk);
      }
      const sorted = [...model].sort((left, right) => left - right);
      const paged: number[] = [];
      for (let from = 0; ; from = paged.at(-1)! + 1) {
        const page = index.list(from, 1000, 3);
        paged.push(...page);
        if (page.length < 3) break;
      }
      assert.deepEqual(paged, sorted);
      for (let chunk = 0; chunk <= 40; chunk++) assert.equal(index.get(chunk) !== undefined, model.has(chunk));
    }),
  );
});
