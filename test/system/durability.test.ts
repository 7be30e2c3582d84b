/**
 * fsync is real. SIGKILL alone can't show it: the page cache survives. So (1) strace watches that the disks are synced
 * before the answer, and (2) the disks are cloned under load, at one instant and without syncing anything for it, and
 * servers started from the clone must have all that was fsynced by then.
 */
import { strict as assert } from "node:assert";
import { constants, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Cluster, hasProgram, Program, runProgram, scratch, shell, undo, waitFor, whyNoMount } from "./cluster.ts";

const noMount = whyNoMount();

function missing(...programs: string[]): string | false {
  const absent = programs.filter((name) => !hasProgram(name));
  if (noMount !== undefined) return noMount;
  return absent.length === 0 ? false : `not installed: ${absent.join(", ")}`;
}

test("both stores and the ledger are synced before an fsync is answered", {
  skip: missing("strace"),
}, async (context) => {
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  const { point } = await cluster.mount("mnt");
  await shell(`echo warm > ${point}/warm && sync ${point}/warm`);
  const traces = cluster.servers.map((server, index) => {
    const file = join(cluster.directory, `trace-${index}`);
    const args = ["-f", "-ttt", "-e", "trace=pwritev,pwrite64", "-p", String(server.pid), "-o", file];
    return {
      file,
      tracer: new Program(context, "/usr/bin/strace", args, join(cluster.directory, `strace-${index}.log`)),
    };
  });
  await waitFor("strace", () => traces.every(({ tracer }) => tracer.log().includes("attached")));
  // Times of the program's own write and of the answer to its fsync, on the clock that strace uses.
  const script = `import os,sys,time
f=os.open(sys.argv[1],os.O_WRONLY|os.O_CREAT)
a=time.time(); os.write(f,b"x"*10000); os.fsync(f); print(a,time.time())`;
  const output = await runProgram("python3", ["-c", script, join(point, "file")]);
  const [from, to] = output.stdout.trim().split(" ").map(Number) as [number, number];
  for (const { tracer } of traces) {
    await tracer.stop("SIGTERM");
  }
  for (const [index, { file }] of traces.entries()) {
    const durable = writesThatReturned(readFileSync(file, "latin1")).filter(({ descriptor }) =>
      isOpenedDurably(cluster.servers[index]!.pid, descriptor),
    );
    const inTime = durable.filter(({ atSeconds }) => atSeconds >= from && atSeconds <= to);
    const times = durable.map(({ atSeconds }) => atSeconds).join(" ");
    assert.ok(inTime.length > 0, `server ${index + 1} synced nothing between ${from} and ${to}: ${times}`);
  }
});

/** A call that others of the process came in between stands in two lines: `… <unfinished ...>`, `<... pwritev resumed> … = 1`. */
function writesThatReturned(trace: string): { descriptor: number; atSeconds: number }[] {
  const started = new Map<string, number>();
  const writes: { descriptor: number; atSeconds: number }[] = [];
  for (const line of trace.split("\n")) {
    const parts = /^(\d+) +(\d+\.\d+) (?:\w+\((\d+)|<\.\.\. \w+ resumed>)/.exec(line);
    if (parts === null) continue;
    const [, thread, time, number] = parts;
    if (number !== undefined) started.set(thread!, Number(number));
    if (/ = [1-9]\d*$/.test(line)) writes.push({ descriptor: started.get(thread!)!, atSeconds: Number(time) });
  }
  return writes;
}

/** The process has it open with O_DSYNC: a write that has returned is on the disk. */
function isOpenedDurably(pid: number, descriptor: number): boolean {
  const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, "latin1"))?.[1];
  return (Number.parseInt(flags!, 8) & constants.O_DSYNC) !== 0;
}

test("a clone of the disks under load has all that was fsynced", {
  skip: missing("mkfs.xfs", "losetup"),
}, async (context) => {
  const disks = await loopDisks(context);
  const cluster = await Cluster.start(context, {
    directory: disks.directory,
    dataOf: (index) => join(disks.mountPoint, `server-${index + 1}`),
  });
  const mount = await cluster.mount("mnt");
  const { point } = mount;
  const journal = join(disks.directory, "journal");
  const writer = new Program(
    context,
    "/bin/bash",
    [
      "-c",
      `i=0; while :; do head -c 9000 /dev/zero | tr '\\0' x > ${point}/f$i && sync ${point}/f$i && echo $i >> ${journal} || exit; i=$((i+1)); done`,
    ],
    join(disks.directory, "writer.log"),
  );
  await waitFor("files", () => existsSync(journal) && readFileSync(journal, "utf8").split("\n").length > 60, 60_000);
  const before = readFileSync(journal, "utf8").trim().split("\n").map(Number);
  await disks.clone();
  process.kill(-writer.pid, "SIGKILL");
  await mount.unmount();
  await cluster.stopServer(0);
  await cluster.stopServer(1);

  await disks.useClone();
  await cluster.startServer(0);
  await cluster.startServer(1);
  const again = await cluster.mount("mnt");
  for (const number of before) {
    assert.equal(readFileSync(join(again.point, `f${number}`), "latin1"), "x".repeat(9000), `f${number}`);
  }
  await again.unmount();
  for (const index of [0, 1]) await cluster.stopServer(index);
});

/**
 * ext4 on a loop device with direct I/O, so that what is in its backing file is what a disk would have after a power
 * loss; the backing file lies on an XFS with reflinks (itself on a loop device), where a clone is one instant.
 */
async function loopDisks(context: TestContext) {
  const directory = scratch(context, "/var/tmp");
  const outer = join(directory, "xfs");
  const mountPoint = join(directory, "ext4");
  mkdirSync(outer);
  mkdirSync(mountPoint);
  const later = (command: string) => undo(context, () => runProgram("/bin/sh", ["-c", command]));
  await shell(`truncate -s 3G ${directory}/outer.img && mkfs.xfs -q -m reflink=1 ${directory}/outer.img`);
  await shell(`mount -o loop ${directory}/outer.img ${outer}`);
  later(`umount -l ${outer}`);
  await shell(`truncate -s 1G ${outer}/disk && mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 ${outer}/disk`);
  const attach = async (file: string) => {
    const device = (await shell(`losetup --find --show --direct-io=on ${file}`)).trim();
    later(`losetup -d ${device}`);
    await shell(`mount ${device} ${mountPoint}`);
    later(`umount -l ${mountPoint}`);
  };
  await attach(`${outer}/disk`);
  return {
    directory,
    mountPoint,
    clone: () => shell(`cp --reflink=always ${outer}/disk ${outer}/clone`),
    useClone: async () => {
      await shell(`umount ${mountPoint}`);
      await attach(`${outer}/clone`);
    },
  };
}
