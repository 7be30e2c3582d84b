/** Two clients that write to one file at the same time: each chunk goes to who needs it, and nothing else is asked back. */
import { strict as assert } from "node:assert";
import { type TestContext, test } from "node:test";
import { chunkBytes } from "../namespace/model.ts";
import type { Client } from "./client.ts";
import type { Handle } from "./file-system.ts";
import { keepPrivileges, makeFile, pattern, readAll, TestCluster } from "./testing/test-cluster.ts";

const chunks = 4;
const size = chunks * chunkBytes;

interface Side {
  readonly client: Client;
  readonly handle: Handle;
}

async function twoSides(context: TestContext): Promise<{ cluster: TestCluster; one: Side; two: Side }> {
  const cluster = await TestCluster.start(context);
  const [first, second] = [await cluster.mount(), await cluster.mount()];
  const handle = await makeFile(first, "shared");
  await first.setAttributes(handle.inode, { size });
  await second.lookup(second.root, "shared");
  return {
    cluster,
    one: { client: first, handle },
    two: { client: second, handle: await second.open(handle.inode, {}) },
  };
}

async function write({ client, handle }: Side, offset: number, bytes: Buffer): Promise<number> {
  return client.write(handle, offset, bytes, keepPrivileges);
}

/** By turns, until neither takes the file from the other any more. */
async function contend(one: Side, two: Side): Promise<void> {
  for (let turn = 0; turn < 3; turn++) {
    await write(one, 0, pattern(100, turn));
    await write(two, size - 100, pattern(100, turn));
  }
}

function modes({ client }: Side): string[] {
  return client.leasesHeld().map(({ mode }) => mode);
}

test("different chunks: no lease is asked back, and both halves are there", async (context) => {
  const { cluster, one, two } = await twoSides(context);
  await contend(one, two);
  const recalls = () => cluster.platform.metrics.counter("brine_lease_recalls_total", "").value;
  const before = recalls();
  assert.ok(before > 0, "it was contested");
  const half = size / 2;
  const step = 256 * 1024;
  const fill = async (side: Side, from: number) => {
    for (let at = from; at < from + half; at += step) await write(side, at, pattern(step, at / step));
  };
  await Promise.all([fill(one, 0), fill(two, half)]);
  assert.ok(modes(one).includes("split") && modes(two).includes("split"), "both work on it");
  assert.equal(recalls() - before, 0);
  const third = await cluster.mount();
  await third.lookup(third.root, "shared");
  const handle = await third.open(one.handle.inode, {});
  for (let at = 0; at < size; at += step) {
    assert.ok((await readAll(third, handle, at, step)).equals(pattern(step, at / step)), `bytes at ${at}`);
  }
});

test("the same chunk: what was written on one side is read on the other", async (context) => {
  const { one, two } = await twoSides(context);
  await contend(one, two);
  for (let turn = 0; turn < 20; turn++) {
    const [from, to] = turn % 2 === 0 ? [one, two] : [two, one];
    const bytes = pattern(5_000, turn);
    const offset = chunkBytes - 2_500 + turn * 10;
    await write(from, offset, bytes);
    assert.ok((await readAll(to.client, to.handle, offset, 5_000)).equals(bytes), `turn ${turn}`);
  }
  assert.ok(modes(one).includes("split"));
});

test("attributes and sizes are seen by all", async (context) => {
  const { one, two } = await twoSides(context);
  await contend(one, two);
  await write(one, 0, pattern(10, 1));
  const before = (await two.client.getAttributes(one.handle.inode)).attributes;
  await contend(one, two);
  await write(one, size - 5, pattern(10, 2));
  const after = (await two.client.getAttributes(one.handle.inode)).attributes;
  assert.equal(after.size, size + 5);
  assert.ok(after.mtimeNs > before.mtimeNs);
  assert.ok((await readAll(two.client, two.handle, size - 5, 100)).equals(pattern(10, 2)));
  await contend(one, two);
  await two.client.setAttributes(one.handle.inode, { size: 7 });
  assert.equal((await readAll(one.client, one.handle, 0, 100)).length, 7);
});

test("an fsync covers what was written to chunks", async (context) => {
  const { one, two } = await twoSides(context);
  await contend(one, two);
  await write(one, chunkBytes, pattern(100, 3));
  await one.client.sync(one.handle);
  const { answered, durable } = one.client.journalPositions;
  assert.equal(durable, answered);
});

test("when only one goes on, it gets the file whole again", async (context) => {
  const { cluster, one, two } = await twoSides(context);
  await contend(one, two);
  assert.ok(modes(one).includes("split"));
  two.client.close(two.handle);
  await two.client.unmount();
  const { clock } = cluster.platform;
  const deadlineMs = clock.nowMs() + 10_000;
  for (let turn = 0; modes(one).includes("split"); turn++) {
    assert.ok(clock.nowMs() < deadlineMs, "it still has single chunks");
    await write(one, (turn % chunks) * chunkBytes, pattern(100, turn));
    await new Promise((resolve) => clock.startTimer(50, () => resolve(undefined)));
  }
});
