/** Data directories are removed under running servers: what goes into files without a name is no proof, and nobody says that all is well. */
import { strict as assert } from "node:assert";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, runBrine, shell, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;

test("servers whose data directory is removed step down and say so", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const [leader] = cluster.addresses as [string];
  const { point } = await cluster.mount("mnt");
  const file = join(point, "file");
  writeFileSync(file, "kept", { flush: true });

  rmSync(cluster.data(1), { recursive: true });
  await waitFor("the store to be called failed", async () => {
    const { stdout } = await runBrine(["status", leader]);
    return /failed disk \(.*segment is gone: .*removed/.test(stdout) && !/All is well/.test(stdout);
  });
  writeFileSync(file, "changed", { flush: true });
  assert.equal(readFileSync(file, "latin1"), "changed");

  rmSync(cluster.data(0), { recursive: true });
  // These go to the ledger one after the other; what isn't acknowledged any more stays with the client.
  const changes = shell(`for i in $(seq 20); do mkdir ${point}/$i; sleep 0.15; done`).catch(() => {});
  assert.equal(await cluster.servers[0]!.ended, 1);
  assert.match(cluster.servers[0]!.log(), /the metadata server steps down .*ledger has failed: .*segment is gone/);
  await shell(`umount -f -l ${point}`);
  await changes;
});
