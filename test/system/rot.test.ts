/** A byte of a store's segment changes on disk: the reader gets the right bytes all the same, and status counts it. */
import { strict as assert } from "node:assert";
import { closeSync, globSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, waitFor, whyNoMount } from "./cluster.ts";

test("a bad copy is never returned, and counted", { skip: whyNoMount() ?? false }, async (context) => {
  const cluster = await Cluster.start(context);
  const mount = await cluster.mount("mnt");
  const { point } = mount;
  const pattern = Buffer.alloc(64 * 1024, "brine in the segment ");
  writeFileSync(join(point, "file"), pattern);
  await mount.unmount(); // so that everything is on the stores, and nothing in the client's memory

  // Every block of the file on the second store is spoilt, so that it doesn't matter which store a read asks first.
  let spoilt = 0;
  for (const name of globSync("store/segments/*.segment", { cwd: cluster.data(1) })) {
    const file = openSync(join(cluster.data(1), name), "r+");
    const block = Buffer.alloc(4096);
    for (let position = 0; readSync(file, block, 0, 4096, position) === 4096; position += 4096) {
      if (block.indexOf("brine in the segment") < 0) continue;
      writeSync(file, Buffer.from([block[100]! ^ 1]), 0, 1, position + 100);
      spoilt++;
    }
    closeSync(file);
  }
  assert.ok(spoilt >= 16, `${spoilt} blocks spoilt`);

  for (let attempt = 0; attempt < 4; attempt++) {
    const again = await cluster.mount("mnt");
    assert.ok(readFileSync(join(point, "file")).equals(pattern), "the right bytes");
    await again.unmount();
  }
  await waitFor("status to count the bad blocks", async () => {
    const { servers } = await cluster.status();
    assert.equal(servers[0].badBlocks, 0);
    return servers[1].badBlocks > 0;
  });
});
