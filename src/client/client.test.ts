/** Clients against a real metadata server and two stores: the ways of names and data, leases that move, what is synced. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FileError } from "../errors/file-error.ts";
import { directory, file, keepPrivileges, makeFile, pattern, readAll, TestCluster } from "./testing/test-cluster.ts";
import { writeBackLimits } from "./write-back-limits.ts";

function fails(code: string) {
  return (error: unknown) => error instanceof FileError && error.code === code;
}

test("names: create, look up, list, link, rename, remove", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount();
  const { root } = client;
  const made = await client.create(root, "a", file);
  assert.equal((await client.lookup(root, "a"))?.inode, made.inode);
  assert.equal(await client.lookup(root, "b"), undefined);
  await assert.rejects(async () => client.create(root, "a", file), fails("EEXIST"));
  await client.link(made.inode, root, "b");
  await client.rename(root, "a", root, "c", { noReplace: true });
  const handle = await client.open(root, {});
  const entries = await client.readDirectory(handle, 0, 100, true);
  assert.deepEqual(entries.map((entry) => entry.name).sort(), ["b", "c"]);
  client.close(handle);
  await client.unlink(root, "b");
  await client.create(root, "d", directory);
  await client.removeDirectory(root, "d");
  await client.create(root, "s", { type: "symlink", mode: 0o777, uid: 0, gid: 0, target: "c" });
  assert.equal(await client.readLink((await client.lookup(root, "s"))!.inode), "c");
  await assert.rejects(async () => client.lookup(root, "x".repeat(256)), fails("ENAMETOOLONG"));
  assert.equal((await client.setAttributes(made.inode, { mode: 0o600 })).mode, 0o600);
});

test("what is written is read, on both stores, and by another client", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount();
  const other = await cluster.mount();
  const handle = await makeFile(client, "f");
  const bytes = pattern(1_000_000, 1);
  assert.equal(await client.write(handle, 0, bytes, keepPrivileges), bytes.length);
  assert.equal(await client.write(handle, 4_000_000, bytes, keepPrivileges), bytes.length);
  const expected = Buffer.concat([bytes, Buffer.alloc(3_000_000), bytes]);
  const found = await other.lookup(other.root, "f");
  const elsewhere = await other.open(found!.inode, {});
  for (let offset = 0; offset < expected.length; offset += 700_001) {
    const want = expected.subarray(offset, offset + 700_001);
    assert.ok((await readAll(client, handle, offset, 700_001)).equals(want), `at ${offset}`);
    assert.ok((await readAll(other, elsewhere, offset, 700_001)).equals(want), `elsewhere at ${offset}`);
  }
  assert.equal((await client.getAttributes(handle.inode)).attributes.size, 5_000_000);
});

test("two clients append and overwrite by turns; nothing is lost", async (context) => {
  const cluster = await TestCluster.start(context);
  const clients = [await cluster.mount(), await cluster.mount()];
  await clients[0]!.create(clients[0]!.root, "log", file);
  const handles = await Promise.all(
    clients.map(async (client) => {
      const found = await client.lookup(client.root, "log");
      return client.open(found!.inode, { append: true });
    }),
  );
  const lines = Array.from({ length: 40 }, (_, index) => `${String(index).padStart(3, "0")}${"x".repeat(250)}\n`);
  await Promise.all(
    lines.map((line, index) => clients[index % 2]!.write(handles[index % 2]!, 0, Buffer.from(line), keepPrivileges)),
  );
  const content = (await readAll(clients[0]!, handles[0]!)).toString();
  assert.deepEqual(content.trimEnd().split("\n").sort(), lines.map((line) => line.trimEnd()).sort());
});

test("concurrent writes to a chunk that isn't mapped make it once", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  const parts = Array.from({ length: 16 }, (_, index) => pattern(50_000, index));
  await client.setAttributes(handle.inode, { size: 800_000 });
  await Promise.all(parts.map((part, index) => client.write(handle, index * 50_000, part, keepPrivileges)));
  assert.ok((await readAll(client, handle)).equals(Buffer.concat(parts)));
  assert.equal((await client.getAttributes(handle.inode)).attributes.chunkCount, 1);
});

test("a file that another client unlinks while it is open stays readable", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount();
  const other = await cluster.mount();
  const handle = await makeFile(client, "f");
  await client.write(handle, 0, Buffer.from("still here"), keepPrivileges);
  await other.unlink(other.root, "f");
  assert.equal(await client.lookup(client.root, "f"), undefined);
  assert.equal((await readAll(client, handle)).toString(), "still here");
  await client.write(handle, 6, Buffer.from("there"), keepPrivileges);
  assert.equal((await readAll(client, handle)).toString(), "still there");
  client.close(handle);
  await assert.rejects(async () => client.read(handle, 0, 10), fails("EBADF"));
});

test("names, attributes and extended attributes are what the other client made of them last", async (context) => {
  const cluster = await TestCluster.start(context);
  const clients = [await cluster.mount(), await cluster.mount()] as const;
  const [{ root }] = clients;
  const { inode } = await clients[0].create(root, "f", file);
  assert.equal((await clients[1].lookup(root, "f"))?.inode, inode);
  for (let round = 0; round < 50; round++) {
    const [one, two] = round % 2 === 0 ? clients : ([clients[1], clients[0]] as const);
    await one.setAttributes(inode, { mode: 0o600 + round });
    assert.equal((await two.getAttributes(inode)).attributes.mode, 0o600 + round);
    await one.setExtendedAttribute(inode, "user.round", Buffer.from(String(round)), "set");
    assert.equal(Buffer.from(await two.getExtendedAttribute(inode, "user.round")).toString(), String(round));
    await one.create(root, `new${round}`, file);
    assert.notEqual(await two.lookup(root, `new${round}`), undefined);
    await two.rename(root, `new${round}`, root, "same", { noReplace: false });
    assert.equal(await one.lookup(root, `new${round}`), undefined);
  }
});

test("directories that change places: the leader decides, and both clients see it", async (context) => {
  const cluster = await TestCluster.start(context);
  const [one, two] = [await cluster.mount(), await cluster.mount()];
  const { root } = one;
  const a = (await one.create(root, "a", directory)).inode;
  const b = (await one.create(a, "b", directory)).inode;
  await assert.rejects(async () => one.rename(root, "a", b, "loop", { noReplace: false }), fails("EINVAL"));
  await one.rename(a, "b", root, "b", { noReplace: false });
  await two.rename(root, "a", b, "a", { noReplace: false });
  assert.equal((await one.lookup(b, "a"))?.inode, a);
  assert.equal(await one.lookup(root, "a"), undefined);
  await one.create(a, "file", file);
  assert.notEqual(await two.lookup(a, "file"), undefined);
});

test("what was synced is committed, what was not is soon", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  await client.write(handle, 0, pattern(300_000, 4), keepPrivileges);
  await client.sync(handle);
  const all = await client.open(client.root, {});
  for (let index = 0; index < 300; index++) client.close(await makeFile(client, `f${index}`));
  await client.sync(all);
  client.flush(all);
  const committed = new Set(client.cachedRecords().map(({ attributes }) => attributes.inode));
  for (const { inode } of client.leasesHeld()) assert.ok(committed.has(inode));
});

test("fdatasync waits for data and what is needed to find it, not for the times of overwrites", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount({ limits: { ...writeBackLimits, dirtyAgeMs: 60_000 } });
  const handle = await makeFile(client, "f");
  await client.write(handle, 0, pattern(20_000, 1), keepPrivileges);
  await client.sync(handle, undefined, "data");
  const { answered } = client.journalPositions;
  assert.equal(client.journalPositions.durable, answered);
  for (const seed of [2, 3]) {
    await client.write(handle, 4_096 * seed, pattern(4_096, seed), keepPrivileges);
    await client.sync(handle, undefined, "data");
    const { answered: now, durable } = client.journalPositions;
    assert.deepEqual([now, durable], [answered + 1, answered]);
  }
  const changes = [
    () => client.write(handle, 0, pattern(10, 4), { killPrivileges: true }),
    () => client.write(handle, 30_000, pattern(10, 5), keepPrivileges),
    () => client.setAttributes(handle.inode, { mode: 0o600, killPrivileges: false }),
    () => client.setAttributes(handle.inode, { size: 25_000, killPrivileges: false }),
  ];
  for (const change of changes) {
    await change();
    await client.sync(handle, undefined, "data");
    assert.equal(client.journalPositions.durable, client.journalPositions.answered, String(change));
  }
});

test("a large directory is listed whole, also by a client that changes it meanwhile", async (context) => {
  const cluster = await TestCluster.start(context);
  const [one, two] = [await cluster.mount(), await cluster.mount()];
  const { root } = one;
  for (let index = 0; index < 2500; index++) await one.create(root, `f${index}`, file);
  const handle = await two.open(root, {});
  const names: string[] = [];
  for (let after = 0; ; ) {
    const page = await two.readDirectory(handle, after, 700, after === 0);
    if (page.length === 0) break;
    names.push(...page.map(({ name }) => name));
    after = page.at(-1)!.cookie;
    await two.unlink(root, page[0]!.name);
    if (names.length < 2500) await two.create(root, `late${after}`, file);
  }
  const found = new Set(names);
  assert.equal(found.size, names.length, "a name was listed twice");
  for (let index = 0; index < 2500; index++) assert.ok(found.has(`f${index}`), `f${index} is missing`);
});

test("a read-only mount changes nothing", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount({ readOnly: true });
  await assert.rejects(async () => client.create(client.root, "f", file), fails("EROFS"));
  await assert.rejects(async () => client.unlink(client.root, "f"), fails("EROFS"));
  assert.equal(await client.lookup(client.root, "f"), undefined);
});

test("an unknown volume is told, a long host line is cut", async (context) => {
  const cluster = await TestCluster.start(context);
  await assert.rejects(cluster.mount({ volume: "nope" }), { code: "notFound" });
  await assert.rejects(cluster.mount({ volume: "x".repeat(300) }), { code: "notFound" });
  await cluster.mount({ host: "a long path/".repeat(100) });
});

test("truncate: what was cut off reads as zeros when the file grows again", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  const bytes = pattern(100_000, 3);
  await client.write(handle, 0, bytes, keepPrivileges);
  await client.setAttributes(handle.inode, { size: 50_001 });
  await client.setAttributes(handle.inode, { size: 90_000 });
  const expected = Buffer.concat([bytes.subarray(0, 50_001), Buffer.alloc(39_999)]);
  assert.ok((await readAll(client, handle)).equals(expected));
  await client.open(handle.inode, { truncate: true });
  assert.equal((await readAll(client, handle)).length, 0);
});
