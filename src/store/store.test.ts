import assert from "node:assert/strict";
import { test } from "node:test";
import type { BrineErrorCode } from "../errors/brine-error.ts";
import { hasCode } from "../errors/brine-error.ts";
import { blockBytes } from "../namespace/model.ts";
import { DiskError } from "../platform/disk.ts";
import { Store } from "./store.ts";
import { blocksOf, contentOf, testChunk, writeOf } from "./testing/blocks.ts";
import { MemoryPlatform, settle } from "./testing/memory-platform.ts";

const chunk = testChunk;
const other = testChunk + 1;

function openStore(platform: MemoryPlatform): Promise<Store> {
  return Store.open(platform, { directory: "store", segmentBytes: 256 * 1024 });
}

async function put(store: Store, to: number, fill: number, first: number, count: number, grant: number, sequence = 1) {
  const data = blocksOf(fill, first, count);
  await store.write(writeOf(to, first, data, { grant, sequence }), data);
}

function failsWith(code: BrineErrorCode): (error: unknown) => boolean {
  return (error) => {
    if (!hasCode(error, code)) throw error;
    return true;
  };
}

test("blocks that were written are read, holes are left out", async () => {
  const store = await openStore(new MemoryPlatform());
  await put(store, chunk, 10, 2, 3, 1);
  assert.deepEqual(await contentOf(store, chunk, 7), [undefined, undefined, 12, 13, 14, undefined, undefined]);
  await assert.rejects(store.read(other, 0, 1), failsWith("unknownChunk"));
  await store.close();
});

test("versions order writes, whatever order they come in", async () => {
  const store = await openStore(new MemoryPlatform());
  await put(store, chunk, 20, 0, 4, 5, 2);
  await put(store, chunk, 40, 1, 1, 5, 1); // late, of the same grant: acknowledged, without effect
  await assert.rejects(put(store, chunk, 60, 0, 2, 4, 9), failsWith("superseded"));
  await put(store, chunk, 20, 0, 4, 5, 2); // a retry
  await put(store, chunk, 80, 3, 3, 6, 1);
  assert.deepEqual(await contentOf(store, chunk, 6), [20, 21, 22, 83, 84, 85]);
  await store.close();
});

test("a write that partly finds newer blocks is superseded, and its other blocks are written", async () => {
  const store = await openStore(new MemoryPlatform());
  await put(store, chunk, 10, 1, 1, 9);
  await assert.rejects(put(store, chunk, 50, 0, 3, 8), failsWith("superseded"));
  assert.deepEqual(await contentOf(store, chunk, 3), [50, 11, 52]);
  await store.close();
});

test("the order of concurrent writes is decided by their versions", async () => {
  const store = await openStore(new MemoryPlatform());
  const writes = [1, 3, 2].map((grant) => put(store, chunk, grant * 10, 0, 2, grant).catch((error) => error));
  const results = await Promise.all(writes);
  assert.ok(hasCode(results[2], "superseded"));
  assert.deepEqual(await contentOf(store, chunk, 2), [30, 31]);
  await store.close();
});

test("a retry is acknowledged only when the first try is durable, and takes no space of its own", async () => {
  const platform = new MemoryPlatform();
  const store = await openStore(platform);
  await Promise.all([put(store, chunk, 1, 0, 4, 1), put(store, chunk, 1, 0, 4, 1), put(store, chunk, 1, 0, 4, 1)]);
  assert.equal(store.liveBytes, 4 * 4096);
  platform.disk.failWrites = "EIO";
  const tries = [put(store, chunk, 2, 0, 1, 2), put(store, chunk, 2, 0, 1, 2)];
  for (const result of await Promise.allSettled(tries)) {
    assert.equal(result.status, "rejected");
    assert.ok(hasCode(result.reason, "diskFailed"));
  }
});

test("damaged data is refused", async () => {
  const store = await openStore(new MemoryPlatform());
  const data = blocksOf(1, 0, 2);
  const write = writeOf(chunk, 0, data, { grant: 1, sequence: 1 });
  data[5000]! ^= 1;
  await assert.rejects(store.write(write, data), failsWith("badChecksum"));
  await assert.rejects(store.write({ ...write, firstBlock: 1023 }, data), failsWith("invalid"));
  await store.close();
});

