/** A store's index is damaged, or its folder deleted, while its server is off: it comes back by itself, heals, and then serves alone. */
import { strict as assert } from "node:assert";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, runBrine, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const content = (number: number) => Buffer.alloc(20_000 + number, `file ${number} `);

test("a store with a damaged index comes back and heals from the other", { skip }, async (context) => {
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  const { point } = await cluster.mount("mnt");
  for (let number = 0; number < 50; number++)
    writeFileSync(join(point, `f${number}`), content(number), { flush: true });
  await waitFor("a checkpoint of the index", () => {
    try {
      return readFileSync(join(cluster.data(1), "store/indexed")).length > 0;
    } catch {
      return false;
    }
  });
  await cluster.killServer(1);
  for (let number = 0; number < 50; number += 5) rmSync(join(point, `f${number}`));
  const index = join(cluster.data(1), "store/index.sqlite");
  rmSync(`${index}-wal`, { force: true });
  writeFileSync(index, Buffer.alloc(8192, "no database"));
  await cluster.startServer(1);
  assert.match(cluster.servers[1]!.log(), /index is built again from the segments/);
  await cluster.waitInSync();
  await cluster.killServer(2);
  for (let number = 0; number < 50; number++) {
    if (number % 5 === 0) continue;
    assert.ok(readFileSync(join(point, `f${number}`)).equals(content(number)), `f${number}`);
  }
});

test("a store whose folder was deleted says so, and heals from the other", { skip }, async (context) => {
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  const { point } = await cluster.mount("mnt");
  for (let number = 0; number < 20; number++)
    writeFileSync(join(point, `f${number}`), content(number), { flush: true });
  await cluster.stopServer(1);
  rmSync(join(cluster.data(1), "store"), { recursive: true });
  await cluster.startServer(1);
  assert.match(cluster.servers[1]!.log(), /the store's directory is gone/);
  await cluster.waitInSync();
  const checked = await runBrine(["check", cluster.addresses[0]!]);
  assert.equal(checked.code, 0, checked.stdout);
  await cluster.killServer(2);
  const other = await cluster.mount("other");
  for (let number = 0; number < 20; number++) {
    assert.ok(readFileSync(join(other.point, `f${number}`)).equals(content(number)), `f${number}`);
  }
});

test("a store that has lost data of the only copy waits until that is accepted", { skip }, async (context) => {
  const cluster = await Cluster.start(context, { servers: 2, metadataAlone: true });
  const mount = await cluster.mount("mnt");
  writeFileSync(join(mount.point, "file"), content(1), { flush: true });
  await mount.unmount();
  await cluster.stopServer(1);
  const index = join(cluster.data(1), "store/index.sqlite");
  rmSync(`${index}-wal`, { force: true });
  writeFileSync(index, Buffer.alloc(8192, "no database"));
  await cluster.startServer(1);
  await waitFor("status to say why it waits and what to do", async () => {
    const { problems } = await cluster.status();
    return problems.some((problem: string) => /only copy.*--accept-loss/.test(problem));
  });
  await cluster.stopServer(1);
  await cluster.startServer(1, ["--accept-loss"]);
  await cluster.waitOnline(1);
  const again = await cluster.mount("again");
  assert.ok(readFileSync(join(again.point, "file")).equals(content(1)));
});
