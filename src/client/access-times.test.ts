/** When a read sets the time of last access, what it leaves alone, and what it costs other clients. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { AccessTimes } from "./access-times.ts";
import type { Client } from "./client.ts";
import { directory, file, keepPrivileges, makeFile, pattern, readAll, TestCluster } from "./testing/test-cluster.ts";

const dayNs = 24n * 3_600n * 1_000_000_000n;

async function timesOf(client: Client, inode: number) {
  const { atimeNs, mtimeNs, ctimeNs } = (await client.getAttributes(inode)).attributes;
  return { atimeNs, mtimeNs, ctimeNs };
}

async function readOnce(client: Client, inode: number): Promise<void> {
  const handle = await client.open(inode, {});
  await readAll(client, handle);
  client.close(handle);
}

/** A file that was last read at `atimeNs`, or long before its last change. */
async function fileOf(client: Client, ago: bigint): Promise<number> {
  const handle = await makeFile(client, "file");
  await client.write(handle, 0, pattern(10_000, 1), keepPrivileges);
  const now = (await client.getAttributes(handle.inode)).attributes.mtimeNs;
  await client.setAttributes(handle.inode, {
    atime: { kind: "at", ns: now - ago },
    mtime: { kind: "at", ns: now - 9n * dayNs },
  });
  client.close(handle);
  return handle.inode;
}

for (const [accessTimes, ago, isSet] of [
  ["relative", dayNs, true],
  ["none", dayNs, false],
] as const satisfies readonly (readonly [AccessTimes, bigint, boolean])[]) {
  test(`${accessTimes}: a first read ${isSet ? "sets" : "leaves"} a day-old time, and no other`, async (context) => {
    const cluster = await TestCluster.start(context);
    const client = await cluster.mount({ accessTimes });
    const inode = await fileOf(client, ago);
    const before = await timesOf(client, inode);
    await readOnce(client, inode);
    const after = await timesOf(client, inode);
    assert.equal(after.atimeNs > before.atimeNs, isSet);
    assert.deepEqual({ ...after, atimeNs: 0n }, { ...before, atimeNs: 0n });
  });
}

test("relative: a second read says nothing new, until the file is changed", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount({ accessTimes: "relative" });
  const inode = await fileOf(client, dayNs);
  await readOnce(client, inode);
  const first = await timesOf(client, inode);
  await readOnce(client, inode);
  assert.deepEqual(await timesOf(client, inode), first);
  await client.setAttributes(inode, { mode: 0o600 });
  await readOnce(client, inode);
  assert.ok((await timesOf(client, inode)).atimeNs > first.atimeNs);
});

test("strict: each open sets it once, when it is read", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount({ accessTimes: "strict" });
  const inode = await fileOf(client, 0n);
  const before = await timesOf(client, inode);
  const handle = await client.open(inode, {});
  assert.deepEqual(await timesOf(client, inode), before);
  await readAll(client, handle);
  const first = await timesOf(client, inode);
  assert.ok(first.atimeNs > before.atimeNs);
  await readAll(client, handle);
  assert.deepEqual(await timesOf(client, inode), first);
  client.close(handle);
  await readOnce(client, inode);
  assert.ok((await timesOf(client, inode)).atimeNs > first.atimeNs);
});

test("readers take no lease from each other, and all of it reaches the leader", async (context) => {
  const cluster = await TestCluster.start(context);
  const writer = await cluster.mount();
  const inode = await fileOf(writer, dayNs);
  const { ctimeNs } = await timesOf(writer, inode);
  const readers = [await cluster.mount({ accessTimes: "strict" }), await cluster.mount({ accessTimes: "strict" })];
  for (const reader of readers) {
    assert.equal((await reader.lookup(reader.root, "file"))?.inode, inode);
    await readOnce(reader, inode);
  }
  const grants = readers.map((reader) => reader.leasesHeld().find((lease) => lease.inode === inode));
  for (let round = 0; round < 5; round++) {
    for (const reader of readers) await readOnce(reader, inode);
  }
  assert.deepEqual(
    readers.map((reader) => reader.leasesHeld().find((lease) => lease.inode === inode)),
    grants,
  );
  const [one, two] = [await timesOf(readers[0]!, inode), await timesOf(readers[1]!, inode)];
  // Who asks anew sees the latest of all: its lease is the exclusive one, the others have gone.
  await writer.setAttributes(inode, { mode: 0o640 });
  const seen = await timesOf(writer, inode);
  assert.equal(seen.atimeNs, one.atimeNs > two.atimeNs ? one.atimeNs : two.atimeNs);
  assert.ok(seen.ctimeNs > ctimeNs);
});

test("a directory is read by listing it", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount({ accessTimes: "relative" });
  const { inode, atimeNs } = await client.create(client.root, "d", directory);
  const handle = await client.open(inode, {});
  assert.equal((await timesOf(client, inode)).atimeNs, atimeNs);
  await client.readDirectory(handle, 0, 10, false);
  assert.ok((await timesOf(client, inode)).atimeNs > atimeNs);
  client.close(handle);
});

test("a symlink's time is set when it is followed, and only if that says something new", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount({ accessTimes: "relative" });
  const { inode } = await client.create(client.root, "link", { ...file, type: "symlink", target: "elsewhere" });
  const made = await timesOf(client, inode);
  assert.equal(await client.readLink(inode), "elsewhere");
  const first = await timesOf(client, inode);
  assert.ok(first.atimeNs > made.atimeNs);
  assert.deepEqual({ ...first, atimeNs: 0n }, { ...made, atimeNs: 0n });
  await client.readLink(inode);
  assert.deepEqual(await timesOf(client, inode), first);
  const [one, other] = [await cluster.mount({ accessTimes: "relative" }), await cluster.mount({ accessTimes: "none" })];
  for (const reader of [one, other]) {
    const found = await reader.lookup(reader.root, "link");
    assert.equal(await reader.readLink(found!.inode), "elsewhere");
    assert.deepEqual(await timesOf(reader, inode), first);
  }
});
