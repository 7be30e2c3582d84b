/** Volumes by command: made, shown, mounted in the background, deleted with everything that was in them. */
import { strict as assert } from "node:assert";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, runBrine, shell, undo, waitFor, whyNoMount } from "./cluster.ts";

test("a volume's life", { skip: whyNoMount() ?? false }, async (context) => {
  const cluster = await Cluster.start(context);
  const address = cluster.addresses[0]!;
  const brineOk = async (...args: string[]) => {
    const output = await runBrine(args);
    assert.equal(output.code, 0, output.stderr);
    return output.stdout;
  };
  await brineOk("volume", "create", "photos", address);
  const shown = JSON.parse(await brineOk("volume", "show", "photos", address, "--json"));
  assert.equal(shown.replicas, 2);
  assert.match(await brineOk("volume", "list", address), /photos/);

  const point = join(cluster.directory, "photos");
  mkdirSync(point);
  undo(context, () => runBrine(["unmount", point]));
  const log = join(cluster.directory, "photos.log");
  assert.match(await brineOk("mount", `${address}/photos`, point, "--log", log), /is mounted at/);
  await shell(`mkdir -p ${point}/a/b && for i in $(seq 50); do echo $i > ${point}/a/b/$i; done`);
  writeFileSync(join(point, "large"), Buffer.alloc(20 << 20, "photo"));
  await brineOk("sync", point);
  assert.match(await brineOk("status", address), /photos +2 +1 +54/);
  await brineOk("unmount", point);
  assert.equal(readFileSync("/proc/mounts", "utf8").includes(point), false);

  const takenMebibytes = async () => Number((await shell(`du -sm ${cluster.data(1)}/store/segments`)).split("\t")[0]);
  const before = await takenMebibytes();
  await brineOk("volume", "delete", "photos", "--yes", "--wait", address);
  const { volumes, chunksToDelete } = await cluster.status();
  assert.deepEqual(
    volumes.map((one: { name: string }) => one.name),
    ["home"],
  );
  assert.equal(chunksToDelete, 0);
  await waitFor("the store to give the space back", async () => (await takenMebibytes()) <= before - 16, 30_000);
  await brineOk("volume", "create", "photos", address);
});
