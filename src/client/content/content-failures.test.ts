/** File content when stores fail, generations change, and disks are full. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { BrineError } from "../../errors/brine-error.ts";
import { FileError } from "../../errors/file-error.ts";
import { blockBytes, chunkBytes } from "../../namespace/model.ts";
import { ContentHarness, pattern } from "./testing/content-harness.ts";
import type { FakeStore } from "./testing/fake-store.ts";

test("a store dies while many files go out: they are completed on the other", async () => {
  const harness = await ContentHarness.start();
  const files = Array.from({ length: 30 }, () => harness.file());
  let requests = 0;
  harness.stores[1]!.before = () => {
    if (++requests < 3) return;
    void harness.stores[1]!.stop();
    throw new BrineError("closed", "the store dies, says the test");
  };
  for (const [index, file] of files.entries()) await harness.write(file, 0, pattern(300_000, index));
  await harness.until(harness.journal.committed(30));
  for (const [index, file] of files.entries()) {
    assert.ok(harness.stored(harness.stores[0]!, file.inode).equals(pattern(300_000, index)));
  }
  assert.ok(harness.reports > 0);
  await harness.stop();
});

test("acknowledgements of an older generation don't count: all members get the batch again", async () => {
  const harness = await ContentHarness.start();
  const file = harness.file();
  harness.stores[1]!.before = () => {
    harness.stores[1]!.before = () => {};
    // Store 1 has it already; it loses what it got and comes back.
    harness.stores[0]!.chunks.clear();
    harness.changeMember(1, "catchingUp");
  };
  await harness.write(file, 0, pattern(50_000, 1));
  await harness.until(harness.journal.committed(1));
  for (const store of harness.stores) assert.ok(harness.stored(store, file.inode).equals(pattern(50_000, 1)));
  await harness.stop();
});

test("a member that is catching up gets every write, and is not read", async () => {
  const harness = await ContentHarness.start({ cacheBytesMax: 0 });
  const file = harness.file();
  harness.changeMember(2, "catchingUp");
  await harness.write(file, 0, pattern(50_000, 1));
  await harness.until(harness.journal.committed(1));
  assert.ok(harness.stored(harness.stores[1]!, file.inode).equals(pattern(50_000, 1)));
  for (let round = 0; round < 5; round++) await harness.until(harness.read(file, 0, 50_000));
  assert.equal(harness.stores[1]!.counts.read, 0);
  await harness.stop();
});

test("a bad copy is never returned: the other one is read, the bad one reported; without a good one it is EIO, or the read ends there", async () => {
  const harness = await ContentHarness.start({ cacheBytesMax: 0 });
  const file = harness.file();
  await harness.write(file, 0, pattern(40_000, 1));
  await harness.until(harness.journal.committed(1));
  const [chunk] = harness.stores[0]!.chunks.keys();
  harness.stores[0]!.corrupt(chunk!, 3);
  for (let round = 0; round < 4; round++) {
    assert.ok((await harness.until(harness.read(file, 0, 50_000))).equals(pattern(40_000, 1)));
  }
  assert.ok(harness.stores[0]!.counts.reportBad > 0);
  harness.stores[1]!.corrupt(chunk!, 5);
  assert.ok(
    (await harness.until(harness.read(file, 0, 50_000))).equals(pattern(40_000, 1)),
    "each has another bad one",
  );
  harness.stores[1]!.corrupt(chunk!, 3);
  await assert.rejects(harness.until(harness.read(file, 2 * blockBytes, 9000)), { code: "EIO" });
  const behind = await harness.until(harness.read(file, 4 * blockBytes, 9000));
  assert.ok(behind.equals(pattern(40_000, 1).subarray(4 * blockBytes, 4 * blockBytes + 9000)));
  // What may be short ends before the bad block, also if it is in a load of its own, or in the second part.
  const short = (offset: number, length: number) =>
    harness.until(harness.read(file, offset, length, { mayBeShort: true }));
  const upTo = (offset: number, end: number) => pattern(40_000, 1).subarray(offset, end);
  assert.ok((await short(0, 50_000)).equals(upTo(0, 3 * blockBytes)));
  assert.ok((await short(2 * blockBytes + 7, 9000)).equals(upTo(2 * blockBytes + 7, 3 * blockBytes)));
  assert.ok((await short(4 * blockBytes, 50_000)).equals(upTo(4 * blockBytes, 40_000)));
  await assert.rejects(short(3 * blockBytes, 9000), { code: "EIO" });
  await assert.rejects(short(3 * blockBytes + 100, 50_000), { code: "EIO" });
  await assert.rejects(harness.until(harness.write(file, 3 * blockBytes + 10, Buffer.from("x"))), { code: "EIO" });
  await harness.stop();
});

test("a member that catches up and has no room keeps nobody from writing", async (context) => {
  const harness = await ContentHarness.start();
  context.after(() => harness.stop());
  const file = harness.file();
  await harness.write(file, 0, pattern(20_000, 1));
  await harness.until(harness.journal.committed(1));
  const [inSync, behind] = harness.stores as [FakeStore, FakeStore];
  behind.full = true;
  harness.changeMember(2, "catchingUp");
  await harness.write(file, 0, pattern(30_000, 2));
  await harness.until(harness.journal.committed(harness.journal.position));
  assert.ok(harness.stored(inSync, file.inode).equals(pattern(30_000, 2)));
  assert.ok(harness.reports > 0, "the leader takes it out");
  // The same where nothing is granted: it has to be told before the write returns.
  await withdraw(harness);
  harness.changeMember(2, "catchingUp");
  await harness.until(harness.write(file, 0, pattern(40_000, 3)));
  assert.ok(harness.stored(inSync, file.inode).equals(pattern(40_000, 3)));
  // And what is full everywhere is ENOSPC as ever.
  harness.changeMember(2, "catchingUp");
  inSync.full = true;
  const before = harness.reports;
  await assert.rejects(harness.until(harness.write(file, 0, pattern(40_000, 4))), { code: "ENOSPC" });
  assert.equal(harness.reports, before);
  assert.ok((await harness.until(harness.read(file, 0, 40_000))).equals(pattern(40_000, 3)));
});

/** No grants any more: writes go through. */
async function withdraw(harness: ContentHarness): Promise<void> {
  harness.grantable = 0;
  harness.contents.returnSpace();
  await harness.settle();
}

