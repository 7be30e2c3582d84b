/** Files of a directory that are read one after another are brought ahead; whoever reads them otherwise pays nothing. */
import { strict as assert } from "node:assert";
import { type TestContext, test } from "node:test";
import type { Client } from "./client.ts";
import { directory, file, pattern, readAll, TestCluster } from "./testing/test-cluster.ts";

const count = 120;
const bytes = 5_000;

/** A directory with `count` files, a second client that has listed it, and what it has asked the stores for. */
async function filled(context: TestContext) {
  const cluster = await TestCluster.start(context);
  const maker = await cluster.mount();
  const { inode } = await maker.create(maker.root, "files", directory);
  for (let number = 0; number < count; number++) {
    const { handle } = await maker.createAndOpen(inode, `f${number}`, file, {});
    await maker.write(handle, 0, pattern(bytes, number), { killPrivileges: false });
    maker.close(handle);
  }
  await maker.unmount();

  const client = await cluster.mount();
  await client.lookup(client.root, "files");
  const handle = await client.open(inode, {});
  for (let after = 0; after < count; ) {
    const entries = await client.readDirectory(handle, after, 1_000, true);
    if (entries.length === 0) break;
    after = entries.at(-1)!.cookie;
  }
  client.close(handle);
  const requests = () =>
    cluster.platform.metrics
      .series()
      .filter(({ name, labels }) => name === "brine_request_seconds" && labels.method === "store.read")
      .reduce((sum, one) => sum + one.count, 0);
  const before = requests();
  return { client, inode, requests: () => requests() - before, cluster };
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
