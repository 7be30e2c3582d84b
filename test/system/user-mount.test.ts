/**
 * Mounting as an ordinary user, with fusermount3. It happens in a mount namespace of its own, where everybody may open
 * /dev/fuse (as udev has it on a machine that was installed, but not in every container) and /etc/fuse.conf is ours.
 */
import { strict as assert } from "node:assert";
import { chmodSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { brine, Cluster, hasProgram, Program, runProgram, scratch, undo, waitFor, whyNoMount } from "./cluster.ts";

const nobody = 65_534;

function whyNot(): string | false {
  const absent = ["fusermount3", "setpriv", "unshare", "nsenter"].filter((name) => !hasProgram(name));
  return whyNoMount() ?? (absent.length === 0 ? false : `not installed: ${absent.join(", ")}`);
}

test("an ordinary user mounts, works, loses the client, mounts again and unmounts", {
  skip: whyNot(),
}, async (context) => {
  const directory = scratch(context);
  chmodSync(directory, 0o755);
  const cluster = await Cluster.start(context, { directory });
  const other = await cluster.mount("other");
  chmodSync(other.point, 0o777);

  const [point, home] = [join(directory, "mine"), join(directory, "home")];
  for (const path of [point, home]) mkdirSync(path);
  const configuration = join(directory, "fuse.conf");
  writeFileSync(configuration, "# nothing is allowed\n");
  const prepare = `mount -t tmpfs none /mnt && mknod -m 666 /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse &&
    touch /etc/fuse.conf && mount --bind ${configuration} /etc/fuse.conf && chown ${nobody} ${point} ${home} &&
    echo ready && exec sleep 3600`;
  const space = new Program(context, "unshare", ["-m", "bash", "-c", prepare], join(directory, "space.log"));
  await waitFor("a mount namespace", () => {
    assert.ok(space.running, space.log());
    return space.log().includes("ready");
  });
  const inside = (args: readonly string[]) => runProgram("nsenter", ["-t", String(space.pid), "-m", "--", ...args]);
  undo(context, () => inside(["umount", "-f", "-l", point]));
  const asUser = (...args: string[]) =>
    inside([
      ...["setpriv", "--reuid", `${nobody}`, "--regid", `${nobody}`, "--clear-groups"],
      ...["env", "-u", "XDG_RUNTIME_DIR", "-u", "XDG_STATE_HOME", `HOME=${home}`, ...args],
    ]);
  const ok = async (...args: string[]) => {
    const output = await asUser(...args);
    assert.equal(output.code, 0, output.stdout + output.stderr);
    return output.stdout;
  };

  const said = await ok(brine, "mount", cluster.source, point);
  const pid = Number(/process (\d+)/.exec(said)?.[1]);
  const shown = (await inside(["grep", point, "/proc/mounts"])).stdout;
  assert.match(shown, new RegExp(`^${cluster.source} .* fuse rw,nosuid,nodev,relatime,user_id=${nobody},`));
  assert.doesNotMatch(shown, /allow_other/);

  await ok("bash", "-c", `cd ${point} && mkdir d && echo mine > d/file && mv d/file d/moved`);
  assert.deepEqual(await runProgram("stat", ["-c", "%u %s", join(other.point, "d/moved")]), {
    code: 0,
    stdout: `${nobody} 5\n`,
    stderr: "",
  });
  assert.match((await inside(["ls", point])).stderr, /Permission denied/); // not even root
  await ok(brine, "sync", point);

  process.kill(pid, "SIGKILL");
  await ok(brine, "mount", cluster.source, point);
  assert.equal(await ok("cat", join(point, "d/moved")), "mine\n");
  await ok(brine, "unmount", point);
  assert.equal((await inside(["grep", point, "/proc/mounts"])).code, 1);

  const refused = await asUser(brine, "mount", "-o", "allow_other", cluster.source, point);
  assert.match(refused.stderr, /option allow_other only allowed if 'user_allow_other' is set in \/etc\/fuse.conf/);
  writeFileSync(configuration, "user_allow_other\n");
  await ok(brine, "mount", "-o", "allow_other,noatime", cluster.source, point);
  assert.equal((await inside(["cat", join(point, "d/moved")])).stdout, "mine\n");
  assert.match((await inside(["grep", point, "/proc/mounts"])).stdout, /noatime.*allow_other/);
  await ok(brine, "unmount", point);
});
