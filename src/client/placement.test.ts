/** Clients decide where new files go, by rules that change while they are mounted; and they move what is there. */
import { strict as assert } from "node:assert";
import { type TestContext, test } from "node:test";
import { changeRules, type FileLocation, locateFile, type ShownRule } from "../wire/catalogue/placement.ts";
import { RuleApplier } from "./apply-rules.ts";
import type { Client } from "./client.ts";
import { directory, file, keepPrivileges, makeFile, pattern, readAll, TestCluster } from "./testing/test-cluster.ts";

const glob = (text: string): ShownRule => ({ syntax: "glob", pattern: text, replicas: 1, labels: [] });

async function start(context: TestContext, ...rules: readonly ShownRule[]) {
  const cluster = await TestCluster.start(context);
  const [one, two] = [await cluster.mount(), await cluster.mount()];
  for (const rule of rules) await addRule(cluster, rule);
  return { cluster, one, two };
}

function addRule(cluster: TestCluster, rule: ShownRule, position = 0) {
  return cluster.ask(changeRules, { volume: "home", change: { kind: "add", position, rule } });
}

async function syncAll(client: Client): Promise<void> {
  const root = await client.open(client.root, {});
  await client.sync(root);
  client.close(root);
}

function where(cluster: TestCluster, path: string): Promise<FileLocation> {
  return cluster.ask(locateFile, { volume: "home", inode: 0, path, from: 0 });
}

/** Copies of a file's chunks: 1 under a rule of these tests, else 2. */
async function copiesOf(cluster: TestCluster, path: string): Promise<number[]> {
  const { missing, groups } = await where(cluster, path);
  assert.equal(missing, "", path);
  return groups.map(({ members }) => members.length);
}

async function makeWith(client: Client, parent: number, name: string, content = "x"): Promise<number> {
  const { attributes, handle } = await client.createAndOpen(parent, name, file, {});
  await client.write(handle, 0, Buffer.from(content), keepPrivileges);
  client.close(handle);
  return attributes.inode;
}

test("a rule for names counts on all mounts when the command has ended; the first that matches", async (context) => {
  const { cluster, one, two } = await start(context, glob("*.jpg"));
  await makeWith(one, one.root, "a.jpg");
  await makeWith(two, two.root, "b.jpg");
  await makeWith(two, two.root, "c.txt");
  await addRule(cluster, { ...glob("*.jpg"), replicas: 2 }, 1);
  await makeWith(one, one.root, "d.jpg");
  for (const client of [one, two]) await syncAll(client);
  const copies = await Promise.all(["/a.jpg", "/b.jpg", "/c.txt", "/d.jpg"].map((path) => copiesOf(cluster, path)));
  assert.deepEqual(copies, [[1], [1], [2], [2]]);
});

test("a rule for paths: in directories that nobody but this client knows of, and that were renamed since", async (context) => {
  const { cluster, one, two } = await start(context, glob("/db/**"));
  const db = (await one.create(one.root, "db", directory)).inode;
  const deep = (await one.create(db, "deep", directory)).inode;
  await makeWith(one, deep, "new");
  await one.rename(one.root, "db", one.root, "old", { noReplace: false });
  await makeWith(one, deep, "later");
  await syncAll(one);
  assert.deepEqual([await copiesOf(cluster, "/old/deep/new"), await copiesOf(cluster, "/old/deep/later")], [[1], [2]]);

  // The other client works on below it, by its handle on the directory.
  assert.equal((await two.lookup(two.root, "old"))?.inode, db);
  assert.equal((await two.lookup(db, "deep"))?.inode, deep);
  await makeWith(two, deep, "two");
  await one.rename(one.root, "old", one.root, "db", { noReplace: false });
  await syncAll(one);
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  await makeWith(two, deep, "two again");
  await syncAll(two);
  assert.deepEqual(
    [await copiesOf(cluster, "/db/deep/two"), await copiesOf(cluster, "/db/deep/two again")],
    [[2], [1]],
  );
});

test("a copy of a range shares no chunk with a file of another pool", async (context) => {
  const { cluster, one } = await start(context, glob("*.jpg"));
  const bytes = pattern(5 << 20, 3);
  const from = await makeFile(one, "from");
  for (let at = 0; at < bytes.length; at += 1 << 20) {
    await one.write(from, at, bytes.subarray(at, at + (1 << 20)), keepPrivileges);
  }
  const to = await makeFile(one, "to.jpg");
  for (let copied = 0; copied < bytes.length; ) {
    const rest = { offset: copied, toOffset: copied, length: bytes.length - copied, killPrivileges: false };
    copied += await one.copyRange({ from, to, ...rest });
  }
  await syncAll(one);
  assert.ok((await readAll(one, to, 0, bytes.length)).equals(bytes));
  assert.ok((await where(cluster, "/to.jpg")).isInPlace);
});

test("rules are applied: chunks move, nothing else changes, and a second time there is nothing to do", async (context) => {
  const { cluster, one, two } = await start(context);
  const bytes = pattern(9 << 20, 7);
  const big = await makeFile(one, "big");
  for (let at = 0; at < bytes.length; at += 1 << 20) {
    await one.write(big, at, bytes.subarray(at, at + (1 << 20)), keepPrivileges);
  }
  const sparse = await makeFile(one, "sparse");
  await one.write(sparse, 6 << 20, Buffer.from("end"), keepPrivileges);
  await makeFile(one, "empty");
  await one.link(big.inode, one.root, "other name");
  const before = (await one.getAttributes(big.inode)).attributes;
  await syncAll(one);
  const other = await two.open(big.inode, {});
  await readAll(two, other);
  await addRule(cluster, glob("**"));

  const seen: number[] = [];
  const applier = () => new RuleApplier(one, one.placing(), ({ bytes: done }) => seen.push(done));
  const report = await applier().run();
  assert.deepEqual([report.filesSeen, report.files, report.chunks, report.failed], [3, 3, 4, 0]);
  assert.equal(seen.at(-1), report.bytes);
  assert.deepEqual((await one.getAttributes(big.inode)).attributes, before);
  for (const path of ["/big", "/sparse", "/empty"]) assert.ok((await where(cluster, path)).isInPlace, path);
  for (const client of [one, two]) {
    const again = await client.open(big.inode, {});
    const read = [];
    for (let at = 0; at < bytes.length; at += 1 << 20) read.push(await readAll(client, again, at, 1 << 20));
    assert.ok(Buffer.concat(read).equals(bytes));
  }
  const tail = await readAll(two, await two.open(sparse.inode, {}), 0, 7 << 20);
  assert.equal(tail.indexOf("end"), 6 << 20);
  assert.deepEqual(
    (await where(cluster, "/sparse")).ranges.map(({ first }) => first),
    [1],
    "holes stay",
  );
  const next = await applier().run();
  assert.deepEqual([next.filesSeen, next.files], [3, 0]);
});
