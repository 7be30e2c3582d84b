/** Files of a directory that are read one after another are brought ahead; whoever reads them otherwise pays nothing. */
import { strict as assert } from "node:assert";
import { type TestContext, test } from "node:test";
import type { Client } from "./client.ts";
import { directory, file, pattern, readAll, TestCluster } from "./testing/test-cluster.ts";

const count = 120;
const bytes = 5_000;

/** A directory with files f0, f1, … */
async function fill(client: Client, name: string, files: number): Promise<number> {
  const { inode } = await client.create(client.root, name, directory);
  for (let number = 0; number < files; number++) {
    const { handle } = await client.createAndOpen(inode, `f${number}`, file, {});
    await client.write(handle, 0, pattern(bytes, number), { killPrivileges: false });
    client.close(handle);
  }
  return inode;
}

async function list(client: Client, name: string): Promise<void> {
  const { inode } = (await client.lookup(client.root, name))!;
  const handle = await client.open(inode, {});
  for (let after = 0; ; ) {
    const entries = await client.readDirectory(handle, after, 1_000, true);
    if (entries.length === 0) break;
    after = entries.at(-1)!.cookie;
  }
  client.close(handle);
}

/** Directories with files, a second client that has listed them, and what it has asked the stores for. */
async function filled(context: TestContext, directories = 1, files = count) {
  const cluster = await TestCluster.start(context);
  const maker = await cluster.mount();
  const inodes: number[] = [];
  for (let number = 0; number < directories; number++) inodes.push(await fill(maker, `files${number}`, files));
  await maker.unmount();

  const client = await cluster.mount();
  for (let number = 0; number < directories; number++) await list(client, `files${number}`);
  const before = requestsOf(cluster);
  return { client, inode: inodes[0]!, inodes, requests: () => requestsOf(cluster) - before, cluster };
}

/** For blocks. */
function requestsOf({ platform }: TestCluster): number {
  return platform.metrics
    .series()
    .filter(({ name, labels }) => name === "brine_request_seconds" && labels.method === "store.read")
    .reduce((sum, one) => sum + one.count, 0);
}

async function readOne(client: Client, parent: number, number: number): Promise<void> {
  const found = await client.lookup(parent, `f${number}`);
  const handle = await client.open(found!.inode, {});
  assert.ok((await readAll(client, handle)).equals(pattern(bytes, number)), `f${number}`);
  client.close(handle);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

test("files that are read in the order of the listing are there before they are asked for", async (context) => {
  const { client, inode, requests } = await filled(context);
  for (let number = 0; number < 10; number++) await readOne(client, inode, number);
  for (let turns = 0; turns < 500 && requests() < 20; turns++) await pause(10);
  assert.ok(requests() >= 20 && requests() <= 30, `${requests()} files were asked for when 10 were read`);
  // Some are left out: a program that looks for certain ones.
  for (let number = 10; number < count; number += 3) await readOne(client, inode, number);
  // The last ones, which nobody reads, may still be on their way.
  for (let turns = 0; turns < 500 && requests() < count; turns++) await pause(10);
  assert.equal(requests(), count, "each was brought once");
});

test("in another order nothing is brought that nobody reads", async (context) => {
  const { client, inode, requests } = await filled(context);
  for (let number = count - 1; number >= count - 20; number--) await readOne(client, inode, number);
  for (let number = 0; number < 60; number += 20) await readOne(client, inode, number);
  await pause(50);
  assert.equal(requests(), 23);
});

test("a file that another client changes meanwhile is read anew", async (context) => {
  const { client, inode, cluster } = await filled(context);
  for (let number = 0; number < 10; number++) await readOne(client, inode, number);
  const other = await cluster.mount();
  const found = await other.lookup(inode, "f15");
  const handle = await other.open(found!.inode, {});
  await other.write(handle, 0, pattern(bytes, 99), { killPrivileges: false });
  other.close(handle);
  const mine = await client.open(found!.inode, {});
  assert.ok((await readAll(client, mine)).equals(pattern(bytes, 99)));
  client.close(mine);
});

test("whoever reads directory after directory waits in each for one file", async (context) => {
  const files = 5;
  const { client, inodes, requests } = await filled(context, 6, files);
  for (const inode of inodes.slice(0, -1)) {
    for (let number = 0; number < files; number++) await readOne(client, inode, number);
  }
  await readOne(client, inodes.at(-1)!, 0);
  for (let turns = 0; turns < 500 && requests() < 6 * files; turns++) await pause(10);
  assert.equal(requests(), 6 * files, "with the first file of the last directory all others were asked for");
});

test("of directories in which one file is read no others are brought", async (context) => {
  const { client, inodes, requests } = await filled(context, 10, 5);
  for (const inode of inodes) await readOne(client, inode, 0);
  await pause(50);
  assert.equal(requests(), 10);
});

test("a small file is brought whole with its first bytes, a large one with the second read in a row", async (context) => {
  const cluster = await TestCluster.start(context);
  const maker = await cluster.mount();
  const sizes = { small: 100_000, large: 400_000 };
  for (const [name, size] of Object.entries(sizes)) {
    const { handle } = await maker.createAndOpen(maker.root, name, file, {});
    await maker.write(handle, 0, pattern(size, size), { killPrivileges: false });
    maker.close(handle);
  }
  await maker.unmount();
  const client = await cluster.mount();
  for (const [name, size] of Object.entries(sizes)) {
    const before = requestsOf(cluster);
    const handle = await client.open((await client.lookup(client.root, name))!.inode, {});
    const pieces: Uint8Array[] = [];
    for (let at = 0; at < size; at += 8_192) pieces.push(...(await client.read(handle, at, 8_192)));
    assert.ok(Buffer.concat(pieces).equals(pattern(size, size)), name);
    // Its beginning, the next piece where it is large, and the rest.
    assert.equal(requestsOf(cluster) - before, name === "small" ? 2 : 3, name);
    client.close(handle);
  }
});
