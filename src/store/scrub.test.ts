import assert from "node:assert/strict";
import { test } from "node:test";
import type { Target } from "./admission.ts";
import type { StoredExtent } from "./extents.ts";
import { defaultScrubMs, Scrub } from "./scrub.ts";
import { Store } from "./store.ts";
import { blocksOf, testChunk, writeOf } from "./testing/blocks.ts";
import { MemoryPlatform } from "./testing/memory-platform.ts";

const minuteMs = 60_000;
const otherGroup = 5;

async function started(platform: MemoryPlatform) {
  const store = await Store.open(platform, { directory: "store", segmentBytes: 1 << 20 });
  await store.setGroups([3, otherGroup].map((group) => ({ group, generation: 1, members: [] })));
  const repaired: number[] = [];
  const compared: string[] = [];
  const repair = {
    repair: async (_target: Target, bad: readonly StoredExtent[]) => {
      for (const { firstBlock } of bad) repaired.push(firstBlock);
      return bad.length;
    },
  };
  const comparison = {
    compare: async (group: number, after: number, upTo: number) => {
      compared.push(`${group}: ${after - testChunk}..${upTo - testChunk}`);
      return 0;
    },
    stop: () => {},
    rest: () => {},
  };
  const { clock, logger } = platform;
  const scrub = new Scrub({
    ...{ store, repair, comparison, clock, logger, isBusy: () => false },
    scrubMs: defaultScrubMs,
    bytesPerSecond: 1024 * 1024,
  });
  scrub.start();
  return { store, scrub, repaired, compared };
}

async function put(store: Store, chunk: number, grant: number) {
  const data = blocksOf(chunk, 0, 8);
  await store.write(writeOf(chunk, 0, data, { grant, sequence: 1 }), data);
}

/** Flips a bit of the first block of a chunk that was written as `put` does. */
function rot(platform: MemoryPlatform, chunk: number) {
  for (const [path, file] of platform.disk.files) {
    if (!path.endsWith(".segment")) continue;
    const found = [...file.pages].find(([, bytes]) => bytes[0] === ((chunk + 3) & 255) && bytes[4095] === bytes[0]);
    if (found !== undefined) found[1][99]! ^= 4;
  }
}

test("a block that nobody reads and that has rotted is found and handed to the repair", async () => {
  const platform = new MemoryPlatform();
  const { store, scrub, repaired } = await started(platform);
  for (let number = 0; number < 20; number++) await put(store, testChunk + number, 1);
  // Zeros are not on the disk: they are not read.
  const zeros = Buffer.alloc(256 * 4096);
  await store.write(writeOf(testChunk + 20, 0, zeros, { grant: 1, sequence: 1 }), zeros);
  rot(platform, testChunk + 5);
  await platform.clock.advance(30 * minuteMs);
  assert.equal(repaired.length, 1);
  assert.equal(store.space.badBlocks, 1);
  const { endedMs, badBlocks, repairedBlocks, doneBytes, totalBytes } = store.scrubs.get("regular")!;
  assert.ok(endedMs > 0);
  assert.deepEqual([badBlocks, repairedBlocks, doneBytes, totalBytes], [1, 1, 20 * 8 * 4096, 20 * 8 * 4096]);
  assert.deepEqual(
    store.badBlocks.now().map(({ blockCount }) => blockCount),
    [1],
    "nobody has replaced it",
  );
  await platform.clock.advance(60 * minuteMs);
  assert.equal(repaired.length, 1, "no pass is due");
  assert.ok(platform.logLines.some((line) => line.startsWith("scrub pass done") && line.includes('"badBlocks":1')));
  // What is written anew is bad no more.
  for (let number = 0; number < 20; number++) await put(store, testChunk + number, 2);
  assert.deepEqual(store.badBlocks.now(), []);
  await scrub.stop();
  await store.close();
});

test("blocks that are repaired side by side are all counted", async () => {
  const platform = new MemoryPlatform();
  const { store, scrub } = await started(platform);
  for (let number = 0; number < 20; number++) await put(store, testChunk + number, 1);
  for (let number = 0; number < 20; number++) rot(platform, testChunk + number);
  scrub.order([]);
  await platform.clock.advance(minuteMs);
  const { endedMs, badBlocks, repairedBlocks } = store.scrubs.get("ordered")!;
  assert.ok(endedMs > 0);
  assert.deepEqual([badBlocks, repairedBlocks], [20, 20]);
  await scrub.stop();
  await store.close();
});

test("a block that two have repaired is counted once", async () => {
  const platform = new MemoryPlatform();
  const { store, scrub } = await started(platform);
  await put(store, testChunk, 1);
  rot(platform, testChunk);
  const [bad] = await store.findBad(testChunk, 0, 8);
  for (let count = 0; count < 2; count++) store.badBlocks.addRepaired(testChunk, bad!.firstBlock);
  assert.deepEqual([store.badBlocks.found, store.badBlocks.repaired], [1, 1]);
  await scrub.stop();
  await store.close();
});

