/** Only the metadata's folder is lost; the store of the same server is good, and stays what it was. */
import { strict as assert } from "node:assert";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { brine, Cluster, runBrine, shell, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;

test("a server whose metadata was lost goes on from a backup, with its store", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const [leader] = cluster.addresses as [string];
  const mount = await cluster.mount("mnt");
  await shell(`for i in $(seq 20); do echo kept $i > ${mount.point}/$i; done; ${brine} sync ${mount.point}`);
  await mount.unmount();
  const file = join(cluster.directory, "metadata.backup");
  const made = await runBrine(["backup-metadata", file, leader]);
  assert.equal(made.code, 0, made.stderr);
  await cluster.stopServer(0);

  rmSync(join(cluster.data(0), "metadata"), { recursive: true });
  // Whoever starts it without a restore has not lost the stores' chunks, too.
  const early = await runBrine(["server", "--data", cluster.data(0), "--listen", leader]);
  assert.deepEqual([early.code, /metadata is gone.*restore-metadata/.test(early.stderr)], [1, true], early.stderr);
  const restored = await runBrine(["restore-metadata", file, "--data", cluster.data(0)]);
  assert.equal(restored.code, 0, restored.stderr);
  await cluster.startServer(0);
  await cluster.waitOnline(2);
  await cluster.waitInSync();
  const { servers } = await cluster.status();
  assert.deepEqual(
    servers.map((one: { store: number; groupsInSync: number }) => [one.store, one.groupsInSync]),
    [1, 2].map((store) => [store, 32]),
  );
  const check = await runBrine(["check", leader]);
  assert.deepEqual([check.code, /All is well/.test(check.stdout)], [0, true], check.stdout + check.stderr);
  const again = await cluster.mount("mnt");
  for (let number = 1; number <= 20; number++) {
    assert.equal(readFileSync(join(again.point, `${number}`), "latin1"), `kept ${number}\n`);
  }
  await again.unmount();
});
