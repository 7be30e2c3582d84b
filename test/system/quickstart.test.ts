/** The README's first command: everything set up, used, stopped, found again; and what it refuses. */
import { strict as assert } from "node:assert";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  brine,
  freePorts,
  Program,
  runBrine,
  runProgram,
  scratch,
  shell,
  undo,
  waitFor,
  whyNoMount,
} from "./cluster.ts";

const skip = whyNoMount() ?? false;

async function setUp(context: TestContext) {
  const directory = scratch(context);
  const data = join(directory, "data");
  const mount = join(directory, "mnt");
  const port = await freePorts(2);
  undo(context, () => shell(`umount -l ${mount} 2>/dev/null || true`));
  const args = ["--data", data, "--mount", mount, "--port", String(port)];
  const run = (command: string) => runBrine(["quickstart", ...args, "--run", command]);
  let starts = 0;
  const start = async () => {
    const program = new Program(context, brine, ["quickstart", ...args], join(directory, `quickstart-${starts++}.log`));
    await waitFor("the quickstart", () => {
      assert.ok(program.running, program.log());
      return program.log().includes("is mounted at");
    });
    return program;
  };
  return { directory, data, mount, port, run, start };
}

const mounted = (point: string) => readFileSync("/proc/mounts", "utf8").includes(` ${point} `);

test("runs a command on the mount, ends with its exit code, and keeps the files", { skip }, async (context) => {
  const { mount, run } = await setUp(context);
  assert.equal((await run("echo kept > file; mkdir -p a/b; exit 7")).code, 7);
  assert.equal(mounted(mount), false, "it unmounts at the end");
  const again = await run("cat file; test -d a/b");
  assert.equal(again.code, 0, again.stderr);
  assert.match(again.stdout, /kept/);
});

test("stays until it is stopped, shows its state, and starts a server again that died", { skip }, async (context) => {
  const { data, mount, start } = await setUp(context);
  const program = await start();
  writeFileSync(join(mount, "one"), "1");

  const status = JSON.parse((await runBrine(["status", "--data", data, "--json"])).stdout);
  assert.equal(status.servers.length, 2);
  assert.match(status.metadata, /one copy/);
  for (const server of status.servers) {
    assert.equal(server.state, "online");
    assert.ok(server.pid > 0 && server.totalBytes > 0 && server.address !== "");
  }

  const second = await runBrine(["quickstart", "--data", data, "--mount", `${mount}2`]);
  assert.equal(second.code, 1);
  assert.match(second.stderr, /^brine: .*already.*\n$/);

  const victim = status.servers[1].pid;
  process.kill(victim, "SIGKILL");
  writeFileSync(join(mount, "two"), "2");
  await waitFor("the server to be back and in sync", async () => {
    const now = JSON.parse((await runBrine(["status", "--data", data, "--json"])).stdout);
    const back = now.servers[1];
    return back?.state === "online" && back.pid !== victim && back.groupsBehind + back.groupsCatchingUp === 0;
  });
  assert.equal(readFileSync(join(mount, "two"), "utf8"), "2");

  const stopped = await runBrine(["stop", "--data", data]);
  assert.equal(stopped.code, 0, stopped.stderr);
  assert.equal(await program.ended, 0, program.log());
  assert.equal(mounted(mount), false);

  const restarted = await start();
  assert.equal(readFileSync(join(mount, "one"), "utf8"), "1");
  assert.equal(await restarted.stop("SIGINT"), 0, restarted.log());
  assert.equal(mounted(mount), false);
});

test("refuses, in one line and with nothing left behind, what can't work", { skip }, async (context) => {
  const { directory, data, mount, port } = await setUp(context);
  const base = ["quickstart", "--run", "true", "--port", String(port)];
  const refused = async (args: string[], message: RegExp) => {
    const output = await runBrine([...base, ...args]);
    assert.notEqual(output.code, 0);
    assert.match(output.stderr, message);
    assert.equal(output.stderr.trim().split("\n").length, 1, output.stderr);
  };

  mkdirSync(join(directory, "full"));
  writeFileSync(join(directory, "full", "file"), "");
  await refused(["--data", data, "--mount", join(directory, "full")], /not empty/);
  assert.equal(existsSync(data), false);
  assert.deepEqual(readdirSync(join(directory, "full")), ["file"]);

  const blocker = createServer().listen(port + 1, "127.0.0.1");
  undo(context, () => blocker.close());
  await refused(["--data", data, "--mount", mount], new RegExp(`127\\.0\\.0\\.1:${port + 1}.*another program`));
  assert.equal(existsSync(data), false);
  assert.equal(existsSync(mount), false);

  await refused(["--data", join(directory, "full"), "--mount", mount], /not empty and not of a quickstart/);
  assert.equal(existsSync(mount), false);
});

test("says that a machine has no FUSE", { skip }, async (context) => {
  const { data, mount, port } = await setUp(context);
  // A /dev of its own, without fuse: seen by the shell's children only.
  const devices =
    "mount -t tmpfs none /dev && mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9 && chmod 666 /dev/null";
  const command = `${devices} && exec ${brine} quickstart --run true --data ${data} --mount ${mount} --port ${port}`;
  const output = await runProgram("unshare", ["--mount", "/bin/sh", "-c", command]);
  assert.equal(output.code, 1);
  assert.match(output.stderr, /^brine: can't open \/dev\/fuse: this machine has no FUSE.*\n$/);
  assert.equal(existsSync(mount), false);
});