test("through: no space for the second chunk makes a write short, and the id that it took is discarded", async () => {
  const harness = await ContentHarness.start();
  const file = harness.file();
  const start = chunkBytes - 1000;
  await harness.write(file, start, Buffer.from("x"));
  await harness.until(harness.journal.committed(1));
  await withdraw(harness);
  const [chunk] = harness.stores[0]!.chunks.keys();
  for (const store of harness.stores) store.refuses = (one) => one !== chunk;
  assert.equal(await harness.until(harness.write(file, start, pattern(3000, 1))), 1000);
  assert.equal(file.size, chunkBytes);
  assert.ok(harness.discarded.length > 0);
  await assert.rejects(harness.until(harness.write(file, chunkBytes, pattern(3000, 1))), { code: "ENOSPC" });
  assert.ok((await harness.until(harness.read(file, start, 5000))).equals(pattern(3000, 1).subarray(0, 1000)));
  await harness.stop();
});

test("through: while a write can't be taken back the file waits, with a name, until there is space", async () => {
  const harness = await ContentHarness.start({ cacheBytesMax: 0 });
  const file = harness.file();
  await harness.write(file, 0, pattern(20_000, 1));
  await harness.until(harness.journal.committed(1));
  await withdraw(harness);
  const [one, two] = harness.stores as [(typeof harness.stores)[0], (typeof harness.stores)[0]];
  two.full = true;
  one.after = () => {
    one.full = true;
  };
  const operation = harness.operation("write");
  const writing = Promise.resolve(
    file.write({ offset: 0, bytes: pattern(20_000, 2), killPrivileges: false }, operation),
  );
  writing.catch(() => {});
  for (let round = 0; round < 10; round++) await harness.platform.clock.advance(500);
  assert.match(operation.waitsFor, /to take back a write/);
  const reading = harness.read(file, 0, 20_000);
  one.after = () => {};
  one.full = false;
  await assert.rejects(harness.until(writing), { code: "ENOSPC" });
  assert.ok((await harness.until(reading)).equals(pattern(20_000, 1)));
  for (const store of harness.stores) assert.ok(harness.stored(store, file.inode).equals(pattern(20_000, 1)));
  await harness.stop();
});

