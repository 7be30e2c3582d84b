/** The backup file: what goes in comes out, and every damage is found. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FaultyDisk } from "../log/testing/faulty-disk.ts";
import type { DiskFile } from "../platform/disk.ts";
import { BackupWriter, readBackup } from "./metadata-backup.ts";

const head = { clusterId: "c".repeat(32), index: 12, term: 3, madeNs: 1_700_000_000_000_000_000n };
const rowsOf = (from: number, count: number) =>
  Array.from({ length: count }, (_, n) => ({ key: Buffer.from(`key ${from + n}`), value: Buffer.alloc(n % 50, n) }));

async function written(): Promise<{ disk: FaultyDisk; file: DiskFile; bytes: number }> {
  const disk = new FaultyDisk();
  const file = await disk.open("/backup", { create: true });
  const writer = await BackupWriter.begin(file, head);
  for (let part = 0; part < 4; part++) await writer.add(rowsOf(part * 100, 100));
  await writer.end();
  assert.equal(writer.rows, 400);
  return { disk, file, bytes: writer.bytes };
}

async function read(file: DiskFile): Promise<unknown[]> {
  const parts: unknown[] = [];
  for await (const part of readBackup(file, "/backup")) parts.push(part);
  return parts;
}

test("what was written is read", async () => {
  const { file, bytes } = await written();
  assert.equal(await file.size(), bytes);
  const parts = await read(file);
  assert.deepEqual(parts[0], { head });
  assert.deepEqual(
    parts.slice(1),
    Array.from({ length: 4 }, (_, part) => ({ rows: rowsOf(part * 100, 100) })),
  );
});

test("a file that was cut off anywhere is refused", async () => {
  const { file, bytes } = await written();
  const whole = Buffer.alloc(bytes);
  await file.read(whole, 0);
  for (let length = 0; length < bytes; length += 61) {
    const cut = await new FaultyDisk().open("/backup", { create: true });
    await cut.write([whole.subarray(0, length)], 0);
    await assert.rejects(read(cut), { name: "BrineError" }, `${length} bytes`);
  }
});

test("a wrong byte anywhere is found", async () => {
  const { file, bytes } = await written();
  const one = Buffer.alloc(1);
  for (let at = 0; at < bytes; at += 37) {
    if (at >= 10 && at < 16) continue; // kept for later versions
    await file.read(one, at);
    await file.write([Buffer.of(one[0]! ^ 0x10)], at);
    await assert.rejects(read(file), { name: "BrineError" }, `byte ${at}`);
    await file.write([one], at);
  }
  assert.equal((await read(file)).length, 5);
});

test("a newer version is refused", async () => {
  const { file } = await written();
  await file.write([Buffer.of(2)], 8);
  await assert.rejects(read(file), { code: "versionMismatch", message: /version 2/ });
});
