/** Quotas with real programs: df, du, dd, cp, rm and mv on two mounts, and over a restart of the leader. */
import { strict as assert } from "node:assert";
import { mkdirSync, readdirSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Agent } from "./agent.ts";
import { Cluster, full, type Mount, runBrine, runProgram, shell, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const mib = 1024 * 1024;
/** Node has no name for it. */
const EDQUOT = 122;
/** Of what a limit allows, in MiB. */
const limitMib = full ? 400 : 60;

const chunkBytes = 4 * mib;

interface Listed {
  readonly path: string;
  readonly counting: boolean;
  readonly quota: { readonly subject: { kind: string; id: number }; readonly bytes: number; readonly inodes: number };
}

async function start(context: TestContext): Promise<{ cluster: Cluster; one: Mount; two: Mount }> {
  const cluster = await Cluster.start(context);
  return { cluster, one: await cluster.mount("one"), two: await cluster.mount("two") };
}

async function quota(cluster: Cluster, ...args: readonly string[]): Promise<string> {
  const [command, ...rest] = args;
  const what = command === "list" ? [] : rest.splice(0, 1);
  const output = await runBrine(["quota", command!, ...what, cluster.addresses[0]!, ...rest]);
  assert.equal(output.code, 0, output.stderr);
  return output.stdout;
}

async function usage(cluster: Cluster, kind: string, of: string | number): Promise<{ bytes: number; inodes: number }> {
  const listed = JSON.parse(await quota(cluster, "list", "--all", "--json")) as Listed[];
  const { bytes, inodes } = listed.find(
    (one) => one.quota.subject.kind === kind && (one.path === of || one.quota.subject.id === of),
  )!.quota;
  return { bytes, inodes };
}

/** Writes files with dd until one fails, which must be for the quota; returns what df says is free then. */
async function fill(directory: string, name: string): Promise<number> {
  for (let number = 0; ; number++) {
    const args = ["if=/dev/zero", `of=${join(directory, name + number)}`, "bs=64K", "count=100"];
    const output = await runProgram("dd", args);
    if (output.code === 0) continue;
    assert.match(output.stderr, /quota exceeded/i);
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize;
  }
}

test("two mounts fill a directory to its limit; df shows it; rm works, and gives room at once", {
  skip,
}, async (context) => {
  const { cluster, one, two } = await start(context);
  const [here, there] = [join(one.point, "d"), join(two.point, "d")];
  mkdirSync(here);
  await quota(cluster, "set", "home:/d", "--bytes", `${limitMib}M`, "--inodes", "1K");
  const space = statfsSync(there);
  assert.deepEqual([space.blocks * space.bsize, space.files], [limitMib * mib, 1000]);
  assert.ok(statfsSync(one.point).blocks * space.bsize > limitMib * mib);
  await Promise.all([fill(here, "a"), fill(there, "b")]);
  // Whoever came last found less than a call's bytes.
  assert.ok((await fill(here, "last")) < 64 * 1024);
  assert.ok((await usage(cluster, "tree", "/d")).bytes <= limitMib * mib);
  await shell(`rm ${here}/a*`);
  await shell(`dd if=/dev/zero of=${there}/again bs=1M count=${limitMib / 10} conv=fsync`);
  await shell(`rm -rf ${here}/*`);
  await waitFor("all to be freed", async () => (await usage(cluster, "tree", "/d")).bytes === 0);
  assert.deepEqual(readdirSync(there), []);
  // mv over the border copies what can't be moved.
  await shell(`mkdir -p tree/sub && echo one > tree/sub/file && mv tree d/ && mv d/tree/sub/file . && sync .`, {
    cwd: one.point,
  });
  assert.deepEqual(await usage(cluster, "tree", "/d"), { bytes: 0, inodes: 3 });
});

test("an existing tree is counted as du counts it; a restart of the leader loses nothing", {
  skip,
}, async (context) => {
  const { cluster, one, two } = await start(context);
  await shell(
    "for d in 1 2 3 4 5; do mkdir -p t/$d/x; for f in $(seq 60); do head -c $((f*100)) /dev/zero > t/$d/x/$f; done; done",
    {
      cwd: one.point,
    },
  );
  const counted = Number((await shell(`du -s --block-size=1 ${join(two.point, "t")}`)).split("\t")[0]);
  await quota(cluster, "set", "home:/t", "--bytes", "40M");
  assert.deepEqual(await usage(cluster, "tree", "/t"), { bytes: counted, inodes: 5 * 62 + 1 });
  await quota(cluster, "set", "home", "--user", "0", "--inodes", "400");
  const filling = fill(join(one.point, "t"), "a");
  await cluster.killServer(0);
  await cluster.startServer(0);
  await filling;
  const { bytes } = await usage(cluster, "tree", "/t");
  assert.ok(bytes <= 40 * mib && bytes > 39 * mib, `${bytes} bytes are used`);
  const names = Array.from({ length: 200 }, (_, number) => join(two.point, `n${number}`));
  const make = (): void => {
    for (const name of names) writeFileSync(name, "");
  };
  assert.throws(make, { errno: -EDQUOT });
  assert.equal((await usage(cluster, "user", 0)).inodes, 400);
  await shell(`rm ${two.point}/n*`);
  await quota(cluster, "remove", "home", "--user", "0");
  await quota(cluster, "remove", "home:/t");
  await shell(`dd if=/dev/zero of=${join(two.point, "t", "more")} bs=1M count=20`);
  assert.equal((await quota(cluster, "list")).trim(), "No quotas are set.");
});

test("what a quota forbids to write back goes from mapped memory", { skip }, async (context) => {
  const { cluster, one } = await start(context);
  const agent = new Agent(context, "agent");
  const path = join(one.point, "file");
  const file = await agent.do("open", path);
  await agent.do("ftruncate", file, 4 * chunkBytes);
  await agent.do("fsync", file);
  await quota(cluster, "set", "home", "--bytes", "2M");
  const map = await agent.do("map", file, 4 * chunkBytes);
  assert.equal((await agent.try("mapWrite", map, chunkBytes + 4096, "stored")).error, "EDQUOT");
  await waitFor("memory to show the file", async () => {
    return (await agent.do("mapRead", map, chunkBytes + 4096, 6)) === "\0".repeat(6);
  });
});
