/** /etc/fstab: mount(8) mounts a volume through the helper that `brine install-mount-helper` makes. */
import { strict as assert } from "node:assert";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, runBrine, runProgram, shell, undo, whyNoMount } from "./cluster.ts";

const helper = "/sbin/mount.fuse.brine";
const skip = whyNoMount() ?? (existsSync(helper) ? `${helper} is there already` : false);

test("a volume in fstab is mounted by mount(8), with the kernel's flags, and unmounted", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  undo(context, () => rmSync(helper, { force: true }));
  const installed = await runBrine(["install-mount-helper"]);
  assert.equal(installed.code, 0, installed.stderr);
  const point = join(cluster.directory, "from fstab");
  mkdirSync(point);
  const fstab = join(cluster.directory, "fstab");
  const escaped = point.replaceAll(" ", "\\040");
  writeFileSync(fstab, `${cluster.source} ${escaped} fuse.brine _netdev,nofail,nosuid,x-systemd.automount 0 0\n`);
  undo(context, () => runProgram("umount", ["-f", "-l", point]));
  await shell(`mount -T '${fstab}' '${point}'`);
  writeFileSync(join(point, "file"), "content");
  const line = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .find((one) => one.includes(escaped));
  assert.match(line ?? "", /nosuid/);
  const unmounted = await runBrine(["unmount", point]);
  assert.equal(unmounted.code, 0, unmounted.stderr);
  const wrong = await runProgram("mount", ["-t", "fuse.brine", cluster.source, point, "-o", "no-such-option"]);
  assert.notEqual(wrong.code, 0);
  assert.match(wrong.stderr, /no-such-option/);
});