test("a clone shares the data, and each of the two goes its own way", async () => {
  const store = await openStore(new MemoryPlatform());
  await put(store, chunk, 10, 0, 4, 1);
  const clone = { chunk: other, source: chunk, blockCount: 3, generation: 1, session: 1, tolerant: false };
  await store.clone(clone);
  await store.clone(clone);
  assert.equal(store.liveBytes, 4 * 4096);
  await put(store, other, 60, 1, 1, 2);
  await put(store, chunk, 90, 0, 1, 2);
  assert.deepEqual(await contentOf(store, chunk, 4), [90, 11, 12, 13]);
  assert.deepEqual(await contentOf(store, other, 4), [10, 61, 12, undefined]);
  await store.delete([chunk, 4711]);
  assert.deepEqual(await contentOf(store, other, 4), [10, 61, 12, undefined]);
  assert.equal(store.liveBytes, 3 * 4096);
  await store.delete([other]);
  assert.equal(store.liveBytes, 0);
  await assert.rejects(store.clone({ ...clone, source: chunk }), failsWith("unknownChunk"));
  await store.clone({ ...clone, blockCount: 0 });
  assert.deepEqual(await contentOf(store, other, 1), [undefined]);
  await store.close();
});

test("a bad block that was copied as it is is still there after a crash, and bad", async () => {
  const platform = new MemoryPlatform();
  let store = await openStore(platform);
  const data = blocksOf(10, 0, 4);
  const { version, checksums } = writeOf(chunk, 0, data, { grant: 1, sequence: 1 });
  data[2 * blockBytes]! ^= 1;
  const stamp = { version, generation: 1, session: 0 };
  await store.replace({ chunk, firstBlock: 0, stamp, origin: chunk, checksums, expected: undefined }, data, {
    isGood: false,
  });
  platform.crash();
  store = await openStore(platform);
  assert.deepEqual(await store.isWhole(chunk, 0, 4), { whole: false, blockCount: 4 });
  assert.deepEqual(await store.isWhole(chunk, 0, 2), { whole: true, blockCount: 2 });
  await store.close();
});

test("what was acknowledged is there after a crash, with and without checkpoints", async () => {
  const platform = new MemoryPlatform();
  let store = await openStore(platform);
  for (let round = 1; round <= 8; round++) {
    await put(store, chunk, round * 10, round, 4, round);
    if (round === 3) await store.setGroups([{ group: 3, generation: 7, members: [] }]);
    if (round % 3 === 0) await store.checkpoint();
    platform.crash();
    store = await openStore(platform);
    const content = await contentOf(store, chunk, round + 4);
    assert.deepEqual(
      content.slice(round),
      [0, 1, 2, 3].map((index) => (round * 10 + round + index) & 255),
    );
    assert.equal(store.liveBytes, (round + 3) * 4096);
    if (round >= 3) assert.equal(store.groups.get(3)?.generation, 7);
  }
  await store.close();
});

test("space of dead data is given back: dead ranges are punched, dead segments removed", async () => {
  const platform = new MemoryPlatform();
  platform.disk.totalBytes = 8 * 1024 * 1024;
  const store = await openStore(platform);
  for (let round = 1; round <= 100; round++) {
    await put(store, chunk, round, 0, 40, round);
    await platform.clock.advance(1000);
  }
  assert.deepEqual((await contentOf(store, chunk, 2)).slice(0, 2), [100, 101]);
  assert.ok(platform.disk.usedBytes() < 2 * 1024 * 1024, `${platform.disk.usedBytes()} bytes are used`);
  await store.delete([chunk]);
  await platform.clock.advance(10_000);
  assert.ok(platform.disk.usedBytes() < 768 * 1024, `${platform.disk.usedBytes()} bytes are used`);
  await store.close();
});

test("a full disk refuses writes, keeps what it has, and takes writes again when space was freed", async () => {
  const platform = new MemoryPlatform();
  platform.disk.totalBytes = 4 * 1024 * 1024;
  const store = await openStore(platform);
  let written = 0;
  for (; written < 100; written++) {
    try {
      await store.readyToWrite();
      await put(store, chunk + written, written, 0, 16, 1);
    } catch (error) {
      failsWith("noSpace")(error);
      break;
    }
  }
  assert.ok(written > 30 && written < 64, `${written} written`);
  assert.deepEqual(await contentOf(store, chunk, 1), [0]);
  await store.delete(Array.from({ length: 20 }, (_, index) => chunk + index));
  await platform.clock.advance(3000);
  await store.readyToWrite();
  await put(store, chunk + 1000, 5, 0, 16, 1);
  assert.deepEqual(await contentOf(store, chunk + 25, 2), [25, 26]);
  await store.close();
});

