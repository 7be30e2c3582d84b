/**
 * Real mounts: the kernel, a memory file system served by a child process, and the tools that people use. Needs root and
 * /dev/fuse; skipped by name where they are missing.
 */
import assert from "node:assert/strict";
import { execFile, execFileSync, spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statfsSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { access, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { isMounted, MountedChild, temporaryDirectory } from "./testing/mounted-child.ts";
import { fileSizeLimit, hasEffective, hasGroup, hasPendingKill, kernelTasks } from "./transport/kernel-tasks.ts";
import { takeDirectory } from "./transport/mount-directory.ts";
import { parseMountInfo } from "./transport/mount-points.ts";

const run = promisify(execFile);
const canMount = process.getuid?.() === 0 && existsSync("/dev/fuse");
const skip = canMount ? false : "needs root and /dev/fuse";
const hasPython = spawnWorks("python3");
const sources = fileURLToPath(new URL("..", import.meta.url));
const edgeCases = fileURLToPath(new URL("testing/edge-cases.py", import.meta.url));
/** A mount that hangs must fail the test, not hang it. */
const timeout = 60_000;

function spawnWorks(program: string): boolean {
  try {
    execFileSync(program, ["--version"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function withMount(words: readonly string[], body: (child: MountedChild) => Promise<void>): Promise<void> {
  const child = await MountedChild.start(words);
  try {
    assert.equal(child.output, "mounted\n");
    await body(child);
    assert.match(await child.end(), /ended: .*, 0 handles open\n$/);
    assert.equal(isMounted(child.directory), false);
  } finally {
    await child.clear();
  }
}

function shell(command: string, directory: string): Promise<{ stdout: string; stderr: string }> {
  return run("/bin/sh", ["-ec", command], { cwd: directory, timeout: 50_000 });
}

test("the mount shows as type fuse with its source", { skip, timeout }, () =>
  withMount([], async ({ directory }) => {
    const line = readFileSync("/proc/mounts", "utf8")
      .split("\n")
      .find((one) => one.includes(directory));
    assert.match(line ?? "", /^memory:0\/test \S+ fuse rw,.*default_permissions,allow_other,max_read=1048576/);
  }),
);

test("tar, cp -a, mv, find, diff and rm -rf on a source tree", { skip, timeout }, () =>
  withMount([], async ({ directory }) => {
    await shell(`tar -C ${sources} -cf - . | tar xf -`, directory);
    await shell(`diff -r ${sources} . && tar -C ${sources} -cf - . | tar df -`, directory);
    await shell("mkdir copy && cp -a fuse client copy/ && diff -r fuse copy/fuse && mv copy moved", directory);
    const { stdout } = await shell("find . -type f -name '*.ts' | wc -l", directory);
    assert.ok(Number(stdout) > 50);
    await shell('rm -rf ./* && test -z "$(ls -A)"', directory);
  }),
);

test("1 MiB blocks with dd, and a checksum", { skip, timeout }, () =>
  withMount([], async ({ directory }) => {
    const { stdout } = await shell(
      "head -c 50000001 /dev/urandom > /dev/shm/brinefs-test.$$; dd if=/dev/shm/brinefs-test.$$ of=big bs=1M conv=fsync 2>/dev/null;" +
        "cmp big /dev/shm/brinefs-test.$$; rm /dev/shm/brinefs-test.$$; dd if=big bs=1M 2>/dev/null | cmp - big; stat -c %s big",
      directory,
    );
    assert.equal(stdout, "50000001\n");
    // Many at once, of sizes that are copied and sizes that keep their buffer.
    const sizes = Array.from({ length: 40 }, (_, index) => 1 + index * 30_011);
    await Promise.all(sizes.map((size, index) => writeFile(join(directory, `f${index}`), Buffer.alloc(size, index))));
    const read = await Promise.all(sizes.map((_, index) => readFile(join(directory, `f${index}`))));
    for (const [index, content] of read.entries()) assert.ok(content.equals(Buffer.alloc(sizes[index]!, index)));
    assert.equal(statfsSync(directory).bsize, 4096);
  }),
);

for (const words of [[], ["linux61"], ["thread-pool"]]) {
  const how = words[0] ?? "all features";
  const pythonSkip = skip || (hasPython ? false : "needs python3");
  test(`edge cases of the system calls (${how})`, { skip: pythonSkip, timeout }, () =>
    withMount(words, async ({ directory }) => {
      const area = join(directory, "area");
      mkdirSync(area);
      const { stdout } = await run("python3", [edgeCases, area, how], { timeout: 50_000 });
      assert.equal(stdout, "all right\n");
    }),
  );
}

test("a signal doesn't break fsync, SIGKILL ends it", { skip: skip || !hasPython, timeout }, () =>
  withMount([], async ({ directory }) => {
    const script = (size: number) =>
      "import os,signal,sys\n" +
      "signal.signal(signal.SIGALRM, lambda *_: None)\n" +
      "signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)\n" +
      `fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR); os.ftruncate(fd, ${size})\n` +
      "import ctypes\nprint(ctypes.CDLL(None).fsync(fd), flush=True)\n" +
      // The interpreter takes its handlers away before it ends: a late signal would kill it.
      "signal.setitimer(signal.ITIMER_REAL, 0)\n";
    const slow = await run("python3", ["-c", script(1234), join(directory, "slow")]);
    assert.equal(slow.stdout, "0\n");
    const hung = spawn("python3", ["-c", script(1235), join(directory, "hung")], { stdio: "ignore" });
    await new Promise((done) => setTimeout(done, 400));
    assert.equal(hung.exitCode, null);
    hung.kill("SIGKILL");
    const signal = await new Promise((done) => hung.on("exit", (_, name) => done(name)));
    assert.equal(signal, "SIGKILL");
  }),
);

const parallelWrites = `
import os, sys, threading
fd = os.open(sys.argv[1], os.O_CREAT | os.O_RDWR)
start, size, count = 1 << 41, 1 << 20, 100
os.ftruncate(fd, start + count * size)
write = lambda number: os.pwrite(fd, bytes([number]) * size, start + number * size)
threads = [threading.Thread(target=write, args=(number,)) for number in range(count)]
for one in threads: one.start()
for one in threads: one.join()
for number in range(count): assert os.pread(fd, size, start + number * size) == bytes([number]) * size, number
`;

for (const words of [[], ["thread-pool"]]) {
  test(
    `100 slow writes of 1 MiB at once: reading from the kernel pauses and goes on (${words[0] ?? "pipe"})`,
    {
      skip: skip || !hasPython,
      timeout,
    },
    () =>
      withMount(words, async ({ directory, pid }) => {
        await run("python3", ["-c", parallelWrites, join(directory, "f")], { timeout: 50_000 });
        const peak = /VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1];
        assert.ok(Number(peak) < 500_000, `${peak} KiB`);
      }),
  );
}

test("mount points that can't be used are refused", { skip, timeout }, async () => {
  const failure = async (directory: string) => {
    const child = await MountedChild.start([], directory);
    try {
      return await child.end();
    } finally {
      await child.end("SIGKILL");
    }
  };
  const area = temporaryDirectory();
  try {
    assert.match(await failure(join(area, "missing")), /^failed: notFound there is no directory/);
    writeFileSync(join(area, "file"), "");
    assert.match(await failure(join(area, "file")), /^failed: invalid .* is not a directory/);
    assert.match(await failure(area), /^failed: busy .* is not empty/);
    assert.match(await failure("/proc"), /^failed: busy \/proc is mounted already/);
  } finally {
    rmSync(area, { recursive: true });
  }
});

test("two mounts on one point are refused, also through a symlink", { skip, timeout }, () =>
  withMount([], async ({ directory }) => {
    const area = temporaryDirectory();
    try {
      symlinkSync(directory, join(area, "link"));
      for (const path of [directory, join(area, "link")]) {
        const second = await MountedChild.start([], path);
        assert.match(await second.end(), /^failed: busy .* is mounted already \(memory:0\/test, type fuse\)/);
      }
    } finally {
      rmSync(area, { recursive: true });
    }
    await access(directory);
  }),
);

test("who mounts on a point at the same time as another process is refused", { skip, timeout }, async () => {
  const directory = temporaryDirectory();
  const other = await takeDirectory(directory);
  const early = await MountedChild.start([], directory);
  await other.release();
  const late = await MountedChild.start([], directory);
  try {
    assert.match(await early.end(), /^failed: busy another process mounts something on /);
    assert.equal(isMounted(directory), true);
    await assert.rejects(takeDirectory(directory), { code: "busy" });
  } finally {
    await late.end();
    rmSync(directory, { recursive: true });
  }
});

test("a mount is taken off its directory also when one above was renamed", { skip, timeout }, async () => {
  const area = temporaryDirectory();
  mkdirSync(join(area, "before/point"), { recursive: true });
  const child = await MountedChild.start([], join(area, "before/point"));
  renameSync(join(area, "before"), join(area, "after"));
  await child.end();
  const isLeft = isMounted(join(area, "after/point"));
  if (isLeft) execFileSync("umount", ["-l", join(area, "after/point")]);
  rmSync(area, { recursive: true });
  assert.equal(isLeft, false);
});

test("a mount whose server was killed is cleared by the next one", { skip, timeout }, async () => {
  const first = await MountedChild.start();
  try {
    await first.end("SIGKILL");
    assert.equal(isMounted(first.directory), true);
    const second = await MountedChild.start([], first.directory);
    try {
      assert.equal(second.output, "mounted\n");
      await writeFile(join(first.directory, "f"), "x");
    } finally {
      await second.end();
    }
    assert.equal(isMounted(first.directory), false);
  } finally {
    await first.clear();
  }
});

for (const words of [[], ["thread-pool"]]) {
  test(`umount(8) from outside ends the server (${words[0] ?? "pipe"})`, { skip, timeout }, async () => {
    const child = await MountedChild.start(words);
    try {
      await run("umount", [child.directory]);
      await child.ended();
      assert.match(child.output, /ended: unmounted, 0 handles open/);
    } finally {
      await child.clear();
    }
  });
}

test("a connection that was aborted leaves no dead mount", { skip, timeout }, async () => {
  const child = await MountedChild.start();
  const control = temporaryDirectory();
  try {
    execFileSync("mount", ["-t", "fusectl", "none", control]);
    const line = readFileSync("/proc/self/mountinfo", "utf8")
      .split("\n")
      .find((one) => one.includes(child.directory));
    const connection = /^\d+ \d+ \d+:(\d+) /.exec(line!)![1]!;
    writeFileSync(join(control, connection, "abort"), "1");
    await child.ended();
    assert.match(child.output, /ended: aborted from outside, 0 handles open/);
    assert.equal(isMounted(child.directory), false);
  } finally {
    if (isMounted(control)) execFileSync("umount", ["-l", control]);
    rmdirSync(control);
    await child.clear();
  }
});

test("unmounting cuts off a file that stays open", { skip, timeout }, async () => {
  const child = await MountedChild.start();
  const holder = spawn("/bin/sh", ["-c", "exec sleep 50 > held"], { cwd: child.directory });
  try {
    while (!existsSync(join(child.directory, "held"))) await new Promise((done) => setTimeout(done, 20));
    assert.match(await child.end(), /ended: closed here, 0 handles open/);
    assert.equal(isMounted(child.directory), false);
  } finally {
    holder.kill("SIGKILL");
    await child.clear();
  }
});

test("a read-only mount", { skip, timeout }, () =>
  withMount(["ro"], async ({ directory }) => {
    await assert.rejects(writeFile(join(directory, "f"), ""), { code: "EROFS" });
  }),
);

test("mountinfo with spaces and other bytes", () => {
  const text =
    "36 35 98:0 / / rw,noatime shared:1 - ext4 /dev/root rw\n" +
    "40 36 0:45 / /mnt/a\\040b\\134c rw,relatime - fuse host:1/v\\040w rw,user_id=0\n";
  assert.deepEqual(parseMountInfo(text), [
    { device: "98:0", directory: "/", type: "ext4", source: "/dev/root" },
    { device: "0:45", directory: "/mnt/a b\\c", type: "fuse", source: "host:1/v w" },
  ]);
});

test("a pending SIGKILL in /proc", () => {
  const status = (thread: string, shared: string) =>
    `Name:\tx\nSigPnd:\t${thread}\nShdPnd:\t${shared}\nSigBlk:\t0000000000000100\n`;
  assert.equal(hasPendingKill(status("0000000000000000", "0000000000004200")), false);
  assert.equal(hasPendingKill(status("0000000000000100", "0000000000000000")), true);
  assert.equal(hasPendingKill(status("0000000000000000", "ffffffffffffffff")), true);
  assert.equal(kernelTasks.isEnding(process.pid), false);
  assert.equal(kernelTasks.isEnding(2 ** 30), true);
});

test("capabilities, groups and limits in /proc", () => {
  const status = "CapPrm:\t000001ffffffffff\nCapEff:\t0000000000000009\n";
  assert.deepEqual(
    [0, 1, 3, 40].map((bit) => hasEffective(status, bit)),
    [true, false, true, false],
  );
  assert.equal(kernelTasks.hasCapability(process.pid, 1), true);
  assert.equal(kernelTasks.hasCapability(0, 1), true);
  const groups = (list: string) =>
    [5, 50].map((group) => hasGroup(`Gid:\t5\t5\nGroups:\t${list} \nNStgid:\t1\n`, group));
  assert.deepEqual(
    [groups("4 50"), groups("5"), groups("")],
    [
      [false, true],
      [true, false],
      [false, false],
    ],
  );
  const limits = (soft: string) =>
    `Limit  Soft Limit\nMax file size             ${soft}            unlimited    bytes\n`;
  assert.equal(fileSizeLimit(limits("4096")), 4096);
  assert.equal(fileSizeLimit(limits("unlimited")), Number.POSITIVE_INFINITY);
});

test("a mount that has ended doesn't take off another one that got its device number", {
  skip: skip || (hasPython ? false : "needs python3"),
  timeout,
}, async () => {
  const [first, directory] = [await MountedChild.start(), temporaryDirectory()];
  let second: MountedChild | undefined;
  try {
    const numberOf = (point: string) => {
      const mounts = parseMountInfo(readFileSync("/proc/self/mountinfo", "latin1"));
      return mounts.find((mount) => mount.directory === point)?.device;
    };
    const number = numberOf(first.directory);
    // It hears of its end only when the other one is there.
    process.kill(first.pid, "SIGSTOP");
    // Not by umount(8), which would ask the mount about itself.
    const detach = "import ctypes, os, sys; sys.exit(ctypes.CDLL(None).umount2(os.fsencode(sys.argv[1]), 2))";
    await run("python3", ["-c", detach, first.directory], { timeout: 10_000 });
    second = await MountedChild.start([], directory);
    assert.equal(numberOf(directory), number, "the kernel uses the number again");
    process.kill(first.pid, "SIGCONT");
    await first.end();
    assert.equal(isMounted(directory), true);
  } finally {
    await first.clear();
    await second?.clear();
  }
});
