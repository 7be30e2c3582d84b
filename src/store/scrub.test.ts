import assert from "node:assert/strict";
import { test } from "node:test";
import type { Target } from "./admission.ts";
import type { StoredExtent } from "./extents.ts";
import { defaultScrubMs, Scrub } from "./scrub.ts";
import { Store } from "./store.ts";
import { blocksOf, testChunk, writeOf } from "./testing/blocks.ts";
import { MemoryPlatform } from "./testing/memory-platform.ts";

const minuteMs = 60_000;

async function started(platform: MemoryPlatform) {
  const store = await Store.open(platform, { directory: "store", segmentBytes: 1 << 20 });
  await store.setGroups([{ group: 3, generation: 1, members: [] }]);
  const repaired: number[] = [];
  const repair = {
    repair: async (_target: Target, bad: readonly StoredExtent[]) => {
      for (const { firstBlock } of bad) repaired.push(firstBlock);
    },
  };
  const { clock, logger } = platform;
  const scrub = new Scrub({ store, repair, clock, logger, scrubMs: defaultScrubMs });
  scrub.start();
  return { store, scrub, repaired };
}

async function put(store: Store, chunk: number, grant: number) {
  const data = blocksOf(chunk, 0, 8);
  await store.write(writeOf(chunk, 0, data, { grant, sequence: 1 }), data);
}

test("a block that nobody reads and that has rotted is found and handed to the repair", async () => {
  const platform = new MemoryPlatform();
  const { store, scrub, repaired } = await started(platform);
  for (let number = 0; number < 20; number++) await put(store, testChunk + number, 1);
  for (const [path, file] of platform.disk.files) {
    if (!path.endsWith(".segment")) continue;
    const [, page] = [...file.pages].find(([, bytes]) => bytes[0] === ((testChunk + 5 + 3) & 255))!;
    page[99]! ^= 4;
  }
  await platform.clock.advance(30 * minuteMs);
  assert.equal(repaired.length, 1);
  assert.equal(store.space.badBlocks, 1);
  assert.equal(store.scrubbed.done, true);
  await platform.clock.advance(60 * minuteMs);
  assert.equal(repaired.length, 1, "no pass is due");
  assert.ok(platform.logLines.some((line) => line.startsWith("scrub pass done") && line.includes('"badBlocks":1')));
  await scrub.stop();
  await store.close();
});

test("a pass goes on after a restart where it was", async () => {
  const platform = new MemoryPlatform();
  let { store, scrub } = await started(platform);
  for (let number = 0; number < 4; number++) await put(store, testChunk + number, 1);
  const beganMs = Number(platform.clock.wallNs() / 1_000_000n);
  store.scrubbed = { chunk: testChunk + 1, beganMs, done: false };
  await scrub.stop();
  await store.close();
  ({ store, scrub } = await started(platform));
  assert.deepEqual(store.scrubbed, { chunk: testChunk + 1, beganMs, done: false });
  await platform.clock.advance(30 * minuteMs);
  assert.equal(store.scrubbed.done, true);
  assert.equal(store.scrubbed.beganMs, beganMs, "it is the same pass");
  assert.ok(platform.logLines.some((line) => line.includes(`"readBytes":${2 * 8 * 4096}`)));
  await scrub.stop();
  await store.close();
});