test("a write that takes another back finds room where others find none, and leaves some for deletions", async () => {
  const platform = new MemoryPlatform();
  platform.disk.totalBytes = 4 * 1024 * 1024;
  const store = await openStore(platform);
  const write = async (number: number, restores: boolean) => {
    const data = blocksOf(number, 0, 8);
    await store.readyToWrite();
    await store.write({ ...writeOf(chunk + number, 0, data, { grant: 1, sequence: 1 }), restores }, data);
  };
  let count = 0;
  const writeUntilFull = async (restores: boolean) => {
    const before = count;
    await assert.rejects(async () => {
      for (;;) await write(count++, restores);
    }, failsWith("noSpace"));
    return count - before - 1;
  };
  await writeUntilFull(false);
  // Something else has filled the disk, but for a part of the reserve: what is left is one segment.
  platform.disk.totalBytes = platform.disk.usedBytes() + 330 * 1024;
  await store.readyToWrite();
  const restored = await writeUntilFull(true);
  assert.ok(restored >= 5, `${restored} were taken back`);
  await assert.rejects(write(1000, false), failsWith("noSpace"));
  await store.delete(Array.from({ length: 40 }, (_, index) => chunk + index));
  await platform.clock.advance(3000);
  await write(1001, true);
  await store.close();
});

test("a disk that fails at a write is never believed again", async () => {
  const platform = new MemoryPlatform();
  const store = await openStore(platform);
  let told = "";
  store.onFailure = (reason) => {
    told = reason;
  };
  await put(store, chunk, 1, 0, 1, 1);
  platform.disk.failWrites = "EIO";
  await assert.rejects(put(store, chunk, 2, 0, 1, 2), failsWith("diskFailed"));
  platform.disk.failWrites = undefined;
  await assert.rejects(put(store, chunk, 3, 0, 1, 3), failsWith("diskFailed"));
  await assert.rejects(store.read(chunk, 0, 1), failsWith("diskFailed"));
  assert.match(told, /EIO/);
  assert.ok(platform.logLines.some((line) => line.includes("steps down")));
  await store.close();
});

test("a read error fails that read only, and is counted once", async () => {
  const platform = new MemoryPlatform();
  const store = await openStore(platform);
  await put(store, chunk, 1, 0, 1, 1);
  platform.disk.failReads = "EIO";
  await assert.rejects(store.read(chunk, 0, 1), failsWith("diskFailed"));
  await assert.rejects(store.read(chunk, 0, 1), failsWith("diskFailed"));
  platform.disk.failReads = undefined;
  assert.deepEqual(await contentOf(store, chunk, 1), [1]);
  assert.equal(store.space.badBlocks, 1);
  await store.close();
});

