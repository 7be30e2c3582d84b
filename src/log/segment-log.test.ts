/** The segment log: group commit, segments, full and failing disks, damage. Crashes: segment-log-crash.test.ts. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { blockBytes, checksumOf, formatVersion } from "./segment-format.ts";
import { type LoggedRecord, SegmentLog } from "./segment-log.ts";
import { FaultyDisk } from "./testing/faulty-disk.ts";
import { directory, openLog, payloadOf, platformOn, segmentPath, text } from "./testing/log-fixture.ts";

function survived(disk: FaultyDisk): FaultyDisk {
  return disk.afterCrash(() => false);
}

async function scanned(log: SegmentLog, from = { segment: 0, offset: 0 }): Promise<string[]> {
  const found: string[] = [];
  for await (const record of log.scan(from)) found.push(text(record));
  return found;
}

test("what was appended is read, scanned and replayed in order", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  const records: LoggedRecord[] = [];
  for (let n = 0; n < 40; n++) records.push(await log.append(Buffer.from(`record ${n}`), payloadOf(n, n % 4)));
  const names = records.map((_, n) => `record ${n}`);
  assert.deepEqual(await scanned(log), names);
  assert.ok(log.segments().length > 3, "several segments");
  const { log: again, replayed } = await openLog(survived(disk));
  assert.deepEqual(replayed.map(text), names);
  for (const [n, record] of replayed.entries()) {
    assert.deepEqual({ ...record, descriptor: "" }, { ...records[n], descriptor: "" });
    const buffer = Buffer.alloc(record.payloadBytes);
    await again.read(record.segment, record.payloadOffset, buffer);
    assert.deepEqual(buffer, Buffer.concat(payloadOf(n, n % 4)));
  }
});

test("a replay and a scan start behind any commit", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  const ends: LoggedRecord["end"][] = [];
  for (let n = 0; n < 30; n++) ends.push((await log.append(Buffer.from(`${n}`), payloadOf(n, n % 3))).end);
  for (const [n, from] of ends.entries()) {
    const expected = ends.slice(n + 1).map((_, index) => `${n + 1 + index}`);
    assert.deepEqual(await scanned(log, from), expected);
    const { log: again, replayed } = await openLog(survived(disk), { from });
    assert.deepEqual(replayed.map(text), expected);
    assert.deepEqual(again.end, ends.at(-1));
  }
  await assert.rejects(openLog(survived(disk), { from: { segment: 1, offset: 4 * blockBytes + 512 } }), {
    code: "badChecksum",
  });
  await assert.rejects(openLog(survived(disk), { from: { segment: 99, offset: 0 } }), { code: "badChecksum" });
});

test("appends that wait share a sync, and keep the order of the calls", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk, { segmentBytes: 1024 * blockBytes });
  await log.append(Buffer.from("first"));
  const syncsBefore = disk.counts.get("sync")!;
  const order: number[] = [];
  const appends = Array.from({ length: 500 }, (_, n) => log.append(Buffer.from(`${n}`)).then(() => order.push(n)));
  await Promise.all(appends);
  assert.deepEqual(
    order,
    [...order].sort((a, b) => a - b),
  );
  assert.equal(disk.counts.get("sync")! - syncsBefore, 1);
  assert.equal(log.queuedBytes, 0);
  const more = Array.from({ length: 10_000 }, (_, n) => log.append(Buffer.from(`${n}`)));
  await Promise.all(more);
  assert.equal(disk.counts.get("sync")! - syncsBefore, 4, "at most 4,096 records in a commit");
  assert.deepEqual((await scanned(log)).length, 10_501);
});

test("a full disk refuses what needs a new segment; with space again the log goes on", async () => {
  const disk = new FaultyDisk();
  disk.freeBytes = 16 * blockBytes;
  const { log } = await openLog(disk);
  await log.append(Buffer.from("a"), payloadOf(0, 10));
  const results = await Promise.allSettled([
    log.append(Buffer.from("too large"), payloadOf(1, 8)),
    log.append(Buffer.from("b"), payloadOf(2, 1)),
    log.append(Buffer.from("too large"), payloadOf(1, 8)),
  ]);
  assert.deepEqual(
    results.map((result) => (result.status === "rejected" ? result.reason.code : "done")),
    ["noSpace", "done", "noSpace"],
  );
  disk.freeBytes = 16 * blockBytes;
  await log.append(Buffer.from("c"), payloadOf(3, 8));
  assert.deepEqual(await scanned(log), ["a", "b", "c"]);
  disk.freeBytes = 0;
  const { log: again } = await openLog(survived(disk));
  await log.close();
  assert.deepEqual(await scanned(again), ["a", "b", "c"], "it opens on a full disk");
});

for (const operation of ["write", "sync"]) {
  test(`a failed ${operation} closes the log for good`, async () => {
    const disk = new FaultyDisk();
    const { log } = await openLog(disk);
    await log.append(Buffer.from("a"));
    disk.fault = (name) => (name === operation ? "EIO" : undefined);
    const first = log.append(Buffer.from("b"));
    const refused = assert.rejects(first, { code: "diskFailed" });
    await refused;
    disk.fault = () => undefined;
    await assert.rejects(log.append(Buffer.from("c")), { code: "diskFailed" });
    await log.close();
  });
}

test("a closed log has written what was queued and takes nothing more", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  const waiting = [log.append(Buffer.from("a")), log.append(Buffer.from("b"))];
  await log.close();
  await Promise.all(waiting);
  await assert.rejects(log.append(Buffer.from("c")), { code: "closed" });
  assert.deepEqual((await openLog(survived(disk))).replayed.map(text), ["a", "b"]);
});

test("a record larger than a segment is refused", async () => {
  const { log } = await openLog(new FaultyDisk());
  await log.append(Buffer.from("just fits"), payloadOf(0, 14));
  await assert.rejects(log.append(Buffer.from("too large"), payloadOf(0, 15)), { code: "invalid" });
  assert.throws(() => log.append(Buffer.from("no block"), [Buffer.alloc(100)]), RangeError);
});

test("payload of the newest commit can be punched: the commit stays valid", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  const [, dead] = await Promise.all([log.append(Buffer.from("a")), log.append(Buffer.from("dead"), payloadOf(1, 2))]);
  await log.punch(dead!.segment, dead!.payloadOffset, dead!.payloadBytes);
  assert.deepEqual((await openLog(disk.afterCrash(() => true))).replayed.map(text), ["a", "dead"]);
  const { log: again } = await openLog(survived(disk));
  const zeros = Buffer.alloc(dead!.payloadBytes, 1);
  await again.read(dead!.segment, dead!.payloadOffset, zeros);
  await again.append(Buffer.from("b"), payloadOf(2, 1));
  assert.deepEqual(await scanned(again), ["a", "dead", "b"]);
});

test("payload of the last commit before a restart can be punched", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  await log.append(Buffer.from("a"), payloadOf(1, 2));
  const next = survived(disk);
  const { log: again, replayed } = await openLog(next);
  await again.punch(replayed[0]!.segment, replayed[0]!.payloadOffset, replayed[0]!.payloadBytes);
  assert.deepEqual((await openLog(next.afterCrash(() => true))).replayed.map(text), ["a"]);
});

test("segments are removed, from the front and from the middle", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  const records: LoggedRecord[] = [];
  for (let n = 0; n < 12; n++) records.push(await log.append(Buffer.from(`${n}`), payloadOf(n, 6)));
  assert.deepEqual(log.segments(), [1, 2, 3, 4, 5, 6]);
  await log.removeSegment(1);
  await log.removeSegment(3);
  await log.removeSegment(3);
  await assert.rejects(log.read(1, blockBytes, Buffer.alloc(1)), { code: "diskFailed" });
  await assert.rejects(log.removeSegment(6), RangeError);
  const left = ["2", "3", "6", "7", "8", "9", "10", "11"];
  assert.deepEqual(await scanned(log), left);
  assert.deepEqual((await openLog(survived(disk))).replayed.map(text), left);
  const from = records[5]!.end; // in a segment that is gone
  assert.deepEqual((await openLog(survived(disk), { from })).replayed.map(text), left.slice(2));
});

test("damage in the middle is an error, not the end", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  const records: LoggedRecord[] = [];
  for (let n = 0; n < 8; n++) records.push(await log.append(Buffer.from(`${n}`), payloadOf(n, 4)));
  const { segment } = records[0]!;
  for (const record of [...records.slice(0, 3), records[6]!]) {
    const damaged = survived(disk);
    damaged.content(segmentPath(record.segment))[record.payloadOffset - blockBytes + 60]! ^= 1;
    await assert.rejects(openLog(damaged), { code: "badChecksum" }, text(record));
  }
  const headerGone = survived(disk);
  headerGone.content(segmentPath(segment)).fill(0, 0, blockBytes);
  await assert.rejects(openLog(headerGone), { code: "badChecksum" });
  const segmentGone = survived(disk);
  await segmentGone.remove(segmentPath(segment + 1));
  await openLog(segmentGone); // looks like one that was removed: its owner knows better
  const payload = survived(disk);
  payload.content(segmentPath(segment))[records[1]!.payloadOffset]! ^= 1;
  await openLog(payload); // the records' owner has checksums of its own
});

test("payload that the disk can't read keeps no log from opening", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  const records: LoggedRecord[] = [];
  for (let n = 0; n < 4; n++) records.push(await log.append(Buffer.from(`${n}`), payloadOf(n, 2)));
  const { segment, payloadOffset } = records[1]!;
  const bad = { path: segmentPath(segment), from: payloadOffset + 512, to: payloadOffset + 1024 };
  const worn = survived(disk);
  worn.unreadable = bad;
  const { log: again, replayed } = await openLog(worn);
  assert.deepEqual(replayed.map(text), ["0", "1", "2", "3"]);
  await assert.rejects(again.read(segment, payloadOffset, Buffer.alloc(blockBytes)), { code: "diskFailed" });
  const areaGone = survived(disk);
  areaGone.unreadable = { ...bad, from: records[2]!.payloadOffset - blockBytes, to: records[2]!.payloadOffset };
  await assert.rejects(openLog(areaGone), { code: "diskFailed" });
});

test("the last commit counts only if it is whole", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  await log.append(Buffer.from("a"), payloadOf(0, 2));
  const last = await log.append(Buffer.from("b"), payloadOf(1, 2));
  const torn = survived(disk);
  torn.content(segmentPath(last.segment))[last.payloadOffset + 5000]! ^= 1;
  const { log: again, replayed } = await openLog(torn);
  assert.deepEqual(replayed.map(text), ["a"]);
  await again.append(Buffer.from("c"));
  assert.deepEqual((await openLog(survived(torn))).replayed.map(text), ["a", "c"], "and it never comes back");
});

test("a commit is whole whether its payloads' checksums were known or had to be computed", async () => {
  for (const known of [
    [true, true, true],
    [false, true, false],
    [true, false, true],
  ]) {
    const disk = new FaultyDisk();
    const { log } = await openLog(disk, { segmentBytes: 1024 * blockBytes });
    const appends = known.map((isKnown, n) => {
      const payload = payloadOf(n, n + 1);
      return log.append(Buffer.from(`${n}`), payload, isKnown ? checksumOf(Buffer.concat(payload)) : undefined);
    });
    const ends = await Promise.all(appends);
    assert.equal(ends[0]!.end.offset, ends[2]!.end.offset, "one commit");
    assert.deepEqual((await openLog(survived(disk))).replayed.map(text), ["0", "1", "2"]);
  }
});

test("a last commit that the owner has seen durable counts although it has rotted", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  const { end, segment, payloadOffset } = await log.append(Buffer.from("a"), payloadOf(0, 2));
  const rotten = survived(disk);
  rotten.content(segmentPath(segment))[payloadOffset + 5000]! ^= 1;
  const { log: again, replayed } = await openLog(rotten, { from: end });
  assert.deepEqual(replayed, []);
  await again.append(Buffer.from("b"));
  assert.deepEqual((await openLog(survived(rotten))).replayed.map(text), ["a", "b"]);
});

test("a segment that was being made is removed", async () => {
  for (const size of [0, 100, 16 * blockBytes]) {
    const disk = new FaultyDisk();
    const { log } = await openLog(disk);
    await log.append(Buffer.from("a"));
    const next = survived(disk);
    const file = await next.open(segmentPath(2), { create: true });
    await file.allocate(0, size);
    const { log: again, replayed } = await openLog(next);
    assert.deepEqual(replayed.map(text), ["a"]);
    await again.append(Buffer.from("b"));
    assert.deepEqual((await openLog(survived(next))).replayed.map(text), ["a", "b"]);
  }
});

test("a restart gives back the rest of the segment", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  const { end } = await log.append(Buffer.from("a"), payloadOf(0, 2));
  const next = survived(disk);
  await openLog(next);
  const length = 16 * blockBytes - end.offset;
  assert.deepEqual(next.punched, [{ path: segmentPath(1), position: end.offset, length }]);
});

test("on a full disk a log opens whose rest was given back before", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  await log.append(Buffer.from("one"));
  await log.close();
  await openLog(disk);
  let writes = 0;
  // Header and last commit are written over; only the block behind them would take new space.
  disk.fault = (operation) => (operation === "write" && ++writes === 3 ? "ENOSPC" : undefined);
  const { replayed } = await openLog(disk);
  assert.deepEqual(replayed.map(text), ["one"]);
  assert.equal(writes, 3);
});

test("a newer format, another kind and another log are refused", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  await log.append(Buffer.from("a"));
  await assert.rejects(openLog(survived(disk), { kind: "ELSE" }), { code: "invalid" });
  const newer = survived(disk);
  newer.content(segmentPath(1)).writeUInt16LE(formatVersion + 1, 8);
  await assert.rejects(openLog(newer), { code: "versionMismatch", message: /segment format 2/ });
  const other = new FaultyDisk();
  const { log: otherLog } = await openLog(other);
  for (let n = 0; n < 3; n++) await otherLog.append(Buffer.from("x"), payloadOf(n, 10));
  const mixed = survived(disk);
  const file = await mixed.open(segmentPath(2), { create: true });
  await file.write([other.content(segmentPath(2))], 0);
  await assert.rejects(openLog(mixed), { code: "badChecksum", message: /another log/ });
});

test("the options are checked", async () => {
  const options = { directory: "/log", kind: "TEST", segmentBytes: 1 << 20, onRecord: () => {} };
  const platform = platformOn(new FaultyDisk());
  await assert.rejects(SegmentLog.open(platform, { ...options, kind: "LONGER" }), RangeError);
  await assert.rejects(SegmentLog.open(platform, { ...options, segmentBytes: 5000 }), RangeError);
});

test("a log whose directory was removed under it acknowledges nothing for long, and says why", async () => {
  for (const isIdle of [false, true]) {
    const disk = new FaultyDisk();
    let nowMs = 0;
    const { clock, ...platform } = platformOn(disk);
    const log = await SegmentLog.open(
      { ...platform, clock: { ...clock, nowMs: () => nowMs } },
      { directory, kind: "TEST", segmentBytes: 16 * blockBytes, onRecord: () => {} },
    );
    await log.check();
    await log.append(Buffer.from("there"));
    await log.check();
    await disk.remove(segmentPath(1));
    nowMs += 1_000;
    const noticing = isIdle ? log.check() : log.append(Buffer.from("nowhere"));
    await assert.rejects(noticing, { code: "diskFailed", message: /0001\.segment is gone: .*removed/ });
    await assert.rejects(log.append(Buffer.from("later")), { code: "diskFailed" });
    await assert.rejects(log.check(), { code: "diskFailed" });
    await log.close();
  }
});
