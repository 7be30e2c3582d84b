/** Files without a name (O_TMPFILE) and names that change places, between two clients. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { directory, file, keepPrivileges, makeFile, pattern, readAll, TestCluster } from "./testing/test-cluster.ts";

test("a file without a name gets one, while another client changes its directory", async (context) => {
  const cluster = await TestCluster.start(context);
  const [one, two] = [await cluster.mount(), await cluster.mount()];
  const { inode } = await one.create(one.root, "d", directory);
  assert.equal((await two.lookup(two.root, "d"))?.inode, inode);
  for (let round = 0; round < 5; round++) {
    const { attributes, handle } = await one.createAndOpen(inode, undefined, file, {});
    assert.equal(attributes.linkCount, 0);
    await two.setAttributes(inode, { mode: 0o700 + round });
    const bytes = pattern(10_000, round);
    await one.write(handle, 0, bytes, keepPrivileges);
    assert.equal((await one.link(attributes.inode, inode, `f${round}`)).linkCount, 1);
    one.close(handle);
    const found = await two.lookup(inode, `f${round}`);
    assert.equal(found?.inode, attributes.inode);
    const read = await two.open(found!.inode, {});
    assert.deepEqual(await readAll(two, read), bytes);
    two.close(read);
  }
});

test("one that gets no name is gone with its last handle", async (context) => {
  const cluster = await TestCluster.start(context);
  const client = await cluster.mount();
  const { inodeCount } = await client.statVolume(client.root);
  const { handle } = await client.createAndOpen(client.root, undefined, file, {});
  await client.sync(handle);
  assert.equal((await client.statVolume(client.root)).inodeCount, inodeCount + 1);
  client.close(handle);
  const { clock } = cluster.platform;
  for (const deadlineMs = clock.nowMs() + 10_000; (await client.statVolume(client.root)).inodeCount > inodeCount; ) {
    assert.ok(clock.nowMs() < deadlineMs, "it is still there");
    await new Promise((resolve) => clock.startTimer(20, () => resolve(undefined)));
  }
});

test("names that change places are seen by the other client, directories of two parents too", async (context) => {
  const cluster = await TestCluster.start(context);
  const [one, two] = [await cluster.mount(), await cluster.mount()];
  const { root } = one;
  const first = await one.create(root, "first", directory);
  const below = await one.create(first.inode, "below", directory);
  const handle = await makeFile(one, "file");
  for (let round = 0; round < 6; round++) {
    const [mine, theirs] = round % 2 === 0 ? [one, two] : [two, one];
    await mine.exchange(root, "file", first.inode, "below");
    const isMoved = round % 2 === 0;
    assert.equal((await theirs.lookup(root, "file"))?.inode, isMoved ? below.inode : handle.inode);
    assert.equal((await theirs.lookup(first.inode, "below"))?.inode, isMoved ? handle.inode : below.inode);
    assert.equal((await theirs.getAttributes(below.inode)).parent, isMoved ? root : first.inode);
  }
  one.close(handle);
});