test("all chunks are compared with other members, page by page, also in groups of which nothing is here", async () => {
  const platform = new MemoryPlatform();
  const { store, scrub, compared } = await started(platform);
  for (let number = 0; number < 300; number++) await put(store, testChunk + number, 1);
  scrub.order([]);
  await platform.clock.advance(minuteMs);
  const start = otherGroup * 2 ** 40 - 1 - testChunk;
  assert.deepEqual(compared, [`3: ${-testChunk}..255`, "3: 255..299", `5: ${start}..${start}`]);
  await scrub.stop();
  await store.close();
});

test("a pass goes on after a restart where it was", async () => {
  const platform = new MemoryPlatform();
  let { store, scrub, compared } = await started(platform);
  for (let number = 0; number < 4; number++) await put(store, testChunk + number, 1);
  const beganMs = Number(platform.clock.wallNs() / 1_000_000n);
  const under = { beganMs, endedMs: 0, groups: [], doneBytes: 2 * 8 * 4096, totalBytes: 4 * 8 * 4096 };
  const found = { badBlocks: 3, repairedBlocks: 2, differingBlocks: 1 };
  store.scrubs.set("regular", { ...under, ...found, chunk: testChunk + 1 });
  await scrub.stop();
  await store.close();
  ({ store, scrub, compared } = await started(platform));
  assert.equal(store.scrubs.get("regular")?.chunk, testChunk + 1);
  await platform.clock.advance(30 * minuteMs);
  const done = store.scrubs.get("regular")!;
  assert.ok(done.endedMs > 0);
  assert.equal(done.beganMs, beganMs, "it is the same pass");
  assert.deepEqual([done.doneBytes, done.badBlocks, done.repairedBlocks], [4 * 8 * 4096, 3, 2]);
  assert.equal(compared[0], "3: 1..3");
  await scrub.stop();
  await store.close();
});

test("a pass that has begun in the future delays no other: the clock was ahead, and was set right", async () => {
  const platform = new MemoryPlatform();
  const { store, scrub } = await started(platform);
  await put(store, testChunk, 1);
  rot(platform, testChunk);
  const nowMs = Number(platform.clock.wallNs() / 1_000_000n);
  const aheadMs = nowMs + 365 * 24 * 60 * minuteMs;
  const nothing = { badBlocks: 0, repairedBlocks: 0, differingBlocks: 0, doneBytes: 0, totalBytes: 0 };
  store.scrubs.set("regular", { beganMs: aheadMs, endedMs: aheadMs + 1, groups: [], chunk: 0, ...nothing });
  await platform.clock.advance(30 * minuteMs);
  const { beganMs, endedMs, badBlocks } = store.scrubs.get("regular")!;
  assert.ok(beganMs < aheadMs && endedMs >= beganMs);
  assert.equal(badBlocks, 1);
  await platform.clock.advance(60 * minuteMs);
  assert.equal(store.scrubs.get("regular")!.beganMs, beganMs, "one pass makes up for it");
  await scrub.stop();
  await store.close();
});

test("an ordered pass begins at once, keeps to its rate and to its groups, and goes on after a restart", async () => {
  const platform = new MemoryPlatform();
  let { store, scrub, repaired } = await started(platform);
  const other = otherGroup * 2 ** 40 + 9;
  for (let number = 0; number < 64; number++) {
    await put(store, testChunk + number, 1);
    await put(store, other + number, 1);
  }
  rot(platform, testChunk + 60);
  scrub.order([3]);
  await platform.clock.advance(0);
  assert.deepEqual(scrub.report()?.isOrdered, true);
  // 2 MiB at 1 MiB a second.
  await platform.clock.advance(1_000);
  const { doneBytes, totalBytes, endedMs, leftMs } = scrub.report()!;
  assert.equal(totalBytes, 64 * 8 * 4096);
  assert.ok(doneBytes > 0.8e6 && doneBytes < 1.3e6, `${doneBytes}`);
  assert.ok(endedMs === 0 && leftMs > 500 && leftMs < 1_500, `${leftMs}`);
  await scrub.stop();
  await store.close();
  ({ store, scrub, repaired } = await started(platform));
  await platform.clock.advance(2_500);
  assert.ok(scrub.report()!.endedMs > 0);
  assert.equal(repaired.length, 1);
  assert.equal(store.scrubs.get("regular"), undefined, "that was not everything");
  scrub.order([]);
  await platform.clock.advance(10_000);
  assert.ok(store.scrubs.get("regular")!.endedMs > 0, "everything is read: no regular pass is due");
  await scrub.stop();
  await store.close();
});
