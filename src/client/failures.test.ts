/** What the client does when stores, connections and sessions fail. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { BrineError } from "../errors/brine-error.ts";
import { FileError } from "../errors/file-error.ts";
import { chunkBytes } from "../namespace/model.ts";
import { FakeCluster, file, keepPrivileges, makeFile, pattern, readAll, until } from "./testing/fake-cluster.ts";

function fails(code: string) {
  return (error: unknown) => error instanceof FileError && error.code === code;
}

const noSpace = () => {
  throw new BrineError("noSpace", "full, says the test");
};

test("a store dies in the middle of writes: they finish on the other, without an error", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  const parts = Array.from({ length: 12 }, (_, index) => pattern(300_000, index));
  await client.setAttributes(handle.inode, { size: 3_600_000 });
  let writes = 0;
  cluster.stores[1]!.before = () => {
    if (++writes === 5) void cluster.stores[1]!.stop();
  };
  await Promise.all(parts.map((part, index) => client.write(handle, index * 300_000, part, keepPrivileges)));
  const expected = Buffer.concat(parts);
  for (let offset = 0; offset < expected.length; offset += 1 << 20) {
    assert.ok((await readAll(client, handle, offset)).equals(expected.subarray(offset, offset + (1 << 20))));
  }
  assert.ok(cluster.leader.reports > 0);
  assert.equal(cluster.leader.views()[0]!.members[1]!.state, "behind");
});

test("a generation that the client hasn't heard of is learned, and the write completed in it", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  await client.write(handle, 0, Buffer.from("one"), keepPrivileges);
  cluster.leader.changeMember(2, "behind", false);
  await client.write(handle, 0, Buffer.from("two"), keepPrivileges);
  assert.equal((await readAll(client, handle)).toString(), "two");
  assert.equal(cluster.leader.reports, 0);
});

test("a member that is catching up gets every write, and is not read", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  await client.write(handle, 0, pattern(5000, 1), keepPrivileges);
  cluster.leader.changeMember(2, "catchingUp");
  await client.write(handle, 2000, pattern(5000, 2), keepPrivileges);
  await readAll(client, handle);
  cluster.assertMembersEqual();
});

test("transactions whose answers are lost with the connection take effect once, in order", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  let drops = 0;
  cluster.leader.afterTransact = (_operation, sequence) => {
    if (sequence % 7 !== 0 || drops >= 5) return;
    drops += 1;
    cluster.leader.drop();
  };
  const names = Array.from({ length: 50 }, (_, index) => `n${index}`);
  await Promise.all(names.map((name) => client.create(client.root, name, file)));
  assert.ok(drops > 0);
  assert.equal(cluster.leader.executed.filter((kind) => kind === "create").length, 50);
  const directory = await client.open(client.root, {});
  const entries = await client.readDirectory(directory, 0, 1000, false);
  assert.deepEqual(
    entries.map((entry) => entry.name),
    names,
  );
});

test("a leader that restarts is found again; leases and holds are stated", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  await client.write(handle, 0, Buffer.from("before"), keepPrivileges);
  await cluster.leader.stop();
  const writing = client.write(handle, 0, Buffer.from("after!"), keepPrivileges);
  cluster.leader.holders.clear();
  for (const holds of cluster.leader.holds.values()) holds.clear();
  await cluster.leader.listen();
  await writing;
  assert.equal(cluster.leader.holders.get(handle.inode)?.length, 1);
  assert.ok(cluster.leader.holds.get(1)!.has(handle.inode));
  assert.equal(cluster.leader.acquires, 1);
});

test("the ledger is full: ENOSPC for what was refused, the rest is numbered anew", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  await client.create(client.root, "first", file);
  let refusals = 2;
  cluster.leader.beforeTransact = (operation) => {
    if (operation.kind === "create" && refusals-- > 0) noSpace();
  };
  const names = Array.from({ length: 20 }, (_, index) => `n${index}`);
  const outcomes = await Promise.allSettled(names.map((name) => client.create(client.root, name, file)));
  const failed = outcomes.filter((outcome) => outcome.status === "rejected");
  assert.ok(failed.length >= 1 && failed.length <= 2, `${failed.length}`);
  assert.ok(failed.every((outcome) => fails("ENOSPC")(outcome.reason)));
  for (const [index, outcome] of outcomes.entries()) {
    const found = await client.lookup(client.root, names[index]!);
    assert.equal(found !== undefined, outcome.status === "fulfilled");
  }
});

test("both stores full: ENOSPC, reads go on, and writes when there is space again", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  await client.write(handle, 0, pattern(10_000, 1), keepPrivileges);
  for (const store of cluster.stores) store.full = true;
  await assert.rejects(client.write(handle, 100, pattern(10_000, 2), keepPrivileges), fails("ENOSPC"));
  await assert.rejects(client.write(handle, 5 * chunkBytes, pattern(100, 2), keepPrivileges), fails("ENOSPC"));
  assert.ok((await readAll(client, handle)).equals(pattern(10_000, 1)));
  await client.setAttributes(handle.inode, { size: 5_000 });
  assert.ok((await readAll(client, handle)).equals(pattern(10_000, 1).subarray(0, 5_000)));
  for (const store of cluster.stores) store.full = false;
  await client.write(handle, 100, pattern(10_000, 3), keepPrivileges);
  assert.ok((await readAll(client, handle, 100)).equals(pattern(10_000, 3)));
  cluster.assertMembersEqual();
});

test("one store full: the write is taken back on the other, and both have the previous content", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  const before = pattern(100_000, 1);
  await client.write(handle, 0, before, keepPrivileges);
  cluster.stores[1]!.full = true;
  await assert.rejects(client.write(handle, 1000, pattern(50_000, 2), keepPrivileges), fails("ENOSPC"));
  await assert.rejects(client.write(handle, 100_000, pattern(50_000, 2), keepPrivileges), fails("ENOSPC"));
  cluster.assertMembersEqual();
  for (let round = 0; round < 4; round++) assert.ok((await readAll(client, handle)).equals(before));
  cluster.stores[1]!.full = false;
  await client.setAttributes(handle.inode, { size: 200_000 });
  const grown = Buffer.concat([before, Buffer.alloc(100_000)]);
  for (let round = 0; round < 4; round++) assert.ok((await readAll(client, handle)).equals(grown));
});

test("one store full, and the other fills up too: the file waits, named, until there is space", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  const before = pattern(20_000, 1);
  await client.write(handle, 0, before, keepPrivileges);
  cluster.stores[1]!.full = true;
  cluster.stores[0]!.after = () => {
    cluster.stores[0]!.full = true;
  };
  const writing = client.write(handle, 0, pattern(20_000, 2), keepPrivileges);
  writing.catch(() => {});
  await until(() => client.waits().some(({ waitsFor }) => waitsFor.includes("take back")));
  const reading = readAll(client, handle);
  cluster.stores[0]!.after = () => {};
  cluster.stores[0]!.full = false;
  await assert.rejects(writing, fails("ENOSPC"));
  assert.ok((await reading).equals(before));
  cluster.assertMembersEqual();
});

test("no space for the second chunk of a write: it is short, and the rest reads as nothing", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  const start = chunkBytes - 1000;
  await client.write(handle, start, Buffer.from("x"), keepPrivileges);
  const { mappings } = cluster.leader.namespace.mappings(cluster.leader.volume, handle.inode, 0, 10);
  for (const store of cluster.stores)
    store.before = (verb, chunk) => {
      if (verb === "write" && chunk !== mappings[0]!.chunk) noSpace();
    };
  assert.equal(await client.write(handle, start, pattern(3000, 1), keepPrivileges), 1000);
  assert.ok((await readAll(client, handle, start)).equals(pattern(3000, 1).subarray(0, 1000)));
  await assert.rejects(client.write(handle, chunkBytes, pattern(3000, 1), keepPrivileges), fails("ENOSPC"));
});

test("a bad copy is never returned: the other one is read, the bad one reported", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  const bytes = pattern(40_000, 1);
  await client.write(handle, 0, bytes, keepPrivileges);
  const { chunk } = cluster.leader.namespace.mappings(cluster.leader.volume, handle.inode, 0, 1).mappings[0]!;
  cluster.stores[0]!.corrupt(chunk, 3);
  for (let round = 0; round < 6; round++)
    assert.ok((await readAll(client, handle, 1 + round)).equals(bytes.subarray(1 + round)));
  await until(() => cluster.stores[0]!.counts.reportBad > 0);
  cluster.stores[1]!.corrupt(chunk, 3);
  await assert.rejects(readAll(client, handle, 2 * 4096), fails("EIO"));
  assert.ok((await readAll(client, handle, 4 * 4096)).equals(bytes.subarray(4 * 4096)));
});

test("an expired session: what was open gets ESTALE, new operations a new session", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  await client.write(handle, 0, Buffer.from("kept"), keepPrivileges);
  cluster.leader.expire(1);
  await until(() => cluster.lines.some((line) => line.includes("session lost")));
  await assert.rejects(client.write(handle, 0, Buffer.from("lost"), keepPrivileges), fails("ESTALE"));
  client.close(handle);
  const found = await client.lookup(client.root, "f");
  const again = await client.open(found!.inode, {});
  assert.equal((await readAll(client, again)).toString(), "kept");
  await client.write(again, 0, Buffer.from("anew"), keepPrivileges);
  assert.equal((await readAll(client, again)).toString(), "anew");
});

test("a store that says fenced ends the session", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  for (const store of cluster.stores) store.fenced.add(1);
  await assert.rejects(client.write(handle, 0, Buffer.from("x"), keepPrivileges), fails("EIO"));
});

test("nothing is answered from memory while the session may have ended", async (context) => {
  const cluster = await FakeCluster.start(context);
  cluster.leader.sessionTimeoutMs = 200;
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  assert.equal((await readAll(client, handle)).length, 0);
  await cluster.leader.stop();
  await new Promise((resolve) => setTimeout(resolve, 250));
  let answered = false;
  const reading = readAll(client, handle).then(() => {
    answered = true;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(answered, false);
  await cluster.leader.listen();
  await reading;
});

test("an aborted write answers EINTR, and is finished from a copy of its data", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  const gate = Promise.withResolvers<void>();
  cluster.stores[0]!.before = () => gate.promise;
  const data = pattern(50_000, 1);
  const abort = new AbortController();
  const writing = client.write(handle, 0, data, keepPrivileges, abort.signal);
  await until(() => cluster.stores[0]!.counts.write > 0);
  abort.abort();
  await assert.rejects(writing, fails("EINTR"));
  data.fill(0);
  gate.resolve();
  await client.sync(handle.inode);
  assert.ok((await readAll(client, handle)).equals(pattern(50_000, 1)));
  await assert.rejects(client.lookup(client.root, "f", abort.signal), fails("EINTR"));
});

test("a soft mount fails with EIO when it has waited long enough", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount({ softTimeoutMs: 100 });
  const handle = await makeFile(client, "f");
  const gate = Promise.withResolvers<void>();
  for (const store of cluster.stores) store.before = () => gate.promise;
  await assert.rejects(client.write(handle, 0, pattern(100, 1), keepPrivileges), fails("EIO"));
  gate.resolve();
  await client.sync(handle.inode);
});

test("what an unfinished write left behind the end is not seen when the file grows", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  await client.write(handle, 0, pattern(5000, 1), keepPrivileges);
  cluster.leader.beforeTransact = (operation) => {
    if (operation.kind === "write") noSpace();
  };
  await assert.rejects(client.write(handle, 5000, pattern(60_000, 2), keepPrivileges), fails("ENOSPC"));
  cluster.leader.beforeTransact = () => {};
  await client.write(handle, 30_000, Buffer.from("end"), keepPrivileges);
  const expected = Buffer.concat([pattern(5000, 1), Buffer.alloc(25_000), Buffer.from("end")]);
  assert.ok((await readAll(client, handle)).equals(expected));
  await client.setAttributes(handle.inode, { size: 50_000 });
  assert.ok((await readAll(client, handle)).equals(Buffer.concat([expected, Buffer.alloc(50_000 - expected.length)])));
});
