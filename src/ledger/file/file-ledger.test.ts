/** The file ledger: terms, reading, truncation, restarts and damage. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FaultyDisk } from "../../log/testing/faulty-disk.ts";
import { platformOn, segmentPath } from "../../log/testing/log-fixture.ts";
import type { Ledger, LedgerEntry } from "../ledger.ts";
import { FileLedger, openFileLedger } from "./file-ledger.ts";

const megabyte = 1024 * 1024;

function open(disk: FaultyDisk): Promise<Ledger> {
  return openFileLedger(platformOn(disk), "/log");
}

async function entries(ledger: Ledger, from = 1): Promise<LedgerEntry[]> {
  const found: LedgerEntry[] = [];
  for await (const entry of ledger.read(from)) found.push(entry);
  return found;
}

function crashed(disk: FaultyDisk): FaultyDisk {
  return disk.afterCrash(() => false);
}

test("entries are read back under the terms that appended them", async () => {
  let disk = new FaultyDisk();
  for (const term of [1, 2, 3]) {
    const ledger = await open(disk);
    assert.equal(ledger.term, term);
    assert.equal(ledger.lastIndex, (term - 1) * 3);
    for (let n = 0; n < 3; n++) await ledger.append(Buffer.from(`batch ${ledger.lastIndex + 1}`));
    disk = crashed(disk);
  }
  const ledger = await open(disk);
  const all = await entries(ledger);
  assert.deepEqual(
    all.map(({ index, term, batch }) => [index, term, Buffer.from(batch).toString()]),
    [1, 1, 1, 2, 2, 2, 3, 3, 3].map((term, n) => [n + 1, term, `batch ${n + 1}`]),
  );
  assert.deepEqual(await entries(ledger, 7), all.slice(6));
  assert.deepEqual(await entries(ledger, 10), []);
  assert.deepEqual(await entries(ledger, 11), []);
});

test("a term is durable when open returns, with nothing else appended", async () => {
  let disk = new FaultyDisk();
  for (const term of [1, 2, 3, 4]) {
    assert.equal((await open(disk)).term, term);
    disk = crashed(disk);
  }
});

test("entries of another leader may be of a lower term than one that was begun here, as long as nothing was appended under that", async () => {
  let disk = new FaultyDisk();
  const entry = (index: number, term: number) => ({ index, term, batch: Buffer.from(`${index}`) });
  const terms = async (ledger: FileLedger) => (await entries(ledger, 2)).map(({ index, term }) => [index, term]);
  const own = await FileLedger.open(platformOn(disk), "/log");
  await own.appendAll([entry(1, 1), entry(2, 3)]);
  await own.begin(7);
  await assert.rejects(own.begin(7), RangeError);
  await assert.rejects(own.appendAll([entry(3, 2)]), /can't go on with entry 3 of term 2 after entry 2 of term 3/);
  await own.appendAll([entry(3, 3), entry(4, 6)]);
  disk = crashed(disk);
  const copy = await FileLedger.open(platformOn(disk), "/log");
  assert.deepEqual(await terms(copy), [
    [2, 3],
    [3, 3],
    [4, 6],
  ]);
  await assert.rejects(copy.appendAll([entry(5, 5)]), /of term 6/);
  await copy.appendAll([entry(5, 9)]);
  await copy.begin(10);
  await copy.append(Buffer.from("6"));
  await assert.rejects(copy.appendAll([entry(7, 9)]), /of term 10/);
  assert.deepEqual((await terms(await FileLedger.open(platformOn(crashed(disk)), "/log"))).slice(3), [
    [5, 9],
    [6, 10],
  ]);
});

test("reading ends with the entries that were there when it began", async () => {
  const ledger = await open(new FaultyDisk());
  await ledger.append(Buffer.from("1"));
  const found: number[] = [];
  for await (const { index } of ledger.read(1)) {
    found.push(index);
    await ledger.append(Buffer.from("more"));
  }
  assert.deepEqual(found, [1]);
  assert.equal(ledger.lastIndex, 2);
});

test("truncation removes whole segments below the index", async () => {
  const disk = new FaultyDisk();
  const ledger = await open(disk);
  for (let n = 1; n <= 40; n++) assert.equal(await ledger.append(Buffer.alloc(megabyte, n)), n);
  assert.equal((await disk.list("/log")).length, 3);
  await ledger.truncate(1);
  assert.equal((await disk.list("/log")).length, 3);
  await ledger.truncate(20);
  assert.equal((await disk.list("/log")).length, 2);
  assert.deepEqual(
    (await entries(ledger, 20)).map(({ index, batch }) => [index, batch[0]]),
    Array.from({ length: 21 }, (_, n) => [n + 20, n + 20]),
  );
  await assert.rejects(entries(ledger, 1), { code: "notFound", message: /entry 1 was removed; .* is 16/ });
  await ledger.truncate(1000);
  assert.equal((await disk.list("/log")).length, 1, "the last one stays");

  const again = await open(crashed(disk));
  assert.equal(again.term, 2);
  assert.equal(again.lastIndex, 40);
  assert.equal((await entries(again, 31)).length, 10);
  await assert.rejects(entries(again, 30), { code: "notFound" });
});

test("term and index survive when every entry is gone", async () => {
  let disk = new FaultyDisk();
  const ledger = await open(disk);
  for (let n = 1; n <= 5; n++) await ledger.append(Buffer.from(`${n}`));
  disk = crashed(disk);
  const second = await open(disk);
  await second.truncate(6);
  assert.equal((await disk.list("/log")).length, 1);
  disk = crashed(disk);
  const third = await open(disk);
  assert.deepEqual([third.term, third.lastIndex], [3, 5]);
  assert.equal(await third.append(Buffer.from("6")), 6);
  assert.deepEqual(
    (await entries(third, 6)).map(({ index, term }) => [index, term]),
    [[6, 3]],
  );
});

test("a full disk refuses an append, which can be made later under the same index", async () => {
  const disk = new FaultyDisk();
  const ledger = await open(disk);
  for (let n = 1; n <= 15; n++) await ledger.append(Buffer.alloc(megabyte));
  disk.freeBytes = 0;
  await assert.rejects(ledger.append(Buffer.alloc(megabyte)), { code: "noSpace" });
  assert.equal(await ledger.append(Buffer.alloc(10)), 16, "what fits into the segment still goes");
  disk.freeBytes = 100 * megabyte;
  assert.equal(await ledger.append(Buffer.alloc(megabyte)), 17);
  assert.equal((await entries(await open(crashed(disk)))).length, 17);
});

test("a failed sync ends the ledger", async () => {
  const disk = new FaultyDisk();
  const ledger = await open(disk);
  disk.fault = (operation) => (operation === "sync" ? "EIO" : undefined);
  await assert.rejects(ledger.append(Buffer.from("1")), { code: "diskFailed" });
  disk.fault = () => undefined;
  await assert.rejects(ledger.append(Buffer.from("1")), { code: "diskFailed" });
  assert.equal(ledger.lastIndex, 0);
});

test("a missing segment in the middle is damage", async () => {
  const disk = new FaultyDisk();
  const ledger = await open(disk);
  for (let n = 1; n <= 40; n++) await ledger.append(Buffer.alloc(megabyte, n));
  const damaged = crashed(disk);
  await damaged.remove(segmentPath(2));
  await assert.rejects(open(damaged), { code: "badChecksum", message: /entry 31 after entry 15/ });
});

test("misuse is refused", async () => {
  const ledger = await open(new FaultyDisk());
  await assert.rejects(ledger.append(Buffer.alloc(megabyte + 1)), RangeError);
  const first = ledger.append(Buffer.from("1"));
  await assert.rejects(ledger.append(Buffer.from("2")), /under way/);
  assert.equal(await first, 1);
});
