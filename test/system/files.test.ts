/** Files without a mount: what `brine put`, `get`, `cp`, `cat`, `ls` and `rm` do is what a mount shows. */
import { strict as assert } from "node:assert";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, runBrine, shell, whyNoMount } from "./cluster.ts";

test("files go to a volume and come back without a mount", { skip: whyNoMount() ?? false }, async (context) => {
  const cluster = await Cluster.start(context);
  const volume = `${cluster.addresses[0]}/home`;
  const ok = async (...args: string[]) => {
    const output = await runBrine(args);
    assert.equal(output.code, 0, output.stderr);
    return output.stdout;
  };
  const local = join(cluster.directory, "tree");
  mkdirSync(join(local, "sub/empty"), { recursive: true });
  writeFileSync(join(local, "small"), "hello\n", { mode: 0o640 });
  writeFileSync(join(local, "sub/large"), Buffer.alloc(9_000_001, "0123456789"));
  symlinkSync("../small", join(local, "sub/link"));

  assert.match(await ok("put", "-r", local, volume), /put: 2 files, 8\.6 MiB/);
  assert.equal(await ok("cat", `${volume}/tree/sub/link`), "hello\n");
  assert.match(await ok("ls", "-l", `${volume}/tree`), /-rw-r----- +1 .* 6 .* small\n/);
  const mount = await cluster.mount("files");
  await shell(`diff -r --no-dereference ${local} ${join(mount.point, "tree")}`);
  await ok("cp", "-r", `${volume}/tree`, `${volume}/copy`);
  await shell(`diff -r --no-dereference ${local} ${join(mount.point, "copy")}`);
  writeFileSync(join(mount.point, "tree/small"), "changed on the mount\n");
  await ok("get", "-r", `${volume}/tree`, join(cluster.directory, "back"));
  assert.equal(readFileSync(join(cluster.directory, "back/small"), "utf8"), "changed on the mount\n");
  await ok("rm", "-r", `${volume}/copy`, `${volume}/tree`);
  assert.equal(await ok("ls", volume), "");
  assert.equal(await shell(`ls -A ${join(mount.point, "")}`), "");

  const missing = await runBrine(["cat", `${volume}/nothing`]);
  assert.deepEqual([missing.code, missing.stderr], [1, "brine: nothing: no such file or directory\n"]);
});