test("a truncate on full stores keeps the old chunk, and what is behind the end reads as zeros later", async () => {
  const harness = await ContentHarness.start();
  const file = harness.file();
  await harness.write(file, 0, pattern(500_000, 1));
  await harness.until(harness.journal.committed(1));
  await withdraw(harness);
  for (const store of harness.stores) store.full = true;
  await harness.until(harness.setSize(file, 300_001));
  assert.equal(file.size, 300_001);
  for (const store of harness.stores) store.full = false;
  harness.grantable = 1e9;
  await harness.platform.clock.advance(5_000);
  await harness.until(harness.setSize(file, 450_000));
  const expected = Buffer.concat([pattern(500_000, 1).subarray(0, 300_001), Buffer.alloc(149_999)]);
  assert.ok((await harness.until(harness.read(file, 0, 500_000))).equals(expected));
  await harness.until(harness.journal.committed(harness.journal.position));
  for (const store of harness.stores) assert.ok(harness.stored(store, file.inode).equals(expected));
  await harness.stop();
});

test("an operation that is cancelled before it took effect has none, and gives back what it took", async () => {
  const harness = await ContentHarness.start({ dirtyBytesMax: 1 << 20, groups: 1 });
  const file = harness.file();
  const gate = Promise.withResolvers<void>();
  for (const store of harness.stores) store.before = () => gate.promise;
  await harness.write(file, 0, pattern(1 << 20, 1));
  const operation = harness.operation("write");
  const bytes = pattern(100_000, 2);
  const writing = Promise.resolve(file.write({ offset: 0, bytes, killPrivileges: false }, operation));
  writing.catch(() => {});
  await harness.settle();
  operation.cancel(new FileError("EINTR"));
  bytes.fill(0);
  gate.resolve();
  await assert.rejects(harness.until(writing), { code: "EINTR" });
  await harness.until(harness.journal.committed(harness.journal.position));
  assert.equal(harness.journal.position, 1);
  assert.equal(harness.contents.dirtyBytes, 0);
  assert.ok(harness.stored(harness.stores[0]!, file.inode).equals(pattern(1 << 20, 1)));
  await harness.stop();
});

test("blocks of a later grant: the data is lost, the error is counted, and the journal goes on", async () => {
  const harness = await ContentHarness.start();
  const file = harness.file();
  await harness.write(file, 0, pattern(5_000, 1));
  await harness.until(harness.journal.committed(1));
  const [chunk] = harness.stores[0]!.chunks.keys();
  const block = harness.stores[0]!.chunks.get(chunk!)!.get(0)!;
  harness.stores[0]!.chunks.get(chunk!)!.set(0, { ...block, version: { grant: 99, sequence: 1 } });
  await harness.write(file, 0, pattern(5_000, 2));
  await harness.until(harness.journal.committed(2));
  assert.equal(file.errorCount, 1);
  assert.equal(file.node.errorCount, 1);
  await harness.stop();
});

test("a store that says the session is fenced ends it", async () => {
  const harness = await ContentHarness.start();
  const file = harness.file();
  for (const store of harness.stores) store.fenced.add(harness.session.id);
  await harness.write(file, 0, pattern(5_000, 1));
  harness.journal.release(1);
  await harness.settle();
  assert.match(harness.endedBy!, /session/);
  harness.session.ended = true;
  assert.ok(file.lose());
  await harness.stop();
});

test("busy stores are asked again", async () => {
  const harness = await ContentHarness.start();
  const file = harness.file();
  let refusals = 3;
  harness.stores[0]!.before = () => {
    if (refusals-- > 0) throw new BrineError("notServing", "not yet");
  };
  await harness.write(file, 0, pattern(5_000, 1));
  await harness.until(harness.journal.committed(1));
  assert.ok(harness.stored(harness.stores[0]!, file.inode).equals(pattern(5_000, 1)));
  await harness.stop();
});
