/** Reads for which nobody waits share requests; what doesn't come so is read by itself. */
import { strict as assert } from "node:assert";
import { type TestContext, test } from "node:test";
import { blockBytes } from "../../namespace/model.ts";
import { readPartsMax } from "../../wire/catalogue/store.ts";
import { ContentHarness, pattern } from "./testing/content-harness.ts";
import type { FakeStore } from "./testing/fake-store.ts";

const bytes = 2 * blockBytes;

/** Files of two blocks on both stores, and nothing of them in memory. */
async function stored(context: TestContext, count: number) {
  const harness = await ContentHarness.start({ cacheBytesMax: 0 });
  context.after(() => harness.stop());
  const files = Array.from({ length: count }, () => harness.file());
  for (const [number, file] of files.entries()) await harness.until(harness.write(file, 0, pattern(bytes, number)));
  await harness.until(harness.journal.committed(harness.journal.position));
  const chunks = files.map((file) => file.view(0)!.chunk);
  const readAll = (blockCount = 2) => {
    const { readsTogether } = harness.contents;
    return Promise.all(chunks.map((chunk) => readsTogether.read(chunk, 0, blockCount, harness.operation("readAhead"))));
  };
  const check = (pieces: readonly Uint8Array[][]) => {
    for (const [number, one] of pieces.entries()) assert.ok(Buffer.concat(one).equals(pattern(bytes, number)));
  };
  return { harness, stores: harness.stores, chunks, readAll, check };
}

function partsOf(stores: readonly FakeStore[]): number {
  return stores.flatMap(({ together }) => together).reduce((sum, parts) => sum + parts, 0);
}

test("what is asked for in one turn goes in one request to each store", async (context) => {
  const { harness, stores, readAll, check } = await stored(context, 40);
  check(await harness.until(readAll()));
  assert.deepEqual(
    stores.map(({ together }) => together.length),
    [1, 1],
  );
  assert.equal(partsOf(stores), 40);
  assert.deepEqual([stores[0]!.counts.read + stores[1]!.counts.read], [40], "none was asked for twice");
});

test("requests have no more parts and blocks than stores take", async (context) => {
  const count = 4 * readPartsMax;
  const { harness, stores, readAll } = await stored(context, count);
  await harness.until(readAll());
  assert.ok(stores.every(({ together }) => together.length > 1 && Math.max(...together) === readPartsMax));
  assert.equal(partsOf(stores), count);
  // Most of each is a hole.
  for (const { together } of stores) together.length = 0;
  const pieces = await harness.until(readAll(100));
  assert.ok(stores.every(({ together }) => Math.max(...together) === 2));
  assert.equal(partsOf(stores), count);
  for (const [number, one] of pieces.entries()) {
    const expected = Buffer.concat([pattern(bytes, number), Buffer.alloc(98 * blockBytes)]);
    assert.ok(Buffer.concat(one).equals(expected));
  }
});

test("a bad copy is reported, and read elsewhere; the others come all the same", async (context) => {
  const { harness, stores, chunks, readAll, check } = await stored(context, 20);
  for (const chunk of chunks.slice(0, 6)) stores[0]!.corrupt(chunk, 1);
  check(await harness.until(readAll()));
  assert.ok(stores[0]!.counts.reportBad >= 3);
});

test("a store that is gone, or in another generation: all is read from the other one", async (context) => {
  const { harness, stores, readAll, check } = await stored(context, 20);
  await stores[0]!.stop();
  harness.changeMember(1, "behind");
  check(await harness.until(readAll()));
});

test("a piece that nobody has fails alone", async (context) => {
  const { harness, stores, chunks, readAll } = await stored(context, 20);
  for (const store of stores) store.corrupt(chunks[3]!, 0);
  const { readsTogether } = harness.contents;
  const reads = chunks.map((chunk) => readsTogether.read(chunk, 0, 2, harness.operation("readAhead")));
  const outcomes = await harness.until(Promise.allSettled(reads));
  const failed = outcomes.flatMap(({ status }, index) => (status === "rejected" ? [index] : []));
  assert.deepEqual(failed, [3]);
  await assert.rejects(harness.until(readAll()), { code: "EIO" });
});
