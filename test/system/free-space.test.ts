/**
 * What df says is true within a hundredth of the volume's size: after writing (also before anything has been flushed),
 * overwriting and deleting, with two copies of everything; and to the block in a directory with a quota.
 */
import { strict as assert } from "node:assert";
import { mkdirSync, statfsSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Agent } from "./agent.ts";
import { brine, Cluster, full, runBrine, shell, undo, waitFor, whyNoMount } from "./cluster.ts";

const mib = 2 ** 20;
/** Of each store's disk: memory that is used as it fills. Segments of 64 MiB are made ahead. */
const storeBytes = 20 * 1024 * mib;
const writtenBytes = (full ? 1024 : 256) * mib;
/** A store gives room back behind its checkpoints. */
const givenBackMs = 30_000;

function used(directory: string): number {
  const { blocks, bfree, bsize } = statfsSync(directory);
  return (blocks - bfree) * bsize;
}

test("df is true within a hundredth", {
  skip: full ? (whyNoMount() ?? false) : "only with npm run test:system",
}, async (context) => {
  const cluster = await Cluster.start(context, {
    servers: 3,
    metadataAlone: true,
    prepare: async (index, path) => {
      if (index === 0) return;
      await shell(`mkdir -p ${path} && mount -t tmpfs -o size=${storeBytes} none ${path}`);
      undo(context, () => shell(`umount -l ${path}`));
    },
  });
  // What nobody has flushed for half a minute is nobody's but the client's.
  const lazy = ["-o", `dirty-age=30s,dirty-bytes=${writtenBytes * 2}`];
  const [one, two] = [await cluster.mount("one", lazy), await cluster.mount("two")];
  const agent = new Agent(context, "writer");
  const total = statfsSync(one.point);
  assert.equal(total.blocks * total.bsize, storeBytes, "two copies on two disks: one disk's size");
  const before = used(one.point);
  assert.ok(before < storeBytes / 20, `${before} bytes used of nothing`);

  let expected = 0;
  const check = (what: string, points = [one.point, two.point]) => {
    for (const point of points) {
      const off = used(point) - before - expected;
      context.diagnostic(`${what}: off by ${(off / mib).toFixed(1)} MiB`);
      assert.ok(Math.abs(off) < storeBytes / 100, `${what}: off by ${off} bytes`);
    }
  };
  const path = join(one.point, "file");
  await agent.do("fill", path, mib, writtenBytes / mib);
  expected = writtenBytes;
  check("written, not flushed", [one.point]);
  await shell(`${brine} sync ${one.point}`);
  // Stores tell the leader twice a second how they are.
  await waitFor(
    "the stores to have told",
    () => Math.abs(used(two.point) - before - expected) < storeBytes / 100,
    5_000,
  );
  check("flushed");
  const small = full ? 20_000 : 2_000;
  await shell(
    `mkdir ${one.point}/small && cd ${one.point}/small && head -c ${small * 10_000} /dev/zero | tr '\\0' s | split -a 5 -b 10000 && ${brine} sync ${one.point}`,
  );
  expected += small * 12_288;
  check("small files");
  await shell(
    `head -c ${writtenBytes} /dev/urandom | dd of=${path} conv=notrunc bs=1M status=none && ${brine} sync ${one.point}`,
  );
  const isBack = () => Math.abs(used(two.point) - before - expected) < storeBytes / 100;
  await waitFor("what was overwritten to be given back", isBack, givenBackMs);
  check("overwritten");
  await shell(`rm -r ${path} ${one.point}/small && ${brine} sync ${one.point}`);
  expected = 0;
  await waitFor("what was deleted to be given back", isBack, givenBackMs);
  check("deleted");
});

test("df in a directory with a quota is exact", { skip: whyNoMount() ?? false }, async (context) => {
  const cluster = await Cluster.start(context);
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  const [here, there] = [join(one.point, "d"), join(two.point, "d")];
  mkdirSync(here);
  const set = await runBrine(["quota", "set", "home:/d", cluster.addresses[0]!, "--bytes", "100M", "--inodes", "1K"]);
  assert.equal(set.code, 0, set.stderr);
  const agent = new Agent(context, "writer");
  let files = 1;
  for (const bytes of [1, 4096, 4097, 10_000_000]) {
    const name = `f${files++}`;
    const [before, beforeBytes] = [statfsSync(here), used(here)];
    await agent.do("writeFile", join(here, name), "x".repeat(bytes));
    // At once, and nothing was flushed.
    assert.equal(used(here) - beforeBytes, Math.ceil(bytes / 4096) * 4096, `${bytes} bytes written`);
    assert.equal(before.ffree - statfsSync(here).ffree, 1);
    await agent.do("syncDirectory", one.point);
    assert.equal(used(there), used(here), "the other mount, after a sync");
  }
  const { blocks, bsize } = statfsSync(here);
  assert.equal(blocks * bsize, 100 * mib);
  await agent.do("unlink", join(here, "f4"));
  await waitFor("what was deleted to be given back", () => used(here) === 4096 * 4, 5_000);
});
