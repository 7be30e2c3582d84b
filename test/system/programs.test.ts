/**
 * Programs that are made to find what a file system does wrong, and those that copy all that a file has: on a mount, as
 * they come with Debian. What they check stands in their manuals; here they must only end well.
 */
import { strict as assert } from "node:assert";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Cluster, full, hasProgram, runProgram, shell, whyNoMount } from "./cluster.ts";

const timeoutMs = full ? 3_600_000 : 120_000;

/** BRINE_TEST_PROGRAMS=dbench,iomix: only those programs, and of stress-ng only those stressors. All take an hour. */
const chosen = process.env.BRINE_TEST_PROGRAMS?.split(",");
const known = ["rsync", "dbench", "fio", "python3"];

/** Of Python's own tests those that work with files. They make theirs in the directory that they are given. */
const pythonTests = `bufio bz2 dbm dbm_dumb dbm_gnu dbm_ndbm eintr fcntl file file_eintr filecmp fileinput fileio genericpath glob gzip
  import importlib io ioctl largefile linecache logging lzma mailbox mmap netrc openpty os pathlib pkgutil posix
  posixpath pty py_compile runpy shelve shutil sqlite3 stat subprocess tarfile tempfile unicode_file
  unicode_file_functions univnewlines venv zipapp zipfile zipimport`;

function missing(...programs: string[]): string | false {
  const isChosen = chosen === undefined || chosen.some((one) => programs.includes(one) || isStressor(one, programs));
  if (!isChosen) return "not chosen";
  const absent = programs.filter((name) => !hasProgram(name));
  return absent.length === 0 ? false : `not installed: ${absent.join(", ")}`;
}

/** Why fio can't use this engine here. */
function noEngine(engine: string): string | false {
  const absent = missing("fio");
  if (absent !== false || engine !== "io_uring") return absent;
  const setting = "/proc/sys/kernel/io_uring_disabled";
  // Since Linux 6.6. 1: only for a group; 2: for nobody.
  const isDisabled = existsSync(setting) && readFileSync(setting, "utf8").trim() === "2";
  return isDisabled && "the kernel has io_uring disabled";
}

function noPythonTests(): string | false {
  if (!full) return "only with npm run test:system";
  const isThere = spawnSync("python3", ["-c", "import test.test_os"]).status === 0;
  return missing("python3") || (!isThere && "not installed: libpython3.11-testsuite");
}

function isStressor(one: string, programs: readonly string[]): boolean {
  return programs.includes("stress-ng") && !known.includes(one);
}

/** All that a file may have besides its data: links, owners, modes, ACLs, attributes, capabilities, holes, old times. */
const makeOddTree = `
  mkdir -p odd/dir odd/sticky odd/empty && cd odd
  head -c 3000000 /dev/urandom > dir/data && ln dir/data sticky/linked && ln dir/data dir/again
  truncate -s 20M dir/sparse && printf end | dd of=dir/sparse bs=1 seek=9000000 conv=notrunc status=none
  ln -s dir/data link && ln -s nowhere dangling && mkfifo pipe && mknod null c 1 3
  printf x > "$(printf 'name\\nwith \\303\\274\\377 bytes')" && touch -d '1955-11-05 06:15:00.123456789' old
  cp /bin/true program && chown 1234:4321 dir/again && chmod 1777 sticky && chmod 2750 empty && chmod 4755 program
  setfattr -n user.note -v "$(head -c 2000 /dev/zero | tr '\\0' n)" dir/data && setfattr -n trusted.t -v t dir
  setfattr -n user.empty dir && setfacl -m u:1001:rw,g:1002:r,m::rw old && setfacl -m d:u:1001:rwx,d:o::- dir
  setcap cap_net_bind_service=ep program && cd ..`;

