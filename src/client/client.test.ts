/** The client against a fake leader and fake stores: the ways of names and data. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FileError } from "../errors/file-error.ts";
import { FakeCluster, file, keepPrivileges, makeFile, pattern, readAll } from "./testing/fake-cluster.ts";

function fails(code: string) {
  return (error: unknown) => error instanceof FileError && error.code === code;
}

test("names: create, look up, list, link, rename, remove", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const { root } = client;
  const made = await client.create(root, "a", file);
  assert.equal((await client.lookup(root, "a"))?.inode, made.inode);
  assert.equal(await client.lookup(root, "b"), undefined);
  await assert.rejects(client.create(root, "a", file), fails("EEXIST"));
  await client.link(made.inode, root, "b");
  await client.rename(root, "a", root, "c", { noReplace: true });
  const directory = await client.open(root, {});
  const entries = await client.readDirectory(directory, 0, 100, true);
  assert.deepEqual(entries.map((entry) => entry.name).sort(), ["b", "c"]);
  client.close(directory);
  await client.unlink(root, "b");
  await client.create(root, "d", { type: "directory", mode: 0o755, uid: 0, gid: 0 });
  await client.removeDirectory(root, "d");
  await client.create(root, "s", { type: "symlink", mode: 0o777, uid: 0, gid: 0, target: "c" });
  assert.equal(await client.readLink((await client.lookup(root, "s"))!.inode), "c");
  await assert.rejects(client.lookup(root, "x".repeat(256)), fails("ENAMETOOLONG"));
  assert.equal((await client.setAttributes(made.inode, { mode: 0o600 })).mode, 0o600);
});

test("what is written is read, on both stores, and by another client", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const other = await cluster.mount();
  const handle = await makeFile(client, "f");
  const bytes = pattern(1_000_000, 1);
  assert.equal(await client.write(handle, 0, bytes, keepPrivileges), bytes.length);
  assert.equal(await client.write(handle, 4_000_000, bytes, keepPrivileges), bytes.length);
  const expected = Buffer.concat([bytes, Buffer.alloc(3_000_000), bytes]);
  const elsewhere = await other.open(handle.inode, {});
  for (let offset = 0; offset < expected.length; offset += 700_001) {
    const want = expected.subarray(offset, offset + 700_001);
    assert.ok((await readAll(client, handle, offset, 700_001)).equals(want), `at ${offset}`);
    assert.ok((await readAll(other, elsewhere, offset, 700_001)).equals(want), `elsewhere at ${offset}`);
  }
  assert.equal((await client.getAttributes(handle.inode)).attributes.size, 5_000_000);
  cluster.assertMembersEqual();
});

test("two clients append and overwrite by turns; nothing is lost", async (context) => {
  const cluster = await FakeCluster.start(context);
  const clients = [await cluster.mount(), await cluster.mount()];
  const made = await clients[0]!.create(clients[0]!.root, "log", file);
  const handles = await Promise.all(clients.map((client) => client.open(made.inode, { append: true })));
  const lines = Array.from({ length: 40 }, (_, index) => `${String(index).padStart(3, "0")}${"x".repeat(250)}\n`);
  await Promise.all(
    lines.map((line, index) => clients[index % 2]!.write(handles[index % 2]!, 0, Buffer.from(line), keepPrivileges)),
  );
  const content = (await readAll(clients[0]!, handles[0]!)).toString();
  assert.deepEqual(content.trimEnd().split("\n").sort(), lines.map((line) => line.trimEnd()).sort());
  assert.ok(cluster.leader.recalls > 0);
});

test("concurrent writes to a chunk that isn't mapped make it once", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  const parts = Array.from({ length: 16 }, (_, index) => pattern(50_000, index));
  await client.setAttributes(handle.inode, { size: 800_000 });
  await Promise.all(parts.map((part, index) => client.write(handle, index * 50_000, part, keepPrivileges)));
  assert.ok((await readAll(client, handle)).equals(Buffer.concat(parts)));
  const { mappings } = cluster.leader.namespace.mappings(cluster.leader.volume, handle.inode, 0, 10);
  assert.equal(mappings.length, 1);
});

test("a file that is unlinked while open stays readable; holds are given back", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  const second = await client.open(handle.inode, {});
  await client.write(handle, 0, Buffer.from("still here"), keepPrivileges);
  await client.unlink(client.root, "f");
  client.close(handle);
  assert.equal((await readAll(client, second)).toString(), "still here");
  const [holds] = [...cluster.leader.holds.values()];
  assert.ok(holds!.has(handle.inode));
  client.close(second);
  await assert.rejects(client.read(second, 0, 10), fails("EBADF"));
  await client.unmount();
  assert.equal(holds!.size, 0);
});

test("a read-only mount changes nothing", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount({ readOnly: true });
  await assert.rejects(client.create(client.root, "f", file), fails("EROFS"));
  await assert.rejects(client.unlink(client.root, "f"), fails("EROFS"));
  assert.equal(await client.lookup(client.root, "f"), undefined);
});

test("an unknown volume is told, a long host line is cut", async (context) => {
  const cluster = await FakeCluster.start(context);
  await assert.rejects(cluster.mount({ volume: "nope" }), { code: "notFound" });
  await assert.rejects(cluster.mount({ volume: "x".repeat(300) }), { code: "notFound" });
  await cluster.mount({ host: "a long path/".repeat(100) });
});

test("truncate: what was cut off reads as zeros when the file grows again", async (context) => {
  const cluster = await FakeCluster.start(context);
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
