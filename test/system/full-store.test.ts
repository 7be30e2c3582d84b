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

/** Stores of these sizes, each on a memory disk of its own. */
function startSmall(context: TestContext, mebibytes: readonly number[]): Promise<Cluster> {
  return Cluster.start(context, {
    servers: mebibytes.length + 1,
    metadataAlone: true,
    prepare: async (index, path) => {
      if (index === 0) return;
      await shell(`mkdir -p ${path} && mount -t tmpfs -o size=${mebibytes[index - 1]}m none ${path}`);
      undo(context, () => shell(`umount -l ${path}`));
    },
  });
}

for (const pieceBytes of [1 << 20, 64 << 10]) {
  test(`a file written in pieces of ${pieceBytes >> 10} KiB fills the stores`, { skip }, async (context) => {
    const cluster = await startSmall(context, [storeMebibytes, storeMebibytes]);
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

test("disks of different sizes: new files go where there is room, until there is none", { skip }, async (context) => {
  const mebibytes = [256, 256, 96];
  const cluster = await startSmall(context, mebibytes);
  const mount = await cluster.mount("mnt");
  const agent = new Agent(context, "filler");
  const fileBytes = 1 << 20;
  const name = (number: number): string => join(mount.point, String(number));
  let files = 0;
  for (let failure = null; ; files++) {
    ({ failure } = await agent.do("fill", name(files), fileBytes / 16, 16));
    if (failure === null) continue;
    assert.equal(failure, "ENOSPC");
    break;
  }
  // Each file lies on two of the three disks.
  const most = mebibytes.reduce((sum, size) => sum + size, 0) / 2;
  context.diagnostic(`${files} files of a MiB, on disks that could hold ${most} of them without any reserve`);
  assert.ok(files > (most * 2) / 3, `${files} files`);
  await agent.do("syncDirectory", mount.point);
  for (let number = 0; number < files; number++) {
    assert.equal(await agent.do("checkFilled", name(number), fileBytes / 16, fileBytes), null);
  }
});
