/** Copies of whole chunks, which share blocks with their source, and what is written to them afterwards. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { Handle } from "./file-system.ts";
import { keepPrivileges, makeFile, pattern, readAll, TestCluster } from "./testing/test-cluster.ts";

const bytesOfSource = 1 << 20;

function copyOf(from: Handle, to: Handle) {
  return { from, to, offset: 0, toOffset: 0, length: bytesOfSource, killPrivileges: false };
}

test("a copy of what another client wrote later than the target was made can be written", async (context) => {
  const cluster = await TestCluster.start(context);
  const [one, two] = [await cluster.mount(), await cluster.mount()];
  const to = await makeFile(one, "target");
  const bytes = pattern(bytesOfSource, 1);
  const source = await makeFile(two, "source");
  await two.sync(source);
  const from = await one.open(source.inode, {});
  await one.write(from, 0, bytes.subarray(0, 1), keepPrivileges);
  await two.write(source, 0, bytes, keepPrivileges);

  assert.equal(await one.copyRange(copyOf(from, to)), bytesOfSource);
  const changed = pattern(10_000, 2);
  await one.write(to, 4_096, changed, keepPrivileges);
  await one.sync(to);
  // Also a copy of the copy, which has blocks of both.
  const again = await makeFile(one, "again");
  assert.equal(await one.copyRange(copyOf(to, again)), bytesOfSource);
  await one.write(again, 0, changed, keepPrivileges);
  await one.sync(again);

  const first = Buffer.from(bytes);
  first.set(changed, 4_096);
  const second = Buffer.from(first);
  second.set(changed, 0);
  for (const [{ inode }, expected] of [
    [source, bytes],
    [to, first],
    [again, second],
  ] as const) {
    const handle = await two.open(inode, {});
    assert.deepEqual(await readAll(two, handle, 0, bytesOfSource), expected);
  }
});
