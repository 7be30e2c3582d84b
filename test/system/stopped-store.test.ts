/** A store is stopped by SIGTERM while a program writes and syncs: the others go on without it at once, not when it is missed. */
import { strict as assert } from "node:assert";
import { rmSync } from "node:fs";
import { open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
/** After so long a store that says nothing is called dead (storeServeMs). */
const missedMs = 3_000;

test("a store that is stopped cleanly is out of its groups at once; started again, it catches up", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  const { point } = await cluster.mount("mnt");
  const path = join(point, "file");
  let [isOver, slowestMs, written] = [false, 0, 0];
  const writing = (async () => {
    const file = await open(path, "w");
    while (!isOver) {
      const startedMs = performance.now();
      await file.write(`line ${written}\n`);
      await file.sync();
      slowestMs = Math.max(slowestMs, performance.now() - startedMs);
      written += 1;
    }
    await file.close();
  })();
  await waitFor("some writes", () => written > 50);
  await cluster.stopServer(2);
  const atStop = written;
  await waitFor("more writes", () => written > atStop + 50);
  context.diagnostic(`the slowest synced write over the stop took ${slowestMs.toFixed(0)} ms`);
  const { problems } = await cluster.status();
  assert.ok(
    problems.some((problem: string) => /was stopped since .* one copy less/.test(problem)),
    problems.join("\n"),
  );
  assert.match(cluster.servers[0]!.log(), /a store is being stopped/);
  await cluster.startServer(2);
  await cluster.waitInSync();
  isOver = true;
  await writing;
  context.diagnostic(`${written} synced writes, the slowest of all took ${slowestMs.toFixed(0)} ms`);
  assert.ok(slowestMs < missedMs / 3, `${slowestMs} ms`);
  await cluster.killServer(1);
  const lines = Array.from({ length: written }, (_, line) => `line ${line}\n`).join("");
  assert.equal(await readFile(path, "utf8"), lines);
});

test("servers that are stopped with their leader have missed nothing: any of them may lose its store then", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context);
  const { point } = await cluster.mount("mnt");
  const path = join(point, "file");
  await writeFile(path, "both have it", { flush: true });
  await Promise.all([0, 1].map((index) => cluster.stopServer(index)));
  rmSync(join(cluster.data(0), "store"), { recursive: true });
  for (const index of [0, 1]) await cluster.startServer(index);
  await cluster.waitInSync();
  assert.equal(await readFile(path, "utf8"), "both have it");
  assert.deepEqual((await cluster.status()).problems, []);
});
