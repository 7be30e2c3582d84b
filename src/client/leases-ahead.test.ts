/** Whoever changes file after file asks for few leases; whoever does it otherwise, or beside others, for no more than one each. */
import { strict as assert } from "node:assert";
import { type TestContext, test } from "node:test";
import type { Client } from "./client.ts";
import { directory, file, TestCluster } from "./testing/test-cluster.ts";

const files = 60;

/** Directories with files f0, f1, … on which nobody has a lease; and what was asked for leases since, by clients and of them. */
async function filled(context: TestContext, directories = 1) {
  const cluster = await TestCluster.start(context);
  const maker = await cluster.mount();
  for (let number = 0; number < directories; number++) {
    const { inode } = await maker.create(maker.root, `d${number}`, directory);
    for (let at = 0; at < files; at++) await maker.create(inode, `f${at}`, file);
  }
  await maker.unmount();
  const count = () => requestsFor(cluster, /Leases?$|lookup$/);
  return { cluster, count };
}

function requestsFor({ platform }: TestCluster, methods: RegExp): number {
  return platform.metrics
    .series()
    .filter(({ name, labels }) => name === "brine_request_seconds" && methods.test(labels.method!))
    .reduce((sum, one) => sum + one.count, 0);
}

/** The inodes of a directory's files, in the order of its listing. */
async function list(client: Client, name: string, withLeases = true): Promise<number[]> {
  const { inode } = (await client.lookup(client.root, name))!;
  const handle = await client.open(inode, {});
  const entries = await client.readDirectory(handle, 0, 1_000, withLeases);
  client.close(handle);
  return entries.map((entry) => entry.inode);
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
const chmod = (client: Client, inode: number, mode = 0o600) => client.setAttributes(inode, { mode });

test("files that are changed in the order of the listing cost few requests, in directory after directory", async (context) => {
  const directories = 4;
  const { cluster, count } = await filled(context, directories);
  const client = await cluster.mount();
  const before = count();
  for (let number = 0; number < directories; number++) {
    const inodes = await list(client, `d${number}`);
    for (const inode of inodes) await chmod(client, inode);
  }
  // Two alone, then 4, 2, 3, … ahead; and in the next directory one alone.
  const asked = count() - before;
  assert.ok(asked <= 12 + 3 * 4, `${asked} requests for ${directories * files} files`);
  const other = await cluster.mount();
  for (const inode of await list(other, "d3")) {
    assert.equal((await other.getAttributes(inode)).attributes.mode, 0o600);
  }
});

test("changed in another order they cost one each", async (context) => {
  const { cluster, count } = await filled(context);
  const client = await cluster.mount();
  const inodes = await list(client, "d0");
  const before = count();
  for (const inode of inodes.toReversed()) await chmod(client, inode);
  assert.equal(count() - before, files);
});

test("what is changed here and there costs one each, and nothing else is asked for", async (context) => {
  const { cluster, count } = await filled(context);
  const client = await cluster.mount();
  const inodes = (await list(client, "d0")).filter((_inode, at) => at % 3 === 0);
  const before = count();
  for (const inode of inodes) await chmod(client, inode);
  assert.equal(count() - before, inodes.length);
  assert.equal(client.leasesHeld().filter(({ mode }) => mode === "exclusive").length, inodes.length);
});

test("of directories in which one file is changed no others are asked for", async (context) => {
  const directories = 4;
  const { cluster, count } = await filled(context, directories);
  const client = await cluster.mount();
  for (let number = 0; number < directories; number++) {
    const inodes = await list(client, `d${number}`);
    const before = count();
    await chmod(client, inodes.at(number === 0 ? -1 : number)!);
    assert.equal(count() - before, 1);
  }
  assert.equal(client.leasesHeld().filter(({ mode }) => mode === "exclusive").length, directories);
});

test("what others have is not taken from them, and it is not tried for long", async (context) => {
  const { cluster, count } = await filled(context);
  const [client, other] = [await cluster.mount(), await cluster.mount()];
  const inodes = await list(client, "d0");
  await list(other, "d0");
  const before = count();
  for (const inode of inodes.slice(0, 20)) await chmod(client, inode);
  const held = other.leasesHeld().filter(({ inode }) => inodes.includes(inode));
  assert.equal(held.length, files - 20, "the other one has kept the rest");
  // Each: the question, the recall, and what is given back; and one or two wishes.
  assert.ok(count() - before <= 20 * 3 + 2, `${count() - before} requests for 20 files`);
});

for (const withLeases of [true, false]) {
  const what = withLeases ? "both have listed" : "are looked up by name";
  test(`two clients that change every other file by turns ask little more than without wishes: files that ${what}`, async (context) => {
    const costs: number[] = [];
    for (const isInOrder of [false, true]) {
      const { cluster, count } = await filled(context);
      const [one, two] = [await cluster.mount(), await cluster.mount()];
      const inodes = await list(one, "d0", withLeases);
      await list(two, "d0", withLeases);
      const parent = (await one.lookup(one.root, "d0"))!.inode;
      const before = count();
      for (const [at, inode] of (isInOrder ? inodes : inodes.toReversed()).entries()) {
        const client = at % 2 === 0 ? one : two;
        if (!withLeases) await client.lookup(parent, `f${isInOrder ? at : files - 1 - at}`);
        await chmod(client, inode);
      }
      costs.push(count() - before);
    }
    const [alone, wishing] = costs as [number, number];
    assert.ok(wishing <= alone * 1.3, `${wishing} requests, ${alone} where nothing is wished for`);
  });
}

test("a lease that came by a wish and was recalled unused stops the wishes for a while", async (context) => {
  const { cluster, count } = await filled(context);
  const client = await cluster.mount();
  const inodes = await list(client, "d0");
  for (const inode of inodes.slice(0, 3)) await chmod(client, inode);
  const exclusive = () =>
    client.leasesHeld().filter(({ inode, mode }) => mode === "exclusive" && inodes.includes(inode));
  const wished = 6;
  for (let turns = 0; turns < 500 && exclusive().length < 3 + wished; turns++) await pause(10);
  assert.equal(exclusive().length, 3 + wished);
  const other = await cluster.mount();
  assert.equal((await other.getAttributes(inodes[3]!)).attributes.mode, file.mode);
  const before = count();
  for (const inode of inodes.slice(wished + 3, wished + 13)) await chmod(client, inode);
  assert.equal(count() - before, 10, "one for each");
  for (const inode of inodes.slice(wished + 13)) await chmod(client, inode);
  assert.ok(count() - before < files - wished - 3, "then they are wished for again");
});
