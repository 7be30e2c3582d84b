/** Two mounts write to one file at the same time: side by side in different chunks, and right wherever they meet. */
import { strict as assert } from "node:assert";
import { type FileHandle, open, truncate } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { askLeader } from "../../src/cli/admin.ts";
import { realPlatform } from "../../src/platform/real.ts";
import { explainInode, readClusterMetrics } from "../../src/wire/catalogue/admin.ts";
import type { Method } from "../../src/wire/method.ts";
import { Cluster, full, undo, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const mebibyte = 1024 * 1024;
const halfMebibytes = full ? 256 : 32;

function ask<Q, R>(cluster: Cluster, method: Method<Q, R>, body: Q): Promise<R> {
  return askLeader(realPlatform({ logLevel: "error" }), cluster.addresses, method, body);
}

async function recallsOf(cluster: Cluster): Promise<number> {
  const { processes } = await ask(cluster, readClusterMetrics, { lastMinute: false, session: 0 });
  const all = processes.flatMap(({ series }) => series);
  return all
    .filter(({ name }) => name === "brine_lease_recalls_total")
    .reduce((sum, { value }) => sum + Number(value), 0);
}

function bytesOf(mebibyteAt: number, round: number): Buffer {
  return Buffer.alloc(mebibyte, `${mebibyteAt} of ${round}, `);
}

async function openBoth(points: readonly string[]): Promise<FileHandle[]> {
  const handles: FileHandle[] = [];
  for (const point of points) handles.push(await open(join(point, "file"), handles.length === 0 ? "w+" : "r+"));
  await truncate(join(points[0]!, "file"), 2 * halfMebibytes * mebibyte);
  return handles;
}

test("two mounts write the halves of one file, side by side", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const mounts = [await cluster.mount("one"), await cluster.mount("two")];
  const handles = await openBoth(mounts.map(({ point }) => point));
  undo(context, () => Promise.all(handles.map((handle) => handle.close())));
  const fill = async (half: number, round: number) => {
    for (let at = half * halfMebibytes; at < (half + 1) * halfMebibytes; at++) {
      const { bytesWritten } = await handles[half]!.write(bytesOf(at, round), 0, mebibyte, at * mebibyte);
      assert.equal(bytesWritten, mebibyte);
    }
  };
  const rounds = 3;
  await Promise.all([fill(0, 0), fill(1, 0)]);
  const { ino: inode } = await handles[0]!.stat();
  // Asking for the attributes has brought it together again: once more it is taken back and forth.
  await Promise.all([fill(0, 0), fill(1, 0)]);
  const report = () => ask(cluster, explainInode, { volume: "home", inode, path: "" });
  const { leases, chunks } = await report();
  assert.deepEqual(
    leases.map(({ mode }) => mode),
    ["split", "split"],
  );
  assert.ok(chunks.length > 0 && chunks.every(({ mode }) => mode === "exclusive"));
  const before = await recallsOf(cluster);
  for (let round = 1; round <= rounds; round++) await Promise.all([fill(0, round), fill(1, round)]);
  context.diagnostic(`recalls: ${before} before, ${await recallsOf(cluster)} after`);
  assert.ok((await recallsOf(cluster)) - before <= 2, "leases were asked back");
  await Promise.all(handles.map((handle) => handle.sync()));
  const third = await cluster.mount("three");
  const reader = await open(join(third.point, "file"), "r");
  undo(context, () => reader.close());
  const buffer = Buffer.alloc(mebibyte);
  for (let at = 0; at < 2 * halfMebibytes; at++) {
    await reader.read(buffer, 0, mebibyte, at * mebibyte);
    assert.ok(buffer.equals(bytesOf(at, rounds)), `mebibyte ${at}`);
  }
});

test("random writes, reads, truncates and stats of two mounts are those of a plain file", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const mounts = [await cluster.mount("one"), await cluster.mount("two")];
  const handles = await openBoth(mounts.map(({ point }) => point));
  undo(context, () => Promise.all(handles.map((handle) => handle.close())));
  let model = Buffer.alloc(2 * halfMebibytes * mebibyte);
  let state = 12_345;
  const below = (end: number) => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return Math.floor((state / 2 ** 31) * end);
  };
  for (let step = 0; step < (full ? 5_000 : 600); step++) {
    const handle = handles[step % 2]!;
    const [offset, length] = [below(14 * mebibyte), 1 + below(100_000)];
    const kind = below(40);
    if (kind === 0) {
      const size = 9 * mebibyte + below(8 * mebibyte);
      await handle.truncate(size);
      const cut = Buffer.alloc(size);
      model.copy(cut);
      model = cut;
    } else if (kind === 1) assert.equal((await handle.stat()).size, model.length);
    else if (kind < 20) {
      const bytes = Buffer.alloc(length, `${step} `);
      assert.equal((await handle.write(bytes, 0, length, offset)).bytesWritten, length);
      if (offset + length > model.length) model = Buffer.concat([model, Buffer.alloc(offset + length - model.length)]);
      bytes.copy(model, offset);
    } else {
      const buffer = Buffer.alloc(length);
      const { bytesRead } = await handle.read(buffer, 0, length, offset);
      const want = model.subarray(offset, offset + length);
      assert.equal(bytesRead, want.length, `step ${step}`);
      assert.ok(buffer.subarray(0, bytesRead).equals(want), `step ${step}`);
    }
  }
});
