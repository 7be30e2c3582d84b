/** The metadata is backed up under load, its server is lost with its disk, and a fresh one goes on from the backup. */
import { strict as assert } from "node:assert";
import { readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { brine, Cluster, Program, runBrine, shell, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;

test("a fresh server goes on from a backup that was made under load", { skip }, async (context) => {
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  const [leader] = cluster.addresses as [string];
  const mount = await cluster.mount("mnt");
  await shell(
    `mkdir ${mount.point}/before && cd ${mount.point}/before && for i in $(seq 200); do echo kept $i > $i; done`,
  );
  await shell(`echo deleted later > ${mount.point}/deleted`);
  await shell(`ln -s before ${mount.point}/link && sync ${mount.point}/before/200 && ${brineSync(mount.point)}`);

  const survivor = await cluster.mount("survivor");
  assert.equal(readdirSync(join(survivor.point, "before")).length, 200);
  const loop = `i=0; while :; do echo $i > ${mount.point}/load$i; i=$((i+1)); done`;
  const writer = new Program(context, "/bin/bash", ["-c", loop], join(cluster.directory, "load.log"));
  await waitFor("load", () => readdirSync(mount.point).length > 100);
  const file = join(cluster.directory, "metadata.backup");
  const made = await runBrine(["backup-metadata", file, leader]);
  assert.equal(made.code, 0, made.stderr);
  assert.match(made.stdout, /\d+ rows as of entry \d+/);
  assert.equal((await runBrine(["backup-metadata", file, leader])).code, 1, "an old backup is not overwritten");
  process.kill(-writer.pid, "SIGKILL");
  await writer.ended;
  // What is younger than the backup uses numbers that the backup takes for new ones. Those of the mount that the backup knows are
  // cleared away with its session; of one that it doesn't know nothing is left but chunks.
  const younger = await cluster.mount("younger");
  await shell(`for i in $(seq 50); do echo lost $i > ${younger.point}/younger$i; done; ${brineSync(younger.point)}`);
  await shell(`for i in $(seq 20); do echo lost $i > ${survivor.point}/survived$i; done; ${brineSync(survivor.point)}`);
  await shell(`rm ${mount.point}/deleted && ${brineSync(mount.point)}`);
  await waitFor("its chunks to be deleted", async () => (await cluster.status()).chunksToDelete === 0);
  await shell(`for i in $(seq 50); do echo lost $i > ${mount.point}/after$i; done; ${brineSync(mount.point)}`);
  assert.deepEqual(
    readdirSync(join(cluster.data(0), "metadata")).filter((name) => name.startsWith("backup")),
    [],
    "the copy that was read is gone",
  );

  await cluster.killServer(0);
  await mount.kill();
  await younger.kill();
  const lost = join(cluster.directory, "lost");
  renameSync(cluster.data(0), lost);
  const damaged = join(cluster.directory, "damaged.backup");
  const bytes = readFileSync(file);
  writeFileSync(damaged, Buffer.concat([bytes.subarray(0, 5_000), Buffer.from("x"), bytes.subarray(5_001)]));
  const refused = await runBrine(["restore-metadata", damaged, "--data", cluster.data(0)]);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /damaged\.backup is damaged: the checksum of section \d+ is wrong/);
  const restored = await runBrine(["restore-metadata", file, "--data", cluster.data(0), "--roles", "metadata"]);
  assert.equal(restored.code, 0, restored.stderr);
  const twice = await runBrine(["restore-metadata", file, "--data", cluster.data(0)]);
  assert.equal(twice.code, 2, "metadata that is there is not replaced");
  assert.match(twice.stderr, /has metadata/);

  await cluster.startServer(0);
  await cluster.waitOnline(2);
  await cluster.waitInSync();
  const again = await cluster.mount("mnt");
  assert.equal(Number(await shell(`cat ${again.point}/link/* | grep -c kept`)), 200);
  assert.throws(() => readFileSync(join(again.point, "deleted")), { code: "EIO" });
  assert.equal(readdirSync(again.point).filter((name) => name.startsWith("after")).length, 0);
  // A mount that was there all the time: what it knew is of a state that is gone, so its session ends, and it has a new one.
  const works = () =>
    shell(`echo new > ${survivor.point}/survivor && sync ${survivor.point}/survivor`).then(() => true);
  await waitFor("the old mount to work again", () => works().catch(() => false));
  assert.equal(readFileSync(join(again.point, "survivor"), "latin1"), "new\n");
  assert.deepEqual(readdirSync(survivor.point).sort(), readdirSync(again.point).sort());
  await shell(
    `for i in $(seq 200); do head -c 5000 /dev/zero | tr '\\0' n > ${again.point}/new$i; done; ${brineSync(again.point)}`,
  );

  const check = async (options: string[], code: number) => {
    const output = await runBrine(["check", leader, "--json", ...options]);
    assert.equal(output.code, code, output.stdout + output.stderr);
    return JSON.parse(output.stdout);
  };
  // Until the sessions of before have ended, the chunks that they were granted may still be theirs.
  await waitFor(
    "sessions of before the loss to end",
    async () => (await cluster.status()).sessions.length === 2,
    30_000,
  );
  await waitFor("their chunks to be deleted", async () => (await cluster.status()).chunksToDelete === 0, 30_000);
  const found = await check([], 1);
  assert.ok(found.orphaned >= 2 * 50, `${found.orphaned}`);
  assert.ok(found.mapped >= 401);
  assert.deepEqual([found.removed, found.unasked], [0, []]);
  assert.deepEqual(
    found.missing.map(({ path, offset, store }: { path: string; offset: number; store: number }) => [
      path,
      offset,
      store,
    ]),
    [1, 2].map((store) => ["/deleted", 0, store]),
  );
  assert.equal((await check(["--repair"], 1)).removed, found.orphaned);
  assert.equal((await check([], 1)).orphaned, 0);
  await shell(`rm ${again.point}/deleted && ${brineSync(again.point)}`);
  await check([], 0);

  // The lost server comes back after all, at its address: neither stores nor clients believe it, nor does it itself.
  await cluster.killServer(0);
  const log = join(cluster.directory, "zombie.log");
  const args = ["server", "--data", lost, "--listen", leader];
  const zombie = new Program(context, brine, args, log);
  const stored = cluster.servers.slice(1);
  const refusal = /an outdated leader is refused/;
  await waitFor("the zombie to be refused by the stores", () => stored.every((server) => refusal.test(server.log())));
  await waitFor("the zombie to be refused by the mount", () => refusal.test(again.program.log()));
  // The stores have told it, so it shows nobody what it has.
  const asked = await runBrine(["status", leader]);
  assert.equal(asked.code, 1);
  assert.match(asked.stderr, /this metadata server is refused by store \d.*one with term \d+ is known/);
  await zombie.stop("SIGKILL");
  await cluster.startServer(0);
  await cluster.waitInSync();
  assert.equal(readFileSync(join(again.point, "new1"), "latin1"), "n".repeat(5000));
  await shell(`echo more > ${again.point}/more && ${brineSync(again.point)}`);
  await again.unmount();
  await cluster.killServer(1);
  const last = await cluster.mount("mnt");
  for (let number = 1; number <= 200; number++) {
    assert.equal(readFileSync(join(last.point, `new${number}`), "latin1"), "n".repeat(5000));
    assert.equal(readFileSync(join(last.point, "before", `${number}`), "latin1"), `kept ${number}\n`);
  }
  await last.unmount();
});

function brineSync(point: string): string {
  return `${brine} sync ${point}`;
}
