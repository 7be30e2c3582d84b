/** Servers die in the middle of work. The mount may pause; no application may see it. */
import { strict as assert } from "node:assert";
import { appendFileSync, closeSync, existsSync, fsyncSync, openSync, readFileSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, Program, shell, undo, waitFor, whyNoMount } from "./cluster.ts";
import { sourceArchive } from "./source-tree.ts";

const skip = whyNoMount() ?? false;

function untar(context: Parameters<typeof sourceArchive>[0], cluster: Cluster, archive: string, into: string): Program {
  return new Program(context, "/bin/tar", ["xf", archive, "-C", into], join(cluster.directory, "tar.log"));
}

test("a store is killed during an untar, comes back, and then serves alone", { skip }, async (context) => {
  const archive = await sourceArchive(context);
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  const { point } = await cluster.mount("mnt");
  await shell(`mkdir ${point}/tree`);
  const tar = untar(context, cluster, archive, join(point, "tree"));
  await waitFor("some files", async () => Number(await shell(`find ${point}/tree | wc -l`)) > 200);
  assert.ok(tar.running, "the kill comes in the middle");
  await cluster.killServer(1);
  await waitFor("status to show the copies as behind", async () => {
    const { servers, problems } = await cluster.status();
    return servers.some((one: { groupsBehind: number }) => one.groupsBehind > 0) && problems.length > 0;
  });
  assert.equal(await tar.ended, 0, tar.log());
  await shell(`tar df ${archive} -C ${point}/tree`, { timeoutMs: 120_000 });

  await cluster.startServer(1);
  await cluster.waitInSync();
  await cluster.killServer(2);
  await shell(`tar df ${archive} -C ${point}/tree`, { timeoutMs: 120_000 });
});

test("the metadata server is killed during an untar: a pause, no error", { skip }, async (context) => {
  const archive = await sourceArchive(context);
  const cluster = await Cluster.start(context);
  const { point } = await cluster.mount("mnt");
  await shell(`mkdir ${point}/tree`);
  const unlinked = openSync(join(point, "unlinked"), "w+");
  undo(context, () => closeSync(unlinked));
  writeSync(unlinked, "still here");
  await shell(`rm ${point}/unlinked`);
  const tar = untar(context, cluster, archive, join(point, "tree"));
  await waitFor("some files", async () => Number(await shell(`find ${point}/tree | wc -l`)) > 200);
  assert.ok(tar.running, "the kill comes in the middle");
  await cluster.killServer(0);
  await cluster.startServer(0);
  assert.equal(await tar.ended, 0, tar.log());
  await shell(`tar df ${archive} -C ${point}/tree`, { timeoutMs: 120_000 });
  const content = Buffer.alloc(20);
  const length = readSync(unlinked, content, 0, content.length, 0);
  assert.equal(content.toString("utf8", 0, length), "still here", "an unlinked open file outlives the restart");
});

test("everything is killed: what was fsynced is there, whole", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const mount = await cluster.mount("mnt");
  const { point } = mount;
  const journal = join(cluster.directory, "journal");
  // Each file is written in two halves and fsynced; only then its number goes to a journal outside the mount.
  const writer = new Program(
    context,
    "/bin/bash",
    [
      "-c",
      `i=0; while :; do
         { head -c 5000 /dev/zero | tr '\\0' x; echo "$i"; } > ${point}/f$i && sync ${point}/f$i && echo $i >> ${journal} || exit
         i=$((i+1)); done`,
    ],
    join(cluster.directory, "writer.log"),
  );
  await waitFor("a hundred files", () => existsSync(journal) && readFileSync(journal, "utf8").split("\n").length > 101);
  process.kill(-writer.pid, "SIGSTOP"); // the kill of the mount must not turn into errors in the journal
  for (const program of [...cluster.servers, mount.program]) program.signal("SIGKILL");
  await Promise.all([...cluster.servers, mount.program].map((one) => one.ended));
  process.kill(-writer.pid, "SIGKILL");
  await mount.kill();

  await cluster.startServer(0);
  await cluster.startServer(1);
  await cluster.mount("mnt");
  const promised = readFileSync(journal, "utf8").trim().split("\n").map(Number);
  assert.ok(promised.length >= 100);
  for (const number of promised) {
    const content = readFileSync(join(point, `f${number}`), "latin1");
    assert.equal(content, `${"x".repeat(5000)}${number}\n`, `f${number}`);
  }
  // The rest is a state that the client was in: at most one file after the last promised one, a prefix of its content.
  const count = Number(await shell(`ls ${point} | wc -l`));
  assert.ok(count - promised.length <= 1, `${count} files, ${promised.length} promised`);
});

test("a mount that is killed leaves its files to the next one", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const mount = await cluster.mount("mnt");
  const file = openSync(join(mount.point, "file"), "w");
  writeSync(file, "first\n");
  fsyncSync(file);
  await mount.kill();
  try {
    closeSync(file);
  } catch {
    // ENOTCONN: the mount is gone, as it should be
  }
  const second = await cluster.mount("mnt2");
  assert.equal(readFileSync(join(second.point, "file"), "utf8"), "first\n");
  appendFileSync(join(second.point, "file"), "second\n"); // waits until the dead session is fenced, then goes on
  assert.equal(readFileSync(join(second.point, "file"), "utf8"), "first\nsecond\n");
});