test("programs on a mount", { skip: whyNoMount() ?? false }, async (context) => {
  const cluster = await Cluster.start(context);
  const { point } = await cluster.mount("mnt");
  const other = await cluster.mount("other");
  const directory = (name: string) => {
    mkdirSync(join(point, name));
    return join(point, name);
  };
  const run = async (program: string, args: readonly string[]) => {
    const output = await runProgram(program, args, { timeoutMs });
    const said = output.stdout + output.stderr;
    assert.equal(output.code, 0, `${program} ${args.join(" ")}\n${said}`);
    return said;
  };

  const copiers = missing("rsync", "tar", "setfacl", "setfattr", "setcap");
  await context.test("rsync -aHAX and tar --acls --xattrs", { skip: copiers }, async () => {
    const home = directory("copies");
    await shell(`cd ${home} && ${makeOddTree}`, { timeoutMs });
    const same = async (copy: string) => {
      // From the other mount: what it is told, not what this one remembers. Times of directories count, too.
      const inside = `cd ${join(other.point, "copies")} && rsync -aHAXni --delete --checksum odd/ ${copy}/`;
      assert.equal(await shell(inside, { timeoutMs }), "", `odd and ${copy} differ`);
    };
    await shell(`cd ${home} && rsync -aHAXS --checksum odd/ synced/`, { timeoutMs });
    await same("synced");
    const all = "--acls --xattrs --xattrs-include='*' --sparse";
    await shell(`cd ${home} && mkdir untarred && tar c ${all} -C odd . | tar xp ${all} -C untarred`, { timeoutMs });
    await same("untarred");
    await shell(`cd ${home} && cp -a odd copied`);
    await same("copied");
  });

  await context.test("dbench", { skip: missing("dbench") }, async () => {
    await run("dbench", ["-D", directory("dbench"), "-t", full ? "60" : "2", "4"]);
  });

  await context.test("fio --verify", { skip: missing("fio") }, async () => {
    const checked = [
      "--verify=crc32c",
      "--verify_fatal=1",
      "--verify_backlog=300",
      "--do_verify=1",
      "--verify_state_save=0",
    ];
    const jobs = [
      ["--name=mixed", "--rw=randrw", "--bsrange=512-64k", "--ioengine=psync"],
      ["--name=direct", "--rw=randwrite", "--bs=4k", "--direct=1", "--ioengine=libaio", "--iodepth=8"],
      ["--name=mapped", "--rw=randwrite", "--bs=4k", "--ioengine=mmap"],
      ["--name=appended", "--rw=write", "--bs=70k", "--ioengine=psync", "--fsync=20"],
    ];
    const size = `--size=${full ? "512m" : "8m"}`;
    await run("fio", [`--directory=${directory("fio")}`, size, ...checked, ...jobs.flat()]);
  });

  for (const engine of ["libaio", "io_uring"]) {
    await context.test(`fio --ioengine=${engine}, and the other mount`, { skip: noEngine(engine) }, async () => {
      const home = `fio-${engine}`;
      directory(home);
      for (const [direct, pattern] of [0, 1].flatMap((one) => [
        [one, "randwrite"] as const,
        [one, "randrw"] as const,
      ])) {
        const job = (point: string, ...more: string[]) => [
          `--directory=${join(point, home)}`,
          `--name=${pattern}-${direct}`,
          `--filename=${pattern}-${direct}`,
          `--rw=${pattern}`,
          `--ioengine=${engine}`,
          `--direct=${direct}`,
          "--iodepth=16",
          "--bsrange=4k-64k",
          `--size=${full ? "512m" : "8m"}`,
          "--verify=crc32c",
          "--verify_fatal=1",
          "--verify_state_save=0",
          ...more,
        ];
        await run("fio", job(point, "--do_verify=1"));
        const [here, there] = [point, other.point].map((one) => join(one, home, `${pattern}-${direct}`));
        await shell(`cmp ${here} ${there}`, { timeoutMs });
        // What was written is known by the seed, which is the same each time.
        await run("fio", job(other.point, "--verify_only"));
      }
    });
  }

  await context.test("Python's own tests", { skip: noPythonTests() }, async () => {
    const home = directory("python");
    const names = pythonTests.split(/\s+/).map((name) => `test_${name}`);
    await run("python3", ["-m", "test", "--tempdir", home, "--use", "largefile", ...names]);
  });

  await context.test("stress-ng", { skip: missing("stress-ng") }, (context) =>
    stress(context, directory("stress"), run),
  );
});

/** A few stressors at once; in the long form all that its class `filesystem` has, one after another. */
async function stress(
  context: TestContext,
  directory: string,
  run: (program: string, args: readonly string[]) => Promise<string>,
): Promise<void> {
  const common = ["--temp-path", directory, "--verify", "--timeout", full ? "10" : "1"];
  if (!full) {
    const names = "dentry rename link symlink xattr fallocate hdd iomix utime lockofd flock copy-file dir touch";
    await run("stress-ng", [...names.split(" ").flatMap((name) => [`--${name}`, "1"]), ...common]);
    return;
  }
  // They aren't about the directory that they are given: /dev, /proc, or file systems of the kernel's own.
  const elsewhere = new Set(["bind-mount", "binderfs", "eventfd", "procfs"]);
  const listed = (await run("stress-ng", ["--class", "filesystem?"])).replace(/.*:/, "");
  for (const name of listed
    .trim()
    .split(/\s+/)
    .filter((one) => !elsewhere.has(one) && (chosen?.includes(one) ?? true))) {
    await context.test(name, async () => {
      await run("stress-ng", [`--${name}`, "2", ...common]);
    });
  }
}
