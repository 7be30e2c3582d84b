/** Files without a mount: what `brine put`, `get`, `cp`, `cat`, `ls` and `rm` do is what a mount shows. */
import { strict as assert } from "node:assert";
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { brine, Cluster, full, hasProgram, root, runBrine, runProgram, shell, whyNoMount } from "./cluster.ts";

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

test("permissions without a mount are those on a mount", {
  skip: whyNoMount() ?? (!hasProgram("setfacl") && "no setfacl"),
}, async (context) => {
  const cluster = await Cluster.start(context);
  chmodSync(cluster.directory, 0o755);
  const { point } = await cluster.mount("rules");
  await shell(`cd ${point} && for name in mode denied group allowed; do echo $name > $name; done
    chmod 640 mode group allowed && chgrp 42001 group && chmod 644 denied
    setfacl -m u:41001:--- denied && setfacl -m g::---,u:41002:r group && setfacl -m u:41001:r allowed`);
  for (const [name, isAllowed] of Object.entries({ mode: false, denied: false, group: false, allowed: true })) {
    const as = ["--reuid", "41001", "--regid", "42001", "--clear-groups"];
    const onMount = await runProgram("setpriv", [...as, "cat", join(point, name)]);
    const without = await runProgram("setpriv", [...as, brine, "cat", `${cluster.source}/${name}`]);
    const wanted = isAllowed ? `${name}\n` : "";
    assert.deepEqual([onMount.stdout, without.stdout], [wanted, wanted], name);
    if (!isAllowed) assert.match(without.stderr, /permission denied/);
  }
});

test("copies that share: the servers write next to nothing", { skip: whyNoMount() ?? false }, async (context) => {
  const cluster = await Cluster.start(context);
  const { point } = await cluster.mount("shared");
  const volume = `${cluster.addresses[0]}/home`;
  const fileBytes = (full ? 1024 : 48) * 1024 * 1024 + 300_001;
  await shell(`head -c ${fileBytes} /dev/urandom > ${point}/original && truncate -s 100M ${point}/sparse`);
  await shell(`${root}/bin/brine sync ${point}`);
  /** Bytes that the servers have written, to disks and sockets, while the command ran (proc(5), io). */
  const writtenBy = async (command: string) => {
    const written = () =>
      cluster.servers.map(({ pid }) => Number(/wchar: (\d+)/.exec(readFileSync(`/proc/${pid}/io`, "utf8"))![1]));
    const before = written();
    await shell(command);
    return Math.max(...written().map((bytes, index) => bytes - before[index]!));
  };
  const shared = await writtenBy(`${root}/bin/brine cp --reflink ${volume}/original ${volume}/copy`);
  assert.ok(shared < fileBytes / 20, `${shared} bytes written for ${fileBytes} shared ones`);
  const onMount = await writtenBy(`cp ${point}/original ${point}/second && ${root}/bin/brine sync ${point}`);
  assert.ok(onMount < fileBytes / 20, `${onMount} bytes written by cp(1) on a mount`);
  const copied = await writtenBy(`${root}/bin/brine cp ${volume}/original ${volume}/full`);
  assert.ok(copied > fileBytes, `${copied} bytes written by a copy that does not share`);

  await shell(`cd ${point} && for copy in copy second full; do cmp original $copy; done`);
  await shell(`cd ${point} && printf changed | dd of=copy bs=1 seek=5000000 conv=notrunc status=none
    cmp original second && ! cmp -s original copy && rm original && cmp second full`);
  await shell(`${root}/bin/brine cp --reflink ${volume}/sparse ${volume}/holes`);
  assert.equal(await shell(`stat -c '%s %b' ${point}/holes`), `${100 * 1024 * 1024} 0\n`);
  const over = await runBrine(["cp", "--reflink", `${volume}/copy`, `${volume}/copy`]);
  assert.match(over.stderr, /can't be copied over itself|invalid argument/i);
});
