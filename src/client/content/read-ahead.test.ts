/** What is read ahead: the pattern that calls for it, the memory that bounds it, and what drops it. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { ReadAheadBudget, ReadAheadCache, segmentBytes } from "./read-ahead-cache.ts";
import { ReadPattern } from "./reader.ts";
import { FakeCluster, keepPrivileges, makeFile, pattern, readAll } from "../testing/fake-cluster.ts";

test("a handle reads ahead from its second read in a row on, ever further, and stops at a jump", () => {
  const reads = new ReadPattern();
  assert.equal(reads.note(0, 1000), 0);
  assert.equal(reads.note(1000, 2000), segmentBytes);
  assert.equal(reads.note(2000, 3000), 2 * segmentBytes);
  for (let at = 3000; at < 20_000; at += 1000) reads.note(at, at + 1000);
  assert.equal(reads.note(20_000, 21_000), 4 * 1024 * 1024);
  assert.equal(reads.note(500_000, 501_000), 0);
  assert.equal(reads.note(501_000, 502_000), 0);
  assert.equal(reads.note(502_000, 503_000), segmentBytes);
});

test("segments make room for younger ones, and are dropped by writes", async () => {
  const budget = new ReadAheadBudget(3 * segmentBytes);
  const [one, two] = [new ReadAheadCache(budget), new ReadAheadCache(budget)];
  const load = async () => [new Uint8Array(1)];
  one.start(0, load);
  one.start(1, load);
  two.start(7, load);
  two.start(8, load);
  assert.equal(one.get(0), undefined);
  assert.notEqual(one.get(1), undefined);
  assert.equal(budget.bytes, 3 * segmentBytes);
  two.invalidate(8 * segmentBytes - 1, 8 * segmentBytes);
  assert.equal(two.get(7), undefined);
  assert.notEqual(two.get(8), undefined);
  two.start(9, () => Promise.reject(new Error("not readable")));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(two.get(9), undefined);
  two.clear();
  one.clear();
  assert.equal(budget.bytes, 0);
});

test("a sequential reader is served from both stores ahead of its reads, and sees what is written meanwhile", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  const bytes = pattern(6 << 20, 1);
  for (let at = 0; at < bytes.length; at += 1 << 20) {
    await client.write(handle, at, bytes.subarray(at, at + (1 << 20)), keepPrivileges);
  }
  const step = 256 * 1024;
  for (let at = 0; at < bytes.length; at += step) {
    if (at === 2 << 20) {
      await client.write(handle, 3 << 20, Buffer.from("changed"), keepPrivileges);
      bytes.write("changed", 3 << 20);
    }
    assert.ok((await readAll(client, handle, at, step)).equals(bytes.subarray(at, at + step)), `at ${at}`);
  }
  const [left, right] = cluster.stores.map((store) => store.counts.read);
  assert.ok(left! + right! < 20, `${left} + ${right} requests for 24 reads`);
  assert.ok(left! > 2 && right! > 2, "both serve");
});
