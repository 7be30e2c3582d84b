/** Going through and removing whole trees takes few requests, whoever has made them and still has their leases. */
import { strict as assert } from "node:assert";
import { type TestContext, test } from "node:test";
import type { Client } from "./client.ts";
import { directory, file, TestCluster } from "./testing/test-cluster.ts";
import { writeBackLimits } from "./write-back-limits.ts";

const directories = 10;
const filesEach = 60;
/** On a busy machine a client may need longer than usual to give leases back; how often others ask is the same if they wait for it. */
const patient = { leasesSoonMs: 10_000 };
/** A listing, a batch for its entries, and the first names alone: for each directory. Not one for each file. */
const requestsEachMax = 5;

async function makeTree(client: Client): Promise<void> {
  const top = await client.create(client.root, "tree", directory);
  for (let index = 0; index < directories; index++) {
    const { inode } = await client.create(top.inode, `d${index}`, directory);
    for (let number = 0; number < filesEach; number++) await client.create(inode, `f${number}`, file);
  }
}

/** A mount that has just found the tree, which nobody has leases on. */
async function overMadeTree(context: TestContext): Promise<{ cluster: TestCluster; client: Client; tree: number }> {
  const cluster = await TestCluster.start(context);
  const maker = await cluster.mount();
  await makeTree(maker);
  await maker.unmount();
  const client = await cluster.mount();
  return { cluster, client, tree: (await client.lookup(client.root, "tree"))!.inode };
}

/** Looks each entry up, as the kernel does before it removes or reads one, and does `work` with it. */
async function walk(client: Client, inode: number, work: (parent: number, name: string, isFile: boolean) => unknown) {
  const handle = await client.open(inode, {});
  for (let after = 0; ; ) {
    const entries = await client.readDirectory(handle, after, 100, true);
    if (entries.length === 0) break;
    for (const { name, type, cookie } of entries) {
      const found = await client.lookup(inode, name);
      assert.ok(found !== undefined, name);
      if (type === "directory") await walk(client, found.inode, work);
      await work(inode, name, type === "file");
      after = cookie;
    }
  }
  client.close(handle);
}

function requestsForNames({ platform }: TestCluster): number {
  return platform.metrics
    .series()
    .filter(
      ({ name, labels }) => name === "brine_request_seconds" && /^leader\.(acquire|lookup|read)/.test(labels.method!),
    )
    .reduce((sum, { count }) => sum + count, 0);
}

for (const what of ["another client has the leases", "nobody has the leases"] as const) {
  test(`a tree is read and removed in few requests: ${what}`, async (context) => {
    const cluster = await TestCluster.start(context, patient);
    const maker = await cluster.mount();
    await makeTree(maker);
    if (what === "nobody has the leases") await maker.unmount();
    const client = await cluster.mount();
    const found = await client.lookup(client.root, "tree");
    let before = requestsForNames(cluster);
    let count = 0;
    await walk(client, found!.inode, () => (count += 1));
    assert.equal(count, directories * (filesEach + 1));
    const forReading = requestsForNames(cluster) - before;
    assert.ok(forReading <= (directories + 1) * requestsEachMax, `${forReading} requests to read it`);
    before = requestsForNames(cluster);
    await walk(client, found!.inode, (parent, name, isFile) =>
      isFile ? client.unlink(parent, name) : client.removeDirectory(parent, name),
    );
    await client.removeDirectory(client.root, "tree");
    const forRemoving = requestsForNames(cluster) - before;
    assert.ok(forRemoving <= (directories + 1) * requestsEachMax, `${forRemoving} requests to remove it`);
    assert.equal(await client.lookup(client.root, "tree"), undefined);
  });
}

test("names that are looked up one after another are listed ahead; a few in a large directory are not", async (context) => {
  const cluster = await TestCluster.start(context);
  const maker = await cluster.mount();
  const { inode } = await maker.create(maker.root, "large", directory);
  const count = 3_000;
  for (let number = 0; number < count; number++) await maker.create(inode, `f${number}`, file);
  await maker.unmount();

  const all = await cluster.mount();
  assert.equal((await all.lookup(all.root, "large"))?.inode, inode);
  let before = requestsForNames(cluster);
  for (let number = 0; number < count; number++) assert.ok(await all.lookup(inode, `f${number}`), `f${number}`);
  assert.equal(await all.lookup(inode, "missing"), undefined);
  const forAll = requestsForNames(cluster) - before;
  assert.ok(forAll <= 80, `${forAll} requests for all ${count} names`);

  const few = await cluster.mount();
  assert.equal((await few.lookup(few.root, "large"))?.inode, inode);
  before = requestsForNames(cluster);
  for (let number = count - 20; number < count; number++) assert.ok(await few.lookup(inode, `f${number}`));
  const forFew = requestsForNames(cluster) - before;
  assert.ok(forFew >= 20 && forFew <= 25, `${forFew} requests for 20 names, of them 5 for pages`);
  before = requestsForNames(cluster);
  for (const known of [0, 4 * 32]) assert.ok(await few.lookup(inode, `f${known}`));
  assert.equal(requestsForNames(cluster) - before, 0, "the pages came");
  assert.ok(await few.lookup(inode, "f1000"));
  assert.equal(requestsForNames(cluster) - before, 1, "but not the whole directory");
});

test("whoever goes through directory after directory by names begins each with a page", async (context) => {
  const { cluster, client, tree } = await overMadeTree(context);
  const before = requestsForNames(cluster);
  for (let index = 0; index < directories; index++) {
    const { inode } = (await client.lookup(tree, `d${index}`))!;
    for (let number = 0; number < filesEach; number++) assert.ok(await client.lookup(inode, `f${number}`));
  }
  // Some ten in the first one, and for the names of the directories.
  const asked = requestsForNames(cluster) - before;
  assert.ok(asked <= 20 + directories, `${asked} requests for ${directories} directories`);
});

test("a tree that is written over by names alone is listed, too", async (context) => {
  const { cluster, client, tree } = await overMadeTree(context);
  const before = requestsForNames(cluster);
  for (let index = 0; index < directories; index++) {
    const { inode } = (await client.lookup(tree, `d${index}`))!;
    for (let number = 0; number < filesEach; number++) {
      assert.ok(await client.lookup(inode, `f${number}`));
      await client.unlink(inode, `f${number}`);
      await client.create(inode, `f${number}`, file);
    }
  }
  const asked = requestsForNames(cluster) - before;
  assert.ok(asked <= 30 * directories, `${asked} requests for ${directories * filesEach} files`);
});

test("while new names are made in a directory it is not listed", async (context) => {
  const cluster = await TestCluster.start(context);
  const maker = await cluster.mount();
  const { inode } = await maker.create(maker.root, "spool", directory);
  for (let number = 0; number < 300; number++) await maker.create(inode, `f${number}`, file);
  await maker.unmount();
  const client = await cluster.mount({ limits: { ...writeBackLimits, dirtyAgeMs: 60_000 } });
  assert.equal((await client.lookup(client.root, "spool"))?.inode, inode);
  await client.create(inode, "new", file);
  const before = requestsForNames(cluster);
  for (let number = 0; number < 50; number++) {
    assert.equal(await client.lookup(inode, `new${number}`), undefined);
    await client.create(inode, `new${number}`, file);
  }
  assert.equal(requestsForNames(cluster) - before, 50, "one for each");
});
