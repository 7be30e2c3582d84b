/** Compaction frees what is mostly dead, keeps to its share of the time, and a kill at any point costs nothing. */
import assert from "node:assert/strict";
import { test } from "node:test";
import * as fc from "fast-check";
import { blockBytes } from "../namespace/model.ts";
import { Store } from "./store.ts";
import { blocksOf, contentOf, testChunk, writeOf } from "./testing/blocks.ts";
import { MemoryPlatform, settle } from "./testing/memory-platform.ts";

const segmentBytes = 128 * 1024;
const options = { directory: "store", segmentBytes };

/** Each chunk has one block, in a commit of its own: half of a segment is descriptions of commits. */
async function put(store: Store, numbers: readonly number[]): Promise<void> {
  for (const number of numbers) {
    const data = blocksOf(fillOf(number), 0, 1);
    await store.write(writeOf(testChunk + number, 0, data, { grant: number + 1, sequence: 1 }), data);
  }
}

/** Not zeros: they have no place. */
function fillOf(number: number): number {
  return 1 + (number % 255);
}

async function compact(platform: MemoryPlatform, store: Store): Promise<void> {
  let over = false;
  const round = store.compaction.round().finally(() => {
    over = true;
  });
  while (!over) await platform.clock.advance(100);
  await round;
}

async function checkAll(store: Store, numbers: readonly number[]): Promise<void> {
  for (const number of numbers) assert.deepEqual(await contentOf(store, testChunk + number, 1), [fillOf(number)]);
  assert.deepEqual(
    store.listChunks(3, 0, 256).map(({ chunk }) => chunk - testChunk),
    numbers,
  );
  assert.equal(store.liveBytes, numbers.length * blockBytes);
}

async function deleteAll(store: Store, isDoomed: (number: number) => boolean): Promise<void> {
  const there = store.listChunks(3, 0, 256).map(({ chunk }) => chunk);
  await store.delete(there.filter((chunk) => isDoomed(chunk - testChunk)));
}

const range = (count: number) => Array.from({ length: count }, (_, number) => number);

test("segments that are mostly dead are emptied and removed; what is alive stays", async () => {
  const platform = new MemoryPlatform();
  let store = await Store.open(platform, options);
  await put(store, range(100));
  const kept = range(100).filter((number) => number % 10 === 0);
  await deleteAll(store, (number) => number % 10 !== 0);
  await store.checkpoint();
  const before = platform.disk.usedBytes();
  await compact(platform, store);
  await store.checkpoint();
  const freed = before - platform.disk.usedBytes();
  assert.ok(freed > before / 2, `${freed} of ${before} bytes are given back`);
  assert.ok(store.compaction.totals.segments >= 5, JSON.stringify(store.compaction.totals));
  await checkAll(store, kept);
  await store.close();
  store = await Store.open(platform, options);
  await checkAll(store, kept);
  await store.close();
  // The index is lost: the records of the moves have all that those before them said.
  await platform.keyValue.remove("store/index.sqlite");
  store = await Store.open(platform, options);
  assert.equal(store.damage?.loss, "certain");
  for (const number of kept) assert.deepEqual(await contentOf(store, testChunk + number, 1), [fillOf(number)]);
  await store.close();
});

test("a block that has rotted is not laid down anew: it stays for the scrub", async () => {
  const platform = new MemoryPlatform();
  const store = await Store.open(platform, options);
  await put(store, range(30));
  await deleteAll(store, (number) => number % 10 !== 0);
  await store.checkpoint();
  const rotten = store.chunk(testChunk + 10)!.extents[0]!;
  const name = `store/segments/${rotten.segment.toString(16).padStart(16, "0")}.segment`;
  platform.disk.files.get(name)!.pages.get(rotten.offset / blockBytes)![7]! ^= 1;
  await compact(platform, store);
  assert.equal(store.chunk(testChunk + 10)!.extents[0]!.segment, rotten.segment);
  assert.equal((await store.findBad(testChunk + 10, 0, 1)).length, 1);
  assert.deepEqual(await contentOf(store, testChunk + 20, 1), [fillOf(20)]);
  await store.close();
});

test("it rests nine times as long as it works", async () => {
  const platform = new MemoryPlatform();
  const { disk, clock } = platform;
  // The disk takes 50 ms to read: all work that the virtual clock sees. Reads of one batch go side by side.
  let readMs = 0;
  const open = disk.open.bind(disk);
  disk.open = async (path, how) => {
    const file = await open(path, how);
    const read = file.read.bind(file);
    file.read = async (buffer, position) => {
      if (readMs > 0) await new Promise<void>((resolve) => clock.startTimer(readMs, () => resolve()));
      return read(buffer, position);
    };
    return file;
  };
  const store = await Store.open(platform, options);
  await put(store, range(200));
  await deleteAll(store, (number) => number % 3 !== 0);
  readMs = 50;
  const beganMs = clock.nowMs();
  await compact(platform, store);
  assert.ok(store.compaction.totals.movedBytes > 0);
  const tookMs = clock.nowMs() - beganMs;
  assert.ok(tookMs >= 500, `${tookMs} ms`);
  readMs = 0;
  await store.close();
});

const life = fc.record({
  /** Of the chunks that are there: which are deleted before. */
  doomed: fc.infiniteStream(fc.boolean()),
  made: fc.nat(40),
  /** When the power fails, in turns of the event loop since the round began. */
  turns: fc.nat(400),
  /** A checkpoint before, so that segments are removed meanwhile. */
  checkpoint: fc.boolean(),
  seed: fc.nat(),
});

test("a kill at any point of a compaction loses nothing and brings nothing back", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(life, { minLength: 1, maxLength: 5 }), async (lives) => {
      const platform = new MemoryPlatform(lives[0]!.seed);
      let store = await Store.open(platform, options);
      let there: number[] = [];
      let next = 0;
      for (const { doomed, made, turns, checkpoint } of lives) {
        const fresh = range(made).map((number) => next + number);
        next += made;
        await put(store, fresh);
        there.push(...fresh);
        const gone = there.filter(() => doomed.next().value);
        await store.delete(gone.map((number) => testChunk + number));
        there = there.filter((number) => !gone.includes(number));
        if (checkpoint) await store.checkpoint();
        store.compaction
          .round()
          .then(() => store.checkpoint())
          .catch(() => {});
        for (let turn = 0; turn < turns; turn++) {
          await undefined;
          if (turn % 20 === 19) await platform.clock.advance(10);
        }
        platform.crash();
        await settle();
        store = await Store.open(platform, options);
        await checkAll(store, there);
      }
      await compact(platform, store);
      await checkAll(store, there);
      await store.close();
    }),
    { numRuns: 40 },
  );
});
