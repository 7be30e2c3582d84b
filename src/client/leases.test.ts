/** Leases between clients: recalls, upgrades, giving back. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FakeCluster, file, keepPrivileges, makeFile, readAll, until } from "./testing/fake-cluster.ts";

test("a lease is taken once for many operations, shared by readers, and recalled by a writer", async (context) => {
  const cluster = await FakeCluster.start(context);
  const [left, right] = [await cluster.mount(), await cluster.mount()];
  const handle = await makeFile(left, "f");
  for (let round = 0; round < 5; round++) await left.write(handle, round, Buffer.from("x"), keepPrivileges);
  assert.equal(cluster.leader.acquires, 1);
  const other = await right.open(handle.inode, {});
  await readAll(right, other);
  await readAll(left, handle);
  for (let round = 0; round < 5; round++) await Promise.all([readAll(left, handle), readAll(right, other)]);
  assert.equal(cluster.leader.acquires, 3);
  assert.equal(cluster.leader.holders.get(handle.inode)?.length, 2);
  await right.write(other, 0, Buffer.from("y"), keepPrivileges);
  assert.equal((await readAll(left, handle)).toString(), "yxxxx");
});

test("two clients that read and write the same file at once all get on", async (context) => {
  const cluster = await FakeCluster.start(context);
  const clients = [await cluster.mount(), await cluster.mount(), await cluster.mount()];
  const made = await clients[0]!.create(clients[0]!.root, "f", file);
  const work = clients.map(async (client, who) => {
    const handle = await client.open(made.inode, {});
    for (let round = 0; round < 20; round++) {
      await client.write(handle, who * 10, Buffer.from(String(round).padStart(10)), keepPrivileges);
      const seen = (await readAll(client, handle)).subarray(who * 10, who * 10 + 10).toString();
      assert.equal(Number(seen), round);
    }
  });
  await Promise.all(work);
});

test("a recall waits for the operation that uses the lease", async (context) => {
  const cluster = await FakeCluster.start(context);
  const [left, right] = [await cluster.mount(), await cluster.mount()];
  const handle = await makeFile(left, "f");
  const gate = Promise.withResolvers<void>();
  cluster.stores[0]!.before = () => gate.promise;
  const writing = left.write(handle, 0, Buffer.from("slow"), keepPrivileges);
  await until(() => cluster.stores[0]!.counts.write === 1);
  const other = await right.open(handle.inode, {});
  let read: string | undefined;
  const reading = readAll(right, other).then((bytes) => {
    read = bytes.toString();
  });
  await until(() => cluster.leader.recalls > 0);
  assert.equal(read, undefined);
  assert.match(right.waits()[0]!.waitsFor, /lease/);
  gate.resolve();
  await Promise.all([writing, reading]);
  assert.equal(read, "slow");
});

test("an unlinked file's lease is given back without being asked for", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  const handle = await makeFile(client, "f");
  await client.write(handle, 0, Buffer.from("x"), keepPrivileges);
  client.close(handle);
  await client.unlink(client.root, "f");
  await until(() => cluster.leader.holders.get(handle.inode)?.length === 0);
  assert.equal(cluster.leader.recalls, 0);
});

test("unmount gives everything back", async (context) => {
  const cluster = await FakeCluster.start(context);
  const client = await cluster.mount();
  for (let round = 0; round < 20; round++) {
    await client.write(await makeFile(client, `f${round}`), 0, Buffer.from("x"), keepPrivileges);
  }
  const unmounting = client.unmount();
  await assert.rejects(client.lookup(client.root, "f1"), { code: "ENOTCONN" });
  await unmounting;
  for (const holders of cluster.leader.holders.values()) assert.equal(holders.length, 0);
  assert.equal(cluster.leader.namespace.sessions().length, 0);
  assert.equal(cluster.leader.peers.size, 0);
});
