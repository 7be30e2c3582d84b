/** A client that acts for one user: what he may not do fails at the call, and nothing of it reaches stores or leader. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { directory, file, keepPrivileges, makeFile, pattern, readAll, TestCluster } from "./testing/test-cluster.ts";

const alice = { uid: 1000, gid: 1000, groups: [50] };
const hers = { uid: alice.uid, gid: alice.gid };
const denied = { code: "EACCES" };
const refused = { code: "EPERM" };

test("somebody else's file can be read, and not be changed in any way", async (context) => {
  const cluster = await TestCluster.start(context);
  const boss = await cluster.mount();
  const content = pattern(20_000, 1);
  const made = await makeFile(boss, "file");
  await boss.write(made, 0, content, keepPrivileges);
  await boss.setAttributes(made.inode, { mode: 0o644 });
  await boss.sync(made);

  const bound = await cluster.mount({ user: alice });
  const { inode } = (await bound.lookup(bound.root, "file"))!;
  const handle = await bound.open(inode, {});
  assert.deepEqual(await readAll(bound, handle), content);
  await assert.rejects(async () => bound.write(handle, 0, pattern(20_000, 2), keepPrivileges), denied);
  await assert.rejects(async () => bound.write(handle, 20_000, pattern(10, 2), keepPrivileges), denied);
  await assert.rejects(async () => bound.setAttributes(inode, { size: 0 }), denied);
  await assert.rejects(async () => bound.setAttributes(inode, { mode: 0o666 }), refused);
  await assert.rejects(async () => bound.unlink(bound.root, "file"), denied);
  await assert.rejects(async () => bound.create(bound.root, "new", { ...file, ...hers }), denied);
  await bound.sync(handle);
  assert.deepEqual(await readAll(boss, made), content);
  assert.equal((await boss.getAttributes(inode)).attributes.size, content.length);

  await boss.setAttributes(inode, { mode: 0o600 });
  await assert.rejects(async () => readAll(bound, handle), denied);
});

test("what is his own he may change, and it is there after his session", async (context) => {
  const cluster = await TestCluster.start(context);
  const boss = await cluster.mount();
  const { inode: home } = await boss.create(boss.root, "home", { ...directory, ...hers, mode: 0o700 });
  const bound = await cluster.mount({ user: alice });
  const found = (await bound.lookup(bound.root, "home"))!;
  const made = await bound.createAndOpen(found.inode, "file", { ...file, ...hers, mode: 0o400 }, {});
  assert.equal(await bound.write(made.handle, 0, pattern(9_000, 3), keepPrivileges), 9_000);
  await bound.setAttributes(made.attributes.inode, { mode: 0o640 });
  await assert.rejects(
    async () => bound.create(found.inode, "another's", { ...file, uid: 1001, gid: alice.gid }),
    refused,
  );
  await bound.unmount();
  const { inode } = (await boss.lookup(home, "file"))!;
  assert.deepEqual(await readAll(boss, await boss.open(inode, {})), pattern(9_000, 3));
  assert.equal((await boss.getAttributes(inode)).attributes.mode, 0o640);
});
