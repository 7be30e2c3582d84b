/** What is left of a damaged log is read, in order, and the log goes on behind it. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { blockBytes } from "./segment-format.ts";
import type { LoggedRecord, SegmentLog } from "./segment-log.ts";
import { FaultyDisk } from "./testing/faulty-disk.ts";
import { openLog, payloadOf, segmentPath, text } from "./testing/log-fixture.ts";

async function filledLog(count: number, blocksOf: (record: number) => number) {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  const records: LoggedRecord[] = [];
  for (let n = 0; n < count; n++) records.push(await log.append(Buffer.from(`${n}`), payloadOf(n, blocksOf(n))));
  return { disk: disk.afterCrash(() => true), records };
}

async function salvaged(disk: FaultyDisk): Promise<{ log: SegmentLog; replayed: LoggedRecord[]; damages: string[] }> {
  const damages: string[] = [];
  const opened = await openLog(disk, { onDamage: (found) => damages.push(...found) });
  return { ...opened, damages };
}

/** The area of a record that has a commit to itself. */
function areaOf(record: LoggedRecord): { path: string; offset: number } {
  return { path: segmentPath(record.segment), offset: record.payloadOffset - blockBytes };
}

test("records around a damaged commit are delivered, and the log goes on in a new segment", async () => {
  const { disk, records } = await filledLog(8, () => 4);
  const { path, offset } = areaOf(records[1]!);
  disk.content(path)[offset + 60]! ^= 1;
  await assert.rejects(openLog(disk), { code: "badChecksum" });
  const { log, replayed, damages } = await salvaged(disk);
  assert.deepEqual(replayed.map(text), ["0", "2", "3", "4", "5", "6", "7"]);
  assert.match(damages.join(), /1 commits are missing/);
  const { end } = log;
  await log.append(Buffer.from("after"));
  const again = await openLog(
    disk.afterCrash(() => true),
    { from: end },
  );
  assert.deepEqual(again.replayed.map(text), ["after"]);
});

test("a full disk with one block left is enough to go on", async () => {
  const { disk, records } = await filledLog(3, () => 4);
  const { path, offset } = areaOf(records[1]!);
  disk.content(path)[offset + 60]! ^= 1;
  disk.freeBytes = blockBytes;
  const { log, replayed } = await salvaged(disk);
  assert.deepEqual(replayed.map(text), ["0", "2"]);
  await assert.rejects(log.append(Buffer.from("no")), { code: "noSpace" });
  disk.freeBytes = 1024 * blockBytes;
  const { end } = log;
  await log.append(Buffer.from("after"));
  const again = await openLog(
    disk.afterCrash(() => true),
    { from: end },
  );
  assert.deepEqual(again.replayed.map(text), ["after"]);
});

test("whatever was damaged, the other records are delivered in order", async () => {
  const damage = fc.record({ record: fc.nat(29), byte: fc.nat(blockBytes - 1), header: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(3), { minLength: 2, maxLength: 30 }),
      fc.array(damage, { minLength: 1, maxLength: 4 }),
      async (blocks, spots) => {
        const { disk, records } = await filledLog(blocks.length, (n) => blocks[n]!);
        const gone = new Set<number>();
        for (const { record, byte, header } of spots) {
          const spot = areaOf(records[record % records.length]!);
          // One header must stay: it says which log it is.
          const inHeader = header && spot.path !== segmentPath(1);
          disk.content(spot.path)[inHeader ? 20 : spot.offset + byte]! += 1;
          if (!inHeader) gone.add(record % records.length);
        }
        const { replayed, damages } = await salvaged(disk);
        const left = records.map((_, n) => n).filter((n) => !gone.has(n));
        assert.deepEqual(replayed.map(text), left.map(String));
        // What is missing at the very end looks as if it had never been there.
        const isSeen = [...gone].some((n) => n < Math.max(-1, ...left));
        if (isSeen) assert.notEqual(damages.length, 0);
      },
    ),
    { numRuns: 200 },
  );
});

test("old bytes of the log that were stored as data are not taken for records", async () => {
  const disk = new FaultyDisk();
  const { log } = await openLog(disk);
  const first = await log.append(Buffer.from("a"), payloadOf(1, 1));
  const { path, offset } = areaOf(first);
  const copy = Buffer.from(disk.content(path).subarray(offset, offset + blockBytes));
  await log.append(Buffer.from("b"));
  const holder = await log.append(Buffer.from("c"), [copy]);
  await log.append(Buffer.from("d"));
  const left = disk.afterCrash(() => true);
  left.content(path)[areaOf(holder).offset + 20]! ^= 1;
  assert.deepEqual((await salvaged(left)).replayed.map(text), ["a", "b", "d"]);
});

test("a file that can't be read is left out and named", async () => {
  const { disk } = await filledLog(8, () => 4);
  disk.fault = (operation, path) => (operation === "read" && path === segmentPath(2) ? "EIO" : undefined);
  const { replayed, damages } = await salvaged(disk);
  assert.ok(replayed.length > 0 && replayed.length < 8);
  assert.ok(damages.some((damage) => damage.includes(segmentPath(2))));
});

test("the owner is told of an unfinished commit before it is dropped", async () => {
  const { disk, records } = await filledLog(2, () => 2);
  disk.content(segmentPath(1))[records[1]!.payloadOffset]! ^= 1;
  let told = 0;
  const onUnfinished = async () => {
    told += 1;
  };
  assert.deepEqual((await openLog(disk, { onUnfinished })).replayed.map(text), ["0"]);
  assert.equal(told, 1);
  await openLog(
    disk.afterCrash(() => true),
    { onUnfinished },
  );
  assert.equal(told, 1, "a clean end says nothing");
});
