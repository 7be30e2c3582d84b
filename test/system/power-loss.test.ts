/**
 * The power of all servers fails at one moment, under load: each has a disk of its own, and what is on all of them at one
 * instant is all that is left. Everything that an fsync had returned for by then must be there.
 */
import { strict as assert } from "node:assert";
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  Cluster,
  full,
  hasProgram,
  Program,
  runProgram,
  scratch,
  shell,
  undo,
  waitFor,
  whyNoMount,
} from "./cluster.ts";

const programs = ["mkfs.xfs", "losetup", "python3"].filter((name) => !hasProgram(name));
const skip = whyNoMount() ?? (programs.length > 0 ? `not installed: ${programs.join(", ")}` : false);
const kinds = ["create", "replace", "overwrite", "remove"] as const;
const servers = 3;
const diskMegabytes = 512;
const blockBytes = 4096;

test("all servers lose power at one moment under load", { skip, timeout: 1_800_000 }, async (context) => {
  const disks = await serverDisks(context);
  const cluster = await Cluster.start(context, {
    servers,
    metadataAlone: true,
    directory: disks.directory,
    dataOf: (index) => join(disks.directory, `disk-${index}`, "data"),
  });
  for (let round = 0; round < (full ? 12 : 2); round++) {
    const mounts = [await cluster.mount("one"), await cluster.mount("two")];
    const work = kinds.map((kind, index) => {
      const directory = join(mounts[index % 2]!.point, `${kind}-${round}`);
      const journal = join(disks.directory, `${kind}-${round}.journal`);
      mkdirSync(directory);
      const script = new URL("power-loss-work.py", import.meta.url).pathname;
      const log = join(disks.directory, `${kind}.log`);
      return { kind, journal, program: new Program(context, "python3", [script, kind, directory, journal], log) };
    });
    await waitFor("load", () => work.every(({ journal }) => done(journal) > 20 + 10 * round), 60_000);
    const promised = work.map(({ kind, journal }) => [kind, done(journal)] as const);
    await disks.clone();
    for (const { program } of work) program.signal("SIGKILL");
    for (const mount of mounts) await mount.kill();
    for (let index = 0; index < servers; index++) await cluster.killServer(index);

    await disks.useClone();
    for (const index of [0, 1, 2]) await cluster.startServer(index);
    const after = await cluster.mount("one");
    for (const [kind, count] of promised) check(kind, join(after.point, `${kind}-${round}`), count);
    context.diagnostic(`round ${round}: ${promised.map(([kind, count]) => `${count} × ${kind}`).join(", ")}`);
    await after.unmount();
    await cluster.waitInSync();
  }
  for (let index = 0; index < servers; index++) await cluster.stopServer(index);
});

/** The last number in a journal. */
function done(journal: string): number {
  return existsSync(journal) ? Number(readFileSync(journal, "utf8").trim().split("\n").at(-1)) : 0;
}

function check(kind: (typeof kinds)[number], directory: string, count: number): void {
  const numberOf = (block: Buffer): number => {
    const match = /^(\d+) #+$/.exec(block.toString("latin1"));
    assert.ok(match !== null, `${kind}: a block is torn`);
    return Number(match[1]);
  };
  if (kind === "create") {
    for (let number = 1; number <= count; number++) {
      const content = readFileSync(join(directory, `new${number}`));
      assert.equal(content.byteLength, 3 * blockBytes, `new${number}`);
      for (let block = 0; block < 3; block++) assert.equal(numberOf(blockOf(content, block)), number);
    }
  } else if (kind === "replace") {
    const content = readFileSync(join(directory, "replaced"));
    assert.equal(content.byteLength, blockBytes);
    assert.ok(numberOf(content) >= count, `replaced: ${numberOf(content)} after ${count}`);
  } else if (kind === "overwrite") {
    const content = readFileSync(join(directory, "file"));
    assert.equal(content.byteLength, 600 * blockBytes);
    for (let block = 0; block < 600; block++) {
      const number = numberOf(blockOf(content, block));
      assert.ok(number >= count, `file: block ${block} is of round ${number} after ${count}`);
    }
  } else {
    const back = readdirSync(directory).filter((name) => Number(name.slice(3)) <= count);
    assert.deepEqual(back, [], "what was removed is there again");
  }
}

function blockOf(content: Buffer, block: number): Buffer {
  return content.subarray(block * blockBytes, (block + 1) * blockBytes);
}

/**
 * A disk for each server: ext4 on loop devices with direct I/O, all of them parts of *one* file on an XFS with reflinks (itself
 * on a loop device). So one clone of that file is all disks at one instant.
 */
async function serverDisks(context: TestContext) {
  const directory = scratch(context, "/var/tmp");
  const outer = join(directory, "xfs");
  mkdirSync(outer);
  const later = (command: string) => undo(context, () => runProgram("/bin/sh", ["-c", command]));
  await shell(`truncate -s 16G ${directory}/outer.img && mkfs.xfs -q -m reflink=1 ${directory}/outer.img`);
  await shell(`mount -o loop ${directory}/outer.img ${outer}`);
  later(`umount -l ${outer}`);
  let file = `${outer}/disks-0`;
  let clones = 0;
  const attach = async (format: boolean) => {
    for (let index = 0; index < servers; index++) {
      const part = `--offset ${index * diskMegabytes}MiB --sizelimit ${diskMegabytes}MiB`;
      const device = (await shell(`losetup --find --show --direct-io=on ${part} ${file}`)).trim();
      later(`losetup -d ${device}`);
      if (format) await shell(`mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 ${device}`);
      const point = join(directory, `disk-${index}`);
      mkdirSync(point, { recursive: true });
      await shell(`mount ${device} ${point}`);
      later(`umount -l ${point}`);
    }
  };
  await shell(`truncate -s ${servers * diskMegabytes}M ${file}`);
  await attach(true);
  return {
    directory,
    clone: () => {
      clones += 1;
      return shell(`cp --reflink=always ${file} ${outer}/disks-${clones}`);
    },
    useClone: async () => {
      for (let index = 0; index < servers; index++) await shell(`umount ${join(directory, `disk-${index}`)}`);
      file = `${outer}/disks-${clones}`;
      await attach(false);
    },
  };
}
