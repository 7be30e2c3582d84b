import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { blockBytes } from "../namespace/model.ts";
import { blockChecksums } from "../wire/checksum.ts";
import { isZeros } from "./extents.ts";
import { Store } from "./store.ts";
import { blocksOf, contentOf, testChunk, writeOf } from "./testing/blocks.ts";
import { MemoryPlatform } from "./testing/memory-platform.ts";
import { cutAtZeros, zeroBlocksMin } from "./zeros.ts";

const chunk = testChunk;
const open = (platform: MemoryPlatform) => Store.open(platform, { directory: "store", segmentBytes: 128 * 1024 });
const zeros = (count: number) => Buffer.alloc(count * blockBytes);

test("a write is cut into data, and zeros where there are enough of them", () => {
  const kinds = fc.array(fc.constantFrom("zero", "data", "lastByte"), { minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(kinds, (blocks) => {
      const bytes = zeros(blocks.length);
      for (const [index, kind] of blocks.entries()) {
        if (kind === "data") bytes[index * blockBytes + 5] = 1;
        if (kind === "lastByte") bytes[(index + 1) * blockBytes - 1] = 1;
      }
      const pieces = cutAtZeros(bytes);
      let next = 0;
      for (const { from, to, isZeros: areZeros } of pieces) {
        assert.equal(from, next);
        next = to;
        const runs = blocks.slice(from, to).map((kind) => (kind === "zero" ? "0" : "1"));
        if (areZeros) assert.ok(!runs.includes("1") && (runs.length >= zeroBlocksMin || runs.length === blocks.length));
        else assert.ok(!runs.join("").includes("0".repeat(zeroBlocksMin)) && runs.includes("1"));
      }
      assert.equal(next, blocks.length);
    }),
  );
});

test("zeros take no space, and give back what lay there", async () => {
  const platform = new MemoryPlatform(1);
  let store = await open(platform);
  const data = Buffer.concat([blocksOf(7, 0, 3), zeros(8), blocksOf(7, 11, 5)]);
  const all = [7, 8, 9, ...new Array(8).fill(0), 18, 19, 20, 21, 22];
  await store.write(writeOf(chunk, 0, data, { grant: 1, sequence: 1 }), data);
  assert.deepEqual(await contentOf(store, chunk, 20), [...all, ...new Array(4).fill(undefined)]);
  assert.equal(store.liveBytes, 8 * blockBytes);

  await store.write(writeOf(chunk, 1, zeros(12), { grant: 2, sequence: 1 }), zeros(12));
  const punched = [7, ...new Array(12).fill(0), 20, 21, 22];
  assert.deepEqual(await contentOf(store, chunk, 16), punched);
  assert.equal(store.liveBytes, 4 * blockBytes);

  await store.clone({ chunk: chunk + 1, source: chunk, blockCount: 8, generation: 1, session: 1, tolerant: false });
  await store.close();
  store = await open(platform);
  assert.deepEqual(await contentOf(store, chunk, 16), punched);
  assert.deepEqual(await contentOf(store, chunk + 1, 16), [...punched.slice(0, 8), ...new Array(8).fill(undefined)]);
  assert.equal(store.liveBytes, 4 * blockBytes);

  const again = blocksOf(40, 2, 2);
  await store.write(writeOf(chunk, 2, again, { grant: 3, sequence: 1 }), again);
  assert.deepEqual((await contentOf(store, chunk, 16)).slice(0, 6), [7, 0, 42, 43, 0, 0]);
  await store.delete([chunk, chunk + 1]);
  assert.equal(store.liveBytes, 0);
  await store.close();
});

test("a write of zeros that is older than what is there changes nothing", async () => {
  const store = await open(new MemoryPlatform(1));
  const data = blocksOf(7, 4, 2);
  await store.write(writeOf(chunk, 4, data, { grant: 2, sequence: 1 }), data);
  const late = store.write(writeOf(chunk, 0, zeros(8), { grant: 1, sequence: 1 }), zeros(8));
  await assert.rejects(late, { code: "superseded" });
  assert.deepEqual(await contentOf(store, chunk, 8), [0, 0, 0, 0, 11, 12, 0, 0]);
  await store.close();
});

test("zeros copied in the place of something else stay data: they are bad, and to be found so", async () => {
  const store = await open(new MemoryPlatform(1));
  const version = { grant: 1, sequence: 1 };
  const stamp = { version, generation: 1, session: 1 };
  const replace = { chunk, firstBlock: 0, stamp, origin: chunk, expected: undefined };
  const wrong = blockChecksums(blocksOf(7, 0, 4), chunk, 0, version);
  await store.replace({ ...replace, checksums: wrong }, zeros(4), { isGood: false });
  assert.equal((await store.findBad(chunk, 0, 4)).length, 4);

  await store.replace(
    { ...replace, checksums: blockChecksums(zeros(4), chunk, 0, version), expected: stamp },
    zeros(4),
    { isGood: true },
  );
  assert.deepEqual(store.peek(chunk)!.extents.map(isZeros), [true]);
  assert.deepEqual(await store.findBad(chunk, 0, 4), []);
  assert.deepEqual(store.badBlocks.now(), []);
  await store.close();
});

test("zeros outlive the segment of their record, and an index that is lost", async () => {
  const platform = new MemoryPlatform(1);
  let store = await open(platform);
  const old = blocksOf(7, 0, 8);
  const numbers = Array.from({ length: 60 }, (_, number) => number);
  for (const number of numbers) {
    await store.write(writeOf(chunk + number, 0, old, { grant: 1, sequence: 1 }), old);
  }
  // Between them data that is deleted: no segment keeps anything but records of zeros.
  for (const number of numbers) {
    await store.write(writeOf(chunk + number, 0, zeros(8), { grant: 2, sequence: 1 }), zeros(8));
    await store.write(writeOf(chunk + 100 + number, 0, old, { grant: 1, sequence: 1 }), old);
  }
  await store.clone({ chunk: chunk + 99, source: chunk, blockCount: 4, generation: 1, session: 1, tolerant: false });
  await store.delete(numbers.map((number) => chunk + 100 + number));
  await store.checkpoint();
  const compacting = store.compaction.round();
  let over = false;
  void compacting.finally(() => {
    over = true;
  });
  while (!over) await platform.clock.advance(1_000);
  await compacting;
  await store.checkpoint();
  assert.ok(store.compaction.totals.segments > 2, `compacted: ${store.compaction.totals.segments}`);
  const check = async () => {
    for (const number of numbers) assert.deepEqual(await contentOf(store, chunk + number, 8), new Array(8).fill(0));
    assert.deepEqual((await contentOf(store, chunk + 99, 8)).slice(0, 5), [0, 0, 0, 0, undefined]);
    assert.equal(store.liveBytes, 0);
  };
  await check();
  await store.close();

  await platform.keyValue.remove("store/index.sqlite");
  store = await open(platform);
  assert.equal(store.damage?.loss, "certain");
  await check();
  await store.close();
});

test("a full store takes zeros, which make room", async () => {
  const platform = new MemoryPlatform(1);
  platform.disk.totalBytes = 4 * 1024 * 1024;
  const store = await open(platform);
  const data = blocksOf(1, 0, 7);
  const write = async (number: number) => {
    // The store asks how full its disk is.
    if (number % 10 === 0) await platform.clock.advance(1_000);
    await store.readyToWrite();
    await store.write(writeOf(chunk + number, 0, data, { grant: 1, sequence: 1 }), data);
  };
  let count = 0;
  await assert.rejects(async () => {
    for (;;) await write(count++);
  }, /full/);
  for (let number = 0; number < 40; number++) {
    await store.readyToWrite();
    await store.write(writeOf(chunk + number, 0, zeros(7), { grant: 2, sequence: 1 }), zeros(7));
  }
  await platform.clock.advance(10_000);
  for (let more = 0; more < 10; more++) await write(1000 + more);
  assert.deepEqual(await contentOf(store, chunk + 50, 3), [1, 2, 3]);
  await store.close();
});