test("a block that can't be read is told from those that are read with it", async () => {
  const platform = new MemoryPlatform();
  const store = await openStore(platform);
  await put(store, chunk, 1, 0, 2, 1);
  const { segment, offset } = store.peek(chunk)!.extents[0]!;
  const file = platform.disk.files.get(`store/segments/${String(segment).padStart(16, "0")}.segment`)!;
  file.size = offset + blockBytes;
  await assert.rejects(store.read(chunk, 0, 2), /can't be read from block 1 on/);
  assert.deepEqual(await contentOf(store, chunk, 1), [1]);
  assert.deepEqual(store.badBlocks.now(), [{ chunk, firstBlock: 1, blockCount: 1 }]);
  assert.equal(store.space.badBlocks, 1);
  await store.close();
});

test("a block that rotted on disk is found, counted once and remembered", async () => {
  const platform = new MemoryPlatform();
  let store = await openStore(platform);
  await put(store, chunk, 200, 0, 4, 1);
  await store.checkpoint();
  for (const [path, file] of platform.disk.files) {
    if (!path.endsWith(".segment")) continue;
    for (const page of file.pages.values()) if (page[0] === 202 && page[4095] === 202) page[99]! ^= 4;
  }
  assert.deepEqual(
    (await store.findBad(chunk, 0, 4)).map(({ firstBlock }) => firstBlock),
    [2],
  );
  assert.equal((await store.findBad(chunk, 0, 4)).length, 1);
  assert.equal(store.space.badBlocks, 1);
  assert.ok(platform.logLines.some((line) => line.includes('"block":2')));
  await store.close();
  store = await openStore(platform);
  assert.equal(store.space.badBlocks, 1);
  await store.close();
});

test("an index of a newer format is refused clearly", async () => {
  const platform = new MemoryPlatform();
  const store = await openStore(platform);
  await put(store, chunk, 1, 0, 1, 1);
  await store.checkpoint();
  await settle();
  await store.close();
  const database = platform.keyValue.database("store/index.sqlite");
  const meta = database.rows.get("m")!;
  database.rows.set("m", Buffer.concat([Buffer.from([9, 0]), meta.subarray(2)]));
  await assert.rejects(openStore(platform), failsWith("versionMismatch"));
});

/** Damages of a store that has run for a while: each must lead to a start with what is left, and a word about it. */
const damages: Record<string, (platform: MemoryPlatform) => void> = {
  "the index is gone": ({ keyValue }) => void keyValue.remove("store/index.sqlite"),
  "the index is damaged": ({ keyValue }) => {
    keyValue.database("store/index.sqlite").damaged = true;
  },
  "a segment is gone": ({ disk }) => {
    const [path] = [...disk.files.keys()].filter((name) => name.endsWith(".segment"));
    disk.files.delete(path!);
  },
};

for (const [name, damage] of Object.entries(damages)) {
  test(`${name}: the store starts with what the segments say, and says that it has lost something`, async () => {
    const platform = new MemoryPlatform();
    let store = await openStore(platform);
    for (let number = 0; number < 10; number++) await put(store, chunk + number, number, 0, 16, 1);
    await store.checkpoint();
    await put(store, chunk + 9, 200, 0, 1, 2);
    await settle();
    platform.crash();
    damage(platform);
    for (let start = 0; start < 2; start++) {
      store = await openStore(platform);
      assert.equal(store.damage?.loss, "certain");
      assert.equal(store.damage?.rebuild, false);
      assert.deepEqual((await contentOf(store, chunk + 9, 3)).slice(0, 3), [200, 10, 11]);
      const { length } = store.listChunks(3, 0, 100);
      assert.ok(name === "a segment is gone" ? length >= 5 : length === 10 + start, `${length} chunks`);
      await put(store, chunk + 50, start, 0, 1, 5 + start);
      await store.close();
    }
    store = await openStore(platform);
    await store.damageNote.forget();
    await store.close();
    store = await openStore(platform);
    assert.equal(store.damage, undefined);
    assert.deepEqual(await contentOf(store, chunk + 50, 1), [1]);
    await store.close();
  });
}

test("a row of the index that makes no sense: the store steps down, and the next start builds the index again", async () => {
  const platform = new MemoryPlatform();
  let store = await openStore(platform);
  await put(store, chunk, 7, 0, 4, 1);
  await store.checkpoint();
  await store.close();
  const database = platform.keyValue.database("store/index.sqlite");
  for (const [key, row] of database.snapshot()) if (key.startsWith("c")) database.rows.set(key, row.subarray(0, 20));
  store = await openStore(platform);
  await assert.rejects(store.read(chunk, 0, 4));
  assert.match(store.failure ?? "", /index is damaged/);
  await settle();
  await store.close();
  store = await openStore(platform);
  assert.deepEqual(await contentOf(store, chunk, 4), [7, 8, 9, 10]);
  assert.equal(store.damage?.loss, "certain");
  await store.close();
});

test("a store whose log can't be closed says so, and has closed its index all the same", async () => {
  const platform = new MemoryPlatform();
  const open = platform.disk.open.bind(platform.disk);
  platform.disk.open = async (...call) => {
    const file = await open(...call);
    file.close = () => Promise.reject(new DiskError("ENOSPC", "close", call[0]));
    return file;
  };
  const store = await openStore(platform);
  await put(store, chunk, 10, 0, 3, 1);
  let isClosed = false;
  const database = platform.keyValue.database("store/index.sqlite");
  const close = database.close.bind(database);
  database.close = () => {
    isClosed = true;
    close();
  };
  await assert.rejects(store.close(), { code: "ENOSPC" });
  assert.ok(isClosed);
  platform.disk.open = open;
  const again = await openStore(platform);
  assert.deepEqual(await contentOf(again, chunk, 3), [10, 11, 12]);
  await again.close();
});

test("a message that names a group twice can't put into the log what no start would replay", async () => {
  const platform = new MemoryPlatform();
  let store = await openStore(platform);
  const view = (generation: number) => ({ group: 3, generation, members: [] });
  await store.setGroups([view(7), view(4), view(9), view(8)]);
  assert.equal(store.groups.get(3)?.generation, 9);
  platform.crash();
  store = await openStore(platform);
  assert.equal(store.groups.get(3)?.generation, 9);
  await store.close();
});

test("what is late for a chunk that was deleted for good does not bring it back", async () => {
  const platform = new MemoryPlatform();
  const store = await openStore(platform);
  await put(store, chunk, 1, 0, 4, 1);
  await put(store, chunk + 1, 1, 0, 4, 1);
  await store.deleteForGood([chunk, chunk + 2]);
  await put(store, chunk, 1, 2, 4, 2);
  await put(store, chunk + 2, 1, 0, 4, 1);
  const clone = { source: chunk + 1, blockCount: 2, generation: 2, session: 1, tolerant: false };
  await store.clone({ chunk, ...clone });
  assert.deepEqual(store.chunksFrom(0, 10), [chunk + 1]);
  // Of a group that the store has left they may come again.
  await store.delete([chunk + 1]);
  await put(store, chunk + 1, 1, 0, 4, 3);
  assert.deepEqual(store.chunksFrom(0, 10), [chunk + 1]);
  await store.close();
});
