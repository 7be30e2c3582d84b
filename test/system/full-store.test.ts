/**
 * The stores are full while data is still in a client's memory. The call that doesn't fit fails; what was acknowledged
 * before is never lost, though nothing of it was synced.
 */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Agent } from "./agent.ts";
import { Cluster, shell, undo, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const storeMebibytes = 128;

/** Two stores, each on a small memory disk of its own. */
function startSmall(context: TestContext): Promise<Cluster> {
  return Cluster.start(context, {
    servers: 3,
    metadataAlone: true,
    prepare: async (index, path) => {
      if (index === 0) return;
      await shell(`mkdir -p ${path} && mount -t tmpfs -o size=${storeMebibytes}m none ${path}`);
      undo(context, () => shell(`umount -l ${path}`));
    },
  });
}

for (const pieceBytes of [1 << 20, 64 << 10]) {
  test(`a file written in pieces of ${pieceBytes >> 10} KiB fills the stores`, { skip }, async (context) => {
    const cluster = await startSmall(context);
    const mount = await cluster.mount("mnt");
    const agent = new Agent(context, "filler");
    const path = join(mount.point, "big");
    const { written, short, failure } = await agent.do(
      "fill",
      path,
      pieceBytes,
      ((2 * storeMebibytes) << 20) / pieceBytes,
    );
    context.diagnostic(
      `${(written / 2 ** 20).toFixed(0)} of ${storeMebibytes} MiB fitted, then ${failure}; ${short} writes were short`,
    );
    assert.equal(failure, "ENOSPC", "the write that doesn't fit says so");
    assert.ok(written > (storeMebibytes << 20) / 8, "a fair part of the disk can be used");
    const handle = await agent.do("open", path);
    await agent.do("fsync", handle);
    await agent.do("close", handle);
    await agent.do("syncDirectory", mount.point);
    assert.equal(await agent.do("checkFilled", path, pieceBytes, written), null);
    await mount.unmount();

    const again = await cluster.mount("again");
    const there = join(again.point, "big");
    assert.ok((await agent.do("stat", there)).size >= written);
    assert.equal(await agent.do("checkFilled", there, pieceBytes, written), null, "all that was acknowledged is there");
    const { servers } = await cluster.status();
    assert.ok(
      servers.every((one: { groupsBehind: number }) => one.groupsBehind === 0),
      "a full store is no failed store",
    );
  });
}
