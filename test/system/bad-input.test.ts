/** Wrong names, wrong addresses, wrong directories, rubbish on the wire, full disks: a clear message, and nothing breaks. */
import { strict as assert } from "node:assert";
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, freePorts, type Output, runBrine, scratch, shell, undo, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;

function assertRefused(output: Output, message: RegExp, code = 1): void {
  assert.equal(output.code, code, output.stderr);
  assert.match(output.stderr, message);
  assert.equal(output.stderr.trim().split("\n").length, 1, `one line: ${output.stderr}`);
}

test("wrong names and places are refused with a clear line", { skip }, async (context) => {
  const cluster = await Cluster.start(context, { servers: 1 });
  const address = cluster.addresses[0]!;
  const directory = join(cluster.directory, "point");
  mkdirSync(directory);
  const mount = (source: string, at = directory) =>
    runBrine(["mount", source, at, "--log", join(cluster.directory, "log")]);

  assertRefused(await mount(`${address}/nothing`), /no volume "nothing"/, 3);
  const [port] = [await freePorts(1)];
  assertRefused(await mount(`127.0.0.1:${port}/home`), new RegExp(`127.0.0.1:${port}`), 3);
  assertRefused(await mount("127.0.0.1"), /names no volume/, 2);
  assertRefused(await mount(`${address}/home`, join(cluster.directory, "missing")), /missing/, 3);
  assertRefused(await runBrine(["mount", `${address}/home`, directory, "-o", "sync2"]), /"sync2" is not known/, 2);
  assertRefused(await runBrine(["status", `127.0.0.1:${port}`]), new RegExp(`127.0.0.1:${port}`), 3);
  assertRefused(await runBrine(["status", "--data", directory]), /no brinefs is running/, 3);
  assertRefused(await runBrine(["unmount", directory]), /no brinefs mount/, 3);
  assertRefused(await runBrine(["volume", "create", "home", address, "--replicas", "1"]), /"home" already/);
  assertRefused(await runBrine(["volume", "create", "a b", address, "--replicas", "1"]), /name/, 2);
  assertRefused(await runBrine(["volume", "create", "more", address, "--replicas", "3"]), /1 .*store|store.* 1/, 2);
  assertRefused(await runBrine(["volume", "delete", "nothing", "--yes", address]), /nothing/, 3);
  assertRefused(await runBrine(["server", "--data", directory, "--listen", "0.0.0.0:7411"]), /--insecure/, 2);
  assertRefused(await runBrine(["server", "--data", "/proc/brine"]), /\/proc\/brine can't be made/, 2);
  assert.equal((await runBrine(["mount"])).code, 2);
  assert.equal((await runBrine(["nonsense"])).code, 2);

  const { point } = await cluster.mount("mnt");
  assertRefused(await mount(`${address}/home`, point), /mounted/);
  assertRefused(await runBrine(["volume", "delete", "home", "--yes", address]), /mounted/);
  const readOnly = await cluster.mount("ro", ["-o", "ro"]);
  assert.throws(() => writeFileSync(join(readOnly.point, "file"), ""), { code: "EROFS" });
  assert.throws(() => writeFileSync(join(point, "n".repeat(256)), ""), { code: "ENAMETOOLONG" });
  writeFileSync(join(point, "n".repeat(255)), "");
  assert.deepEqual(readdirSync(point), ["n".repeat(255)]);
  const nasty = join(point, "a\x1b[2J\nAll is well.");
  writeFileSync(nasty, "b", { flush: true });
  for (const command of ["why", "where"]) {
    const { code, stdout } = await runBrine([command, nasty]);
    assert.equal(code, 0);
    assert.match(stdout, /a\\u001b\[2J\\u000aAll is well\.: inode \d+/);
    assert.doesNotMatch(stdout, /\x1b|^All is well/m);
  }
});

test("data directories of another cluster, a newer version, or in use", { skip }, async (context) => {
  const directory = scratch(context);
  const one = await Cluster.start(context, { servers: 1, directory: join(scratch(context)) });
  const two = await Cluster.start(context, { servers: 2, directory: join(scratch(context)) });
  const port = await freePorts(1);
  const listen = ["--listen", `127.0.0.1:${port}`];

  await two.stopServer(1);
  assertRefused(
    await runBrine(["server", "--data", two.data(1), ...listen, "--join", one.addresses[0]!]),
    /belongs to cluster/,
  );
  assertRefused(await runBrine(["server", "--data", one.data(0), ...listen]), /in use by process \d+/);

  const format = join(two.data(1), "format.json");
  const before = readFileSync(format, "utf8");
  writeFileSync(format, before.replace('"format": 2', '"format": 99'));
  assertRefused(await runBrine(["server", "--data", two.data(1), ...listen]), /version 99.*up to \d+/);
  writeFileSync(format, "rubbish");
  assertRefused(await runBrine(["server", "--data", two.data(1), ...listen]), /not JSON/, 2);

  writeFileSync(join(directory, "letter.txt"), "");
  assertRefused(await runBrine(["server", "--data", directory, ...listen]), /not empty/, 2);
  assert.deepEqual(readdirSync(directory), ["letter.txt"]);
});

test("an address that another cluster has taken: nobody takes it for the mount's", { skip }, async (context) => {
  let data = join(scratch(context), "own");
  const cluster = await Cluster.start(context, { servers: 1, dataOf: () => data });
  const own = data;
  const { point } = await cluster.mount("mnt");
  writeFileSync(join(point, "file"), "own", { flush: true });
  await cluster.stopServer(0);
  data = join(scratch(context), "foreign");
  await cluster.startServer(0);
  for (const command of ["why", "where"]) {
    assertRefused(
      await runBrine([command, join(point, "file")]),
      /belongs to cluster \w+, but cluster \w+ was asked for/,
    );
  }
  await waitFor("status to say that somebody looks for another cluster", async () => {
    const { problems } = await cluster.status();
    return problems.some((problem: string) =>
      /^A mount \(.*mnt.*\) of another cluster, \w+, looks for its leader here/.test(problem),
    );
  });
  await cluster.stopServer(0);
  data = own;
  await cluster.startServer(0);
  assert.match((await runBrine(["why", join(point, "file")])).stdout, /file: inode \d+ of volume home/);
  assert.equal(readFileSync(join(point, "file"), "utf8"), "own");
});

test("rubbish on the wire is dropped with one log line, and nobody else notices", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const { point } = await cluster.mount("mnt");
  const [host, port] = cluster.addresses[0]!.split(":") as [string, string];
  const rubbish = [Buffer.from("GET / HTTP/1.1\r\n\r\n"), Buffer.alloc(100, 0xff), Buffer.alloc(4096, 0)];
  for (const [index, bytes] of rubbish.entries()) {
    const mark = cluster.servers[0]!.log().length;
    await new Promise<void>((done, fail) => {
      const socket = connect(Number(port), host, () => socket.write(bytes));
      socket.on("close", () => done());
      socket.on("error", () => {}); // a reset is as good as an end
      socket.setTimeout(15_000, () => fail(new Error(`rubbish ${index} was not dropped`)));
    });
    writeFileSync(join(point, `after-${index}`), "still works");
    const lines = cluster.servers[0]!.log()
      .slice(mark)
      .split("\n")
      .filter((line) => / (warn|error) /.test(line));
    assert.equal(lines.length, 1, lines.join("\n"));
  }
});

test("a full disk gives ENOSPC, loses nothing, and works again when space is freed", { skip }, async (context) => {
  const directory = scratch(context);
  const cluster = await Cluster.start(context, {
    directory,
    servers: 3,
    metadataAlone: true,
    dataOf: (index) => join(directory, `disk-${index}`),
    prepare: async (index, path) => {
      if (index === 0) return;
      await shell(
        `truncate -s 192M ${path}.img && mkfs.ext4 -q ${path}.img && mkdir ${path} && mount -o loop ${path}.img ${path}`,
      );
      undo(context, () => shell(`umount -l ${path}`));
    },
  });
  const { point } = await cluster.mount("mnt");
  const file = openSync(join(point, "big"), "w");
  const piece = Buffer.alloc(1 << 20, "0123456789abcde\n");
  let written = 0;
  assert.throws(
    () => {
      for (let count = 0; count < 400; count++) written += writeSync(file, piece);
    },
    { code: "ENOSPC" },
  );
  closeSync(file);
  assert.ok(written > 16 << 20, `${written} bytes fitted`);
  const content = readFileSync(join(point, "big"));
  assert.ok(content.length >= written);
  for (let at = 0; at < written; at += piece.length) {
    const length = Math.min(piece.length, written - at); // the last write may have been a short one
    assert.ok(content.subarray(at, at + length).equals(piece.subarray(0, length)), `at ${at}`);
  }
  assert.throws(() => writeFileSync(join(point, "another"), piece), { code: "ENOSPC" });

  unlinkSync(join(point, "big"));
  await waitFor(
    "space to come back",
    () => {
      try {
        writeFileSync(join(point, "small"), piece);
        return true;
      } catch (error) {
        assert.equal((error as NodeJS.ErrnoException).code, "ENOSPC");
        return false;
      }
    },
    60_000,
  );
  assert.equal(statSync(join(point, "small")).size, piece.length);
  const { servers } = await cluster.status();
  assert.ok(
    servers.every((one: { groupsBehind: number }) => one.groupsBehind === 0),
    "a full store is no failed store",
  );
});
