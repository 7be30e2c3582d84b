/** The content of one file: what returns when, what reaches the stores, and what a crash would leave. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FileError } from "../../errors/file-error.ts";
import { blockBytes, chunkBytes } from "../../namespace/model.ts";
import { Loan } from "../loan.ts";
import type { FileContent } from "./file-content.ts";
import { endOfRange } from "./range-lock.ts";
import { ReadPattern } from "./reader.ts";
import { ContentHarness, pattern } from "./testing/content-harness.ts";

test("a write returns from memory and is read at once; its entry is committed when all members have it", async () => {
  const harness = await ContentHarness.start();
  const content = harness.file();
  const bytes = pattern(10_000, 1);
  assert.equal(await harness.until(harness.write(content, 0, bytes)), 10_000);
  bytes.fill(0);
  assert.ok((await harness.read(content, 0, 20_000)).equals(pattern(10_000, 1)));
  assert.equal(harness.stores[0]!.counts.write, 0);
  const gate = Promise.withResolvers<void>();
  harness.stores[1]!.before = () => gate.promise;
  harness.journal.release(1);
  await harness.settle();
  assert.equal(harness.stores[0]!.counts.write, 1);
  assert.equal(harness.journal.committedPosition, 0);
  assert.ok(!content.isClean);
  gate.resolve();
  await harness.until(harness.journal.committed(1));
  assert.ok(content.isClean);
  for (const store of harness.stores) assert.ok(harness.stored(store, content.inode).equals(pattern(10_000, 1)));
  assert.ok((await harness.read(content, 0, 20_000)).equals(pattern(10_000, 1)));
  assert.equal(harness.stores[0]!.counts.read + harness.stores[1]!.counts.read, 0);
  content.drop();
  assert.equal(harness.contents.cachedBytes, 0);
  assert.equal(harness.contents.dirtyBytes, 0);
  await harness.stop();
});

test("fallocate lets a file grow, also behind a write that lets it grow further", async () => {
  const harness = await ContentHarness.start();
  const content = harness.file();
  const unlock = await content.lock.lock(0, endOfRange, true);
  const writing = harness.write(content, 0, pattern(20_000, 1));
  const asked = { offset: 0, length: 10_000, zero: false, grow: true };
  const growing = content.allocate(asked, harness.operation("allocate"));
  unlock();
  await harness.until(Promise.all([writing, growing]));
  assert.ok((await harness.read(content, 0, 30_000)).equals(pattern(20_000, 1)));
  await harness.until(content.allocate({ ...asked, offset: 15_000, zero: true }, harness.operation("allocate")));
  const expected = Buffer.concat([pattern(20_000, 1).subarray(0, 15_000), Buffer.alloc(10_000)]);
  assert.ok((await harness.read(content, 0, 30_000)).equals(expected));
  await harness.stop();
});

test("a punch that ends in the middle has told of the holes that it leaves", async () => {
  const harness = await ContentHarness.start();
  const content = harness.file();
  await harness.until(harness.write(content, 0, pattern(500_000, 1)));
  const before = harness.executed.length;
  const operation = harness.operation("allocate");
  const punching = content.allocate({ offset: 0, length: 400_000, zero: true, grow: false }, operation);
  while (!harness.executed.slice(before).some(({ kind }) => kind === "write")) await undefined;
  operation.cancel(new FileError("EINTR"));
  await assert.rejects(harness.until(punching), { code: "EINTR" });
  const punched = (await harness.read(content, 0, 500_000)).findIndex((byte, at) => byte !== 0 && at % 4096 === 0);
  assert.ok(punched > 0 && punched < 400_000, `${punched} bytes are zeros`);
  assert.ok(content.node.record.attributes.hasHoles);
  await harness.stop();
});

test("small files go to the stores in common requests", async () => {
  const harness = await ContentHarness.start({ groups: 1 });
  const files = Array.from({ length: 200 }, () => harness.file());
  for (const [index, file] of files.entries()) await harness.write(file, 0, pattern(14_000, index));
  harness.journal.release(harness.journal.position);
  await harness.until(harness.journal.committed(200));
  assert.ok(harness.stores[0]!.counts.write <= 6, `${harness.stores[0]!.counts.write} requests`);
  for (const [index, file] of files.entries()) {
    assert.ok(harness.stored(harness.stores[1]!, file.inode).equals(pattern(14_000, index)));
  }
  await harness.stop();
});

test("a stream goes out before anybody asks, in requests of a mebibyte, and its buffers are used again", async () => {
  const harness = await ContentHarness.start({ cacheBytesMax: 4 << 20 });
  const content = harness.file();
  for (let at = 0; at < 24; at++) {
    await harness.until(harness.write(content, at << 20, pattern(1 << 20, at)));
    await harness.settle();
  }
  assert.ok(content.isClean);
  assert.ok(harness.stores[0]!.counts.write <= 24);
  assert.ok(harness.contents.pool.freeBytes > 0);
  assert.ok(harness.contents.cachedBytes <= 4 << 20);
  harness.journal.release(24);
  assert.equal(harness.journal.committedPosition, 24);
  for (let at = 0; at < 24; at += 5) {
    const got = await harness.until(harness.read(content, at << 20, 1 << 20));
    assert.ok(got.equals(pattern(1 << 20, at)), `at ${at} MiB`);
  }
  await harness.stop();
});

test("what is written in small steps becomes one extent", async () => {
  const harness = await ContentHarness.start();
  const content = harness.file();
  const bytes = pattern(300_000, 3);
  for (let at = 0; at < bytes.length; at += 777) await harness.write(content, undefined, bytes.subarray(at, at + 777));
  await harness.until(harness.journal.committed(harness.journal.position));
  assert.ok(harness.stored(harness.stores[0]!, content.inode).equals(bytes));
  assert.equal(harness.stores[0]!.counts.write, 1);
  const [chunk] = harness.stores[0]!.chunks.values();
  assert.equal(new Set([...chunk!.values()].map(({ version }) => version.sequence)).size, 1);
  await harness.stop();
});

test("visible bytes are overwritten when what is before in the file, or moves or guards it, is committed", async () => {
  const harness = await ContentHarness.start();
  const { journal } = harness;
  const [content, other] = [harness.file(), harness.file()];
  await harness.write(content, 0, pattern(8_000, 1));
  await harness.until(journal.committed(1));
  const expected = pattern(8_000, 1);
  const overwrite = async (seed: number) => {
    await harness.write(content, 100 * seed, pattern(50, seed));
    content.flush(content.mark);
    await harness.settle();
  };
  const isThere = (seed: number) => {
    pattern(50, seed).copy(expected, 100 * seed);
    const stored = harness.stored(harness.stores[0]!, content.inode);
    return stored.subarray(0, 8_000).equals(expected);
  };
  await harness.write(other, 0, pattern(100, 9));
  await overwrite(2);
  assert.ok(isThere(2));
  await overwrite(3);
  assert.ok(isThere(3));
  assert.equal(journal.committedPosition, 1);
  await harness.write(content, 8_000, pattern(10, 9));
  await overwrite(4);
  assert.ok(!isThere(4));
  await harness.until(journal.committed(journal.position));
  assert.ok(isThere(4));
  await harness.write(other, 0, pattern(100, 8));
  journal.directoryPosition = journal.position;
  await overwrite(5);
  assert.ok(!isThere(5));
  await harness.until(journal.committed(journal.directoryPosition));
  content.flush(content.mark);
  await harness.settle();
  assert.ok(isThere(5));
  await harness.stop();
});

test("fdatasync of an overwrite: what it depends on is committed, the bytes are on all stores, its entry waits on", async () => {
  const harness = await ContentHarness.start();
  const [content, other] = [harness.file(), harness.file()];
  await harness.write(content, 0, pattern(8_000, 1));
  await harness.until(harness.journal.committed(1));
  await harness.write(other, 0, pattern(100, 9));
  harness.journal.directoryPosition = 2;
  const gate = Promise.withResolvers<void>();
  const expected = pattern(8_000, 1);
  pattern(50, 2).copy(expected, 100);
  await harness.write(content, 100, pattern(50, 2));
  harness.stores[1]!.before = () => gate.promise;
  let isDone = false;
  const syncing = content.durable(harness.operation("sync")).then(() => {
    isDone = true;
  });
  await harness.settle();
  assert.ok(!isDone);
  gate.resolve();
  await harness.until(syncing);
  assert.equal(harness.journal.committedPosition, 2);
  assert.equal(harness.journal.position, 3);
  for (const store of harness.stores) assert.ok(harness.stored(store, content.inode).equals(expected));
  await harness.stop();
});

test("fdatasync waits again for what a later write has joined, which has to wait for the journal once more", async () => {
  const harness = await ContentHarness.start();
  const [content, other] = [harness.file(), harness.file()];
  harness.journal.joins = true;
  await harness.write(content, 0, pattern(8_000, 1));
  await harness.until(harness.journal.committed(1));
  await harness.write(content, 0, pattern(4_096, 2));
  const syncing = content.durable(harness.operation("sync"));
  // Queued, but not on its way yet.
  await harness.write(other, 0, pattern(100, 9));
  await harness.write(content, 0, pattern(4_096, 3));
  await harness.until(syncing);
  for (const store of harness.stores) {
    const { committedPosition } = harness.journal;
    const seed = committedPosition < 3 ? 2 : 3;
    assert.ok(harness.stored(store, content.inode).subarray(0, 4_096).equals(pattern(4_096, seed)));
  }
  await harness.stop();
});

test("overwrites between other changes go out together", async () => {
  const harness = await ContentHarness.start({ groups: 1 });
  const content = harness.file();
  await harness.write(content, 0, pattern(100 * 4_096, 1));
  await harness.until(harness.journal.committed(1));
  const before = harness.stores[0]!.counts.write;
  for (let count = 0; count < 100; count++) {
    await harness.write(harness.file(), 0, pattern(100, count));
    await harness.write(content, count * 4_096, pattern(4_096, count));
  }
  harness.journal.release(harness.journal.position);
  await harness.until(harness.journal.committed(harness.journal.position));
  const requests = harness.stores[0]!.counts.write - before;
  assert.ok(requests <= 6, `${requests} requests`);
  await harness.stop();
});

test("bytes of an earlier entry go out as they were, though they were written again since", async () => {
  const harness = await ContentHarness.start();
  const content = harness.file();
  const other = harness.file();
  await harness.write(content, 0, Buffer.from("public"));
  await harness.write(other, 0, Buffer.from("in between"));
  await harness.write(content, 0, Buffer.from("secret"));
  assert.equal((await harness.read(content, 0, 10)).toString(), "secret");
  harness.journal.release(1);
  await harness.until(harness.journal.committed(1));
  assert.equal(harness.stored(harness.stores[0]!, content.inode).toString(), "public");
  await harness.until(harness.journal.committed(3));
  assert.equal(harness.stored(harness.stores[0]!, content.inode).toString(), "secret");
  await harness.stop();
});

test("dirty bytes are bounded: writers wait in their order, and go on when the stores do", async () => {
  const harness = await ContentHarness.start({ dirtyBytesMax: 4 << 20, cacheBytesMax: 1 << 20 });
  const content = harness.file();
  const gate = Promise.withResolvers<void>();
  harness.stores[0]!.before = () => gate.promise;
  let finished = 0;
  const writes = Array.from({ length: 12 }, async (_, at) => {
    await harness.write(content, at << 20, pattern(1 << 20, at));
    finished += 1;
  });
  await harness.settle();
  assert.ok(finished < 5 && finished > 0);
  assert.ok(harness.contents.dirtyBytes <= 5 << 20);
  gate.resolve();
  await harness.until(Promise.all(writes));
  assert.deepEqual(
    harness.executed.map((operation) => operation.kind === "write" && operation.end >> 20),
    Array.from({ length: 12 }, (_, at) => at + 1),
  );
  await harness.until(harness.journal.committed(harness.journal.position));
  assert.equal(harness.contents.dirtyBytes, 0);
  await harness.stop();
});

test("many overwrites of visible bytes at the limit make the journal hurry", async () => {
  const harness = await ContentHarness.start({ dirtyBytesMax: 1 << 20 });
  const content = harness.file();
  for (let at = 0; at < 4; at++) await harness.until(harness.write(content, at << 20, pattern(1 << 20, at)));
  await harness.until(harness.journal.committed(harness.journal.position));
  const other = harness.file();
  await harness.write(other, 0, pattern(100, 9));
  const writes: Promise<number>[] = [];
  for (let at = 0; at < 900; at++)
    writes.push(harness.write(content, (at * 37 * blockBytes) % (4 << 20), pattern(blockBytes, at)));
  await harness.until(Promise.all(writes));
  await harness.stop();
});

test("without a grant a write goes through, and a full member makes it ENOSPC with the old bytes in place", async () => {
  const harness = await ContentHarness.start();
  const content = harness.file();
  await harness.write(content, 0, pattern(20_000, 1));
  await harness.until(harness.journal.committed(1));
  harness.contents.returnSpace();
  harness.grantable = 0;
  await harness.settle();
  await harness.until(harness.write(content, 100, Buffer.from("through")));
  assert.equal(harness.journal.committedPosition, 2);
  const expected = pattern(20_000, 1);
  expected.write("through", 100);
  assert.ok(harness.stored(harness.stores[0]!, content.inode).equals(expected));
  let refusals = 1;
  harness.stores[1]!.refuses = () => refusals-- > 0;
  await assert.rejects(harness.until(harness.write(content, 5_000, pattern(9_000, 2))), { code: "ENOSPC" });
  assert.ok((await harness.until(harness.read(content, 0, 30_000))).equals(expected));
  for (const store of harness.stores) assert.ok(harness.stored(store, content.inode).equals(expected));
  await harness.stop();
});

test("acknowledged data that meets a full store is kept and offered again until there is room", async () => {
  const harness = await ContentHarness.start();
  const content = harness.file();
  harness.stores[1]!.full = true;
  await harness.write(content, 0, pattern(20_000, 1));
  const committed = harness.journal.committed(1);
  for (let round = 0; round < 10; round++) await harness.platform.clock.advance(500);
  assert.equal(harness.journal.committedPosition, 0);
  assert.match(harness.contents.waits()[0]!.waitsFor, /space on store 2/);
  harness.stores[1]!.full = false;
  await harness.until(committed);
  assert.ok(harness.stored(harness.stores[1]!, content.inode).equals(pattern(20_000, 1)));
  await harness.stop();
});

test("space: grants are taken, what was used is told, what isn't needed goes back", async () => {
  const harness = await ContentHarness.start({ groups: 1 });
  const content = harness.file();
  for (let at = 0; at < 40; at++) await harness.until(harness.write(content, at << 20, pattern(1 << 20, at)));
  await harness.until(harness.journal.committed(harness.journal.position));
  assert.ok(harness.grantedBytes > 40 << 20);
  harness.contents.returnSpace();
  await harness.settle();
  assert.ok(harness.usedBytes > 40 << 20);
  assert.equal(harness.usedBytes + harness.returnedBytes, harness.grantedBytes);
  await harness.stop();
});

test("a truncate of few bytes that are here waits for nobody; one of many makes a clone", async () => {
  const harness = await ContentHarness.start();
  const content = harness.file();
  await harness.write(content, 0, pattern(10_000, 1));
  await harness.setSize(content, 5_000);
  assert.equal(harness.stores[0]!.counts.write, 0);
  await harness.setSize(content, 9_000);
  const expected = Buffer.concat([pattern(10_000, 1).subarray(0, 5_000), Buffer.alloc(4_000)]);
  assert.ok((await harness.read(content, 0, 20_000)).equals(expected));
  await harness.until(harness.journal.committed(harness.journal.position));
  assert.ok(harness.stored(harness.stores[0]!, content.inode).equals(expected));
  const large = harness.file();
  await harness.until(harness.write(large, 0, pattern(1 << 20, 2)));
  await harness.until(harness.setSize(large, 700_001));
  await harness.until(harness.journal.committed(harness.journal.position));
  assert.ok(harness.stored(harness.stores[1]!, large.inode).equals(pattern(1 << 20, 2).subarray(0, 700_001)));
  await harness.setSize(large, 0);
  assert.equal((await harness.read(large, 0, 100)).length, 0);
  await harness.stop();
});

test("what others left behind the end is not seen when the file grows", async () => {
  const harness = await ContentHarness.start();
  const first = harness.file();
  await harness.write(first, 0, pattern(100_000, 1));
  await harness.until(harness.journal.committed(1));
  const committed = harness.journal.committedFiles.get(first.inode)!;
  committed.size = 50_000;
  const content = harness.file(committed, first.inode);
  await harness.until(harness.write(content, 80_000, Buffer.from("end")));
  const expected = Buffer.concat([pattern(50_000, 1), Buffer.alloc(30_000), Buffer.from("end")]);
  assert.ok((await harness.until(harness.read(content, 0, 200_000))).equals(expected));
  await harness.until(harness.journal.committed(harness.journal.position));
  for (const store of harness.stores) assert.ok(harness.stored(store, content.inode).equals(expected));
  await harness.stop();
});

test("a write that reaches the stores while they are asked what lies behind the end is not undone", async () => {
  const harness = await ContentHarness.start({ cacheBytesMax: 0 });
  const old = harness.file();
  await harness.until(harness.write(old, 0, pattern(100, 1)));
  await harness.until(harness.journal.committed(1));
  old.drop();
  const committed = harness.journal.committedFiles.get(old.inode)!;
  committed.size = 50;
  const content = harness.file(committed, old.inode);
  content.node.grant = content.node.versionGrant = 6;
  await harness.until(harness.write(content, 0, pattern(50, 2)));
  const gate = Promise.withResolvers<void>();
  for (const store of harness.stores) store.after = (verb) => (verb === "read" ? gate.promise : undefined);
  const growing = harness.write(content, 3 * blockBytes, pattern(100, 3));
  await harness.settle();
  await harness.until(harness.journal.committed(2));
  gate.resolve();
  await harness.until(growing);
  const expected = Buffer.concat([pattern(50, 2), Buffer.alloc(50)]);
  assert.ok((await harness.until(harness.read(content, 0, 100))).equals(expected));
  await harness.stop();
});

test("the end of the session: what is dirty is lost, and who waits for room gets EIO", async () => {
  const harness = await ContentHarness.start({ dirtyBytesMax: 1 << 20 });
  const [content, clean] = [harness.file(), harness.file()];
  harness.stores[0]!.before = () => new Promise(() => {});
  await harness.write(content, 0, pattern(900_000, 1));
  const waiting = harness.write(content, 1 << 20, pattern(900_000, 2));
  const syncing = content.durable(harness.operation("sync"));
  for (const one of [waiting, syncing]) one.catch(() => {});
  await harness.settle();
  harness.session.ended = true;
  assert.ok(content.lose());
  assert.ok(!clean.lose());
  harness.contents.close();
  await assert.rejects(harness.until(waiting), { code: "EIO" });
  await assert.rejects(harness.until(syncing), { code: "EIO" });
  await harness.stop();
});

test("a read that is under way doesn't bring back what a write has replaced", async () => {
  const harness = await ContentHarness.start({ cacheBytesMax: 1 });
  const content = harness.file();
  await harness.write(content, 0, pattern(8 * blockBytes, 1));
  await harness.until(harness.journal.committed(1));
  const gate = Promise.withResolvers<void>();
  for (const store of harness.stores) store.after = (verb) => (verb === "read" ? gate.promise : undefined);
  const reading = harness.read(content, 0, blockBytes);
  await harness.settle();
  await harness.write(content, 4 * blockBytes, pattern(blockBytes, 2));
  gate.resolve();
  await harness.until(reading);
  assert.ok((await harness.read(content, 4 * blockBytes, blockBytes)).equals(pattern(blockBytes, 2)));
  await harness.until(harness.journal.committed(2));
  assert.ok((await harness.until(harness.read(content, 4 * blockBytes, blockBytes))).equals(pattern(blockBytes, 2)));
  await harness.stop();
});

test("small random reads are kept; a sequential reader is served ahead of its reads", async () => {
  const harness = await ContentHarness.start();
  const first = harness.file();
  for (let at = 0; at < 6; at++) await harness.until(harness.write(first, at << 20, pattern(1 << 20, at)));
  await harness.until(harness.journal.committed(harness.journal.position));
  first.drop();
  const content = harness.file(harness.journal.committedFiles.get(first.inode)!, first.inode);
  await harness.until(harness.read(content, (3 * chunkBytes) / 4, 1000));
  const before = harness.stores[0]!.counts.read + harness.stores[1]!.counts.read;
  await harness.read(content, (3 * chunkBytes) / 4 + 1000, 1000);
  assert.equal(harness.stores[0]!.counts.read + harness.stores[1]!.counts.read, before);
  const { ReadPattern } = await import("./reader.ts");
  const reads = new ReadPattern();
  for (let at = 0; at < 6 << 20; at += 256 * 1024) {
    const got = await harness.until(harness.read(content, at, 256 * 1024, { pattern: reads }));
    assert.ok(got.equals(pattern(1 << 20, at >> 20).subarray(at % (1 << 20), (at % (1 << 20)) + 256 * 1024)));
    await harness.settle();
  }
  const [left, right] = harness.stores.map((store) => store.counts.read);
  assert.ok(left! + right! < 22, `${left} + ${right} requests for 24 reads`);
  assert.ok(left! > 2 && right! > 2, "both serve");
  await harness.stop();
});

test("what was lent is not used for anything else before the reader is finished with it, and then is", async () => {
  const segment = 512 * 1024;
  const harness = await ContentHarness.start({ cacheBytesMax: segment });
  const [one, two] = [await stored(harness, pattern(segment, 1)), await stored(harness, pattern(segment, 2))];
  const readLent = async (content: FileContent, loan: Loan) => {
    const request = { pattern: new ReadPattern(), offset: 0, length: segment, loan };
    const parts = await harness.until(Promise.resolve(content.read(request, harness.operation("read"))));
    assert.equal(parts.length, 1);
    return parts[0]! as Buffer;
  };
  const [first, second] = [new Loan(), new Loan()];
  const lent = await readLent(one, first);
  // For this one there is no room beside the first, which leaves the cache.
  const other = await readLent(two, second);
  assert.notEqual(lent.buffer, other.buffer);
  assert.ok(lent.equals(pattern(segment, 1)) && other.equals(pattern(segment, 2)));
  second.end();
  first.end();
  assert.equal(await readLent(one, new Loan()).then(({ buffer }) => buffer), lent.buffer);
  await harness.stop();
});

/** A file that the stores have, and nobody has read. */
async function stored(harness: ContentHarness, bytes: Buffer): Promise<FileContent> {
  const content = harness.file();
  await harness.until(harness.write(content, 0, bytes));
  harness.journal.release(harness.journal.position);
  await harness.until(harness.journal.committed(harness.journal.position));
  const chunks = content.map.mappings(0, 10).map(({ index, chunk }) => [index, chunk] as const);
  content.drop();
  return harness.file({ size: bytes.byteLength, chunks: new Map(chunks) }, content.inode);
}
