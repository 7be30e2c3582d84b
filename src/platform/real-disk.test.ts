/** Files of the machine: what the log and the servers rely on. */
import { strict as assert } from "node:assert";
import { mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { realDisk } from "./real-disk.ts";

const directory = mkdtempSync(join(tmpdir(), "brinefs-disk-"));
after(() => rmSync(directory, { recursive: true }));
const at = (name: string) => join(directory, name);

test("a file is written and read at positions", async () => {
  await assert.rejects(realDisk.open(at("missing")), { name: "DiskError", code: "ENOENT" });
  const file = await realDisk.open(at("file"), { create: true });
  const buffers = Array.from({ length: 3000 }, (_, n) => Buffer.alloc(1 + (n % 5), n));
  await file.write([...buffers, Buffer.alloc(0)], 100);
  await file.syncData();
  const expected = Buffer.concat([Buffer.alloc(100), ...buffers]);
  assert.equal(await file.size(), expected.length);
  const found = Buffer.alloc(expected.length + 10);
  assert.equal(await file.read(found, 0), expected.length);
  assert.deepEqual(found.subarray(0, expected.length), expected);
  assert.equal(await file.read(found, 1_000_000), 0);
  await file.close();
  await file.close();
  await assert.rejects(file.read(found, 0), { name: "DiskError", code: "EBADF" });
});

test("close waits for what is under way", async () => {
  const file = await realDisk.open(at("busy"), { create: true });
  const writing = Promise.all(
    Array.from({ length: 20 }, (_, n) => file.write([Buffer.alloc(100_000, n)], n * 100_000)),
  );
  await Promise.all([file.close(), writing]);
  assert.equal(statSync(at("busy")).size, 2_000_000);
});

test("space is reserved and given back, and reads as zeros", async () => {
  const file = await realDisk.open(at("holes"), { create: true });
  await file.allocate(0, 1024 * 1024);
  assert.equal(await file.size(), 1024 * 1024);
  assert.ok(statSync(at("holes")).blocks * 512 >= 1024 * 1024);
  await file.write([Buffer.alloc(1024 * 1024, 1)], 0);
  await file.syncData();
  await file.punch(4096, 1000 * 1024);
  const found = Buffer.alloc(1024 * 1024);
  await file.read(found, 0);
  assert.deepEqual(found.subarray(4096, 4096 + 1000 * 1024), Buffer.alloc(1000 * 1024));
  assert.equal(found[4095], 1);
  assert.equal(found.at(-1), 1);
  assert.ok(statSync(at("holes")).blocks * 512 < 100 * 1024);
  assert.equal(await file.allocatedBytes(), statSync(at("holes")).blocks * 512);
  await file.forget(0, 1024 * 1024);
  assert.equal(await file.read(found, 0), found.byteLength);
  assert.equal(found[4095], 1, "what was synced is there, whatever memory forgets");
  await assert.rejects(file.allocate(0, -1), { name: "DiskError", code: "EINVAL" });
  await file.close();
});

test("directories and small files", async () => {
  await realDisk.makeDirectory(at("a/b/c"));
  await realDisk.makeDirectory(at("a/b/c"));
  await realDisk.writeFile(at("a/b/two"), Buffer.from("2"));
  await realDisk.writeFile(at("a/b/one"), Buffer.from("1"));
  await realDisk.writeFile(at("a/b/one"), Buffer.from("new"));
  assert.deepEqual(await realDisk.list(at("a/b")), ["c", "one", "two"]);
  assert.deepEqual(await realDisk.list(at("nowhere")), []);
  assert.deepEqual(Buffer.from((await realDisk.readFile(at("a/b/one")))!), Buffer.from("new"));
  assert.equal(await realDisk.readFile(at("a/b/three")), undefined);
  await realDisk.remove(at("a/b/one"));
  await realDisk.remove(at("a/b/one"));
  await realDisk.syncDirectory(at("a/b"));
  assert.deepEqual(await realDisk.list(at("a/b")), ["c", "two"]);
  await assert.rejects(realDisk.makeDirectory(at("a/b/two/x")), { name: "DiskError", code: "ENOTDIR" });
  await assert.rejects(realDisk.makeDirectory(at("a/b/two")), { name: "DiskError", code: "EEXIST" });
  await assert.rejects(realDisk.makeDirectory("/proc/brine/x"), { code: "ENOENT", path: "/proc/brine" });
  const { totalBytes, freeBytes } = await realDisk.space(directory);
  assert.ok(freeBytes > 0 && freeBytes <= totalBytes);
});

test("a directory has one owner", async () => {
  const lock = await realDisk.lockDirectory(directory);
  assert.equal(readFileSync(at("lock"), "latin1"), `${process.pid}\n`);
  await assert.rejects(realDisk.lockDirectory(directory), {
    code: "EWOULDBLOCK",
    message: new RegExp(`process ${process.pid} has it`),
  });
  lock.release();
  lock.release();
  writeFileSync(at("lock"), "a longer text of a process that has died\n");
  const again = await realDisk.lockDirectory(directory);
  assert.equal(readFileSync(at("lock"), "latin1"), `${process.pid}\n`);
  again.release();
});

test("a file knows whether its path still leads to it", async () => {
  await realDisk.makeDirectory(at("place/below"));
  const file = await realDisk.open(at("place/below/file"), { create: true });
  assert.equal(await file.isInPlace(), true);
  renameSync(at("place"), at("moved"));
  assert.equal(await file.isInPlace(), false);
  mkdirSync(at("place/below"), { recursive: true });
  writeFileSync(at("place/below/file"), "another one");
  assert.equal(await file.isInPlace(), false);
  rmSync(at("place"), { recursive: true });
  writeFileSync(at("place"), "no directory");
  assert.equal(await file.isInPlace(), false);
  rmSync(at("place"));
  renameSync(at("moved"), at("place"));
  assert.equal(await file.isInPlace(), true);
  await file.close();
});
