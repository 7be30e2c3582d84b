/**
 * Stores with labels, rules by path, and files that are moved to where the rules say while two mounts write and read them; the
 * metadata server and the command that moves them are killed meanwhile.
 */
import { strict as assert } from "node:assert";
import { createHash } from "node:crypto";
import { mkdir, open, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { brine, Cluster, full, Program, runBrine, shell, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const bigBytes = full ? 1 << 30 : 96 << 20;
const smallFiles = full ? 2_000 : 100;

interface Location {
  readonly isInPlace: boolean;
  readonly replicas: number;
  readonly rule?: { readonly position: number };
  readonly groups: { readonly members: { readonly labels: { key: string; value: string }[] }[] }[];
  readonly ranges: { readonly first: number; readonly last: number }[];
}

async function does(...args: readonly string[]): Promise<string> {
  const output = await runBrine(args, 120_000);
  assert.equal(output.code, 0, `brine ${args.join(" ")}\n${output.stdout}${output.stderr}`);
  return output.stdout;
}

async function refuses(reason: RegExp, ...args: readonly string[]): Promise<void> {
  const output = await runBrine(args);
  assert.notEqual(output.code, 0, output.stdout);
  assert.match(output.stderr, reason);
}

async function where(path: string): Promise<Location> {
  return JSON.parse(await does("where", path, "--json"));
}

/** The values that the label has on the stores of a file. */
function valuesOf({ groups }: Location, key: string): string[] {
  const labels = groups.flatMap(({ members }) => members.flatMap((member) => member.labels));
  return [...new Set(labels.filter((label) => label.key === key).map(({ value }) => value))].sort();
}

async function digestOf(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(path))
    .digest("hex");
}

/** Two stores with disk=ssd and two with disk=hdd, one of each in a rack. */
async function labelledCluster(context: TestContext): Promise<Cluster> {
  const cluster = await Cluster.start(context, { servers: 5, metadataAlone: true });
  for (const [at, address] of cluster.addresses.slice(1).entries()) {
    const labels = [`disk=${at < 2 ? "ssd" : "hdd"}`, `rack=r${(at % 2) + 1}`];
    await does("store", "label", address, ...labels, cluster.addresses[0]!);
  }
  return cluster;
}

test("files go where the rules say when they are made; what can't be met is said; racks keep copies apart", {
  skip,
}, async (context) => {
  const cluster = await labelledCluster(context);
  const leader = cluster.addresses[0]!;
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  await refuses(
    /3 replicas need .*disk=ssd/,
    ..."volume rules add home *.jpg --replicas 3 --on disk=ssd".split(" "),
    leader,
  );
  await refuses(
    /can't be used as a pattern/,
    "volume",
    "rules",
    "add",
    "home",
    "(?=x)",
    leader,
    "--regex",
    "--replicas",
    "2",
  );
  await does("volume", "rules", "add", "home", "*.jpg", leader, "--replicas", "2", "--on", "disk=hdd");
  await does(
    "volume",
    "rules",
    "add",
    "home",
    "^/db/",
    leader,
    "--regex",
    "--replicas",
    "2",
    "--on",
    "disk=ssd",
    "--at",
    "1",
  );
  await does("volume", "rules", "add", "home", "/single/**", leader, "--replicas", "1");

  // The mounts knew the rules when the commands ended.
  await mkdir(join(one.point, "db"));
  await mkdir(join(one.point, "single"));
  await writeFile(join(two.point, "db/cat.jpg"), "the first rule counts");
  await writeFile(join(one.point, "cat.jpg"), "hdd");
  await writeFile(join(two.point, "single/one"), "alone");
  await writeFile(join(one.point, "plain"), "anywhere");
  await does("sync", one.point);
  await does("sync", two.point);
  const places = await Promise.all(["db/cat.jpg", "cat.jpg", "single/one"].map((path) => where(join(one.point, path))));
  assert.deepEqual(
    places.map(({ rule }) => rule?.position),
    [1, 2, 3],
  );
  assert.deepEqual(
    places.map(({ replicas }) => replicas),
    [2, 2, 1],
  );
  assert.ok(places.every(({ isInPlace }) => isInPlace));
  assert.deepEqual([valuesOf(places[0]!, "disk"), valuesOf(places[1]!, "disk")], [["ssd"], ["hdd"]]);
  assert.equal((await where(`${cluster.source}/plain`)).rule, undefined);

  // A directory that got another name, and files in it.
  await rename(join(one.point, "db"), join(one.point, "old"));
  await writeFile(join(one.point, "old/new"), "no rule for it");
  await rename(join(one.point, "cat.jpg"), join(one.point, "cat.txt"));
  await does("sync", one.point);
  const [made, kept] = [await where(join(one.point, "old/new")), await where(join(one.point, "cat.txt"))];
  assert.deepEqual([made.rule, made.isInPlace], [undefined, true]);
  assert.deepEqual([valuesOf(kept, "disk"), kept.isInPlace], [["hdd"], false], "a rename changes nothing");

  await does("volume", "set", "home", leader, "--failure-domain", "rack");
  await waitFor("copies in different racks", async () => {
    const { healing, problems } = await cluster.status();
    return healing === undefined && problems.length === 0;
  });
  assert.deepEqual(valuesOf(await where(join(one.point, "plain")), "rack"), ["r1", "r2"]);

  await does("store", "label", cluster.addresses[1]!, "disk=hdd", leader);
  assert.match((await cluster.status()).problems.join(), /2 copies on disk=ssd need as many stores, there is 1/);
  assert.match(await does("volume", "rules", "home", leader), /! Rule 1: 2 copies on disk=ssd/);
  await refuses(/with disk=ssd/, "store", "drain", cluster.addresses[2]!, leader);
  // Nothing hangs: what is there stays, and is written on.
  await mkdir(join(two.point, "db"));
  await shell(`timeout 10 sh -c 'echo more > ${two.point}/db/y && sync ${two.point}/db/y'`);
  await does("store", "label", cluster.addresses[1]!, "disk=ssd", leader);
  await waitFor("all to be well", async () => {
    const { healing, problems } = await cluster.status();
    return healing === undefined && problems.length === 0;
  });

  // Labels that were set stay over a restart; those that its server names otherwise than before count.
  await cluster.stopServer(4);
  await cluster.startServer(4, ["--label", "rack=r9"]);
  await waitFor("the store to be back", async () => {
    const store = (await cluster.status()).servers.find(
      (one: { address: string }) => one.address === cluster.addresses[4],
    );
    return (
      store.labels.map(({ key, value }: { key: string; value: string }) => `${key}=${value}`).join() ===
      "disk=hdd,rack=r9"
    );
  });
  await one.unmount();
  await two.unmount();
});

test("rules are applied to files in use: no error, nothing stale, also if leader and command are killed", {
  skip,
}, async (context) => {
  const cluster = await labelledCluster(context);
  const leader = cluster.addresses[0]!;
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  const big = join(one.point, "big");
  await shell(`head -c ${bigBytes} /dev/urandom > ${big}; mkdir ${one.point}/small`);
  await shell(`for i in $(seq ${smallFiles}); do echo $i > ${one.point}/small/$i; done; sync ${one.point}`);
  const [digest, times] = [await digestOf(big), await shell(`stat -c '%y %z %s' ${big} ${one.point}/small/*`)];
  await does("volume", "rules", "add", "home", "/**", leader, "--replicas", "2", "--on", "disk=ssd");

  const contest = new Contest(one.point, two.point);
  await contest.begin();
  const applying = () =>
    new Program(context, brine, ["volume", "apply-rules", "home", leader], join(cluster.directory, "apply.log"));
  const first = applying();
  await waitFor("chunks to move", async () => valuesOf(await where(big), "disk").includes("ssd"));
  await first.stop("SIGKILL");
  const left = await where(big);
  assert.equal(left.isInPlace, false, "it was killed on the way");
  const second = applying();
  await new Promise((done) => setTimeout(done, 300));
  await cluster.killServer(0);
  await cluster.startServer(0);
  assert.equal(await second.ended, 0, second.log());
  const rounds = await contest.end();

  // Files that were made meanwhile, and what the writer's own transactions still had to say.
  assert.match(await does("volume", "apply-rules", "home", leader), /all \d+ files are where the rules say/);
  const now = await where(big);
  assert.deepEqual([now.isInPlace, valuesOf(now, "disk")], [true, ["ssd"]]);
  assert.equal(
    now.ranges.reduce((sum, { first: from, last }) => sum + last - from + 1, 0),
    Math.ceil(bigBytes / (4 << 20)),
  );
  assert.equal(await digestOf(big), digest);
  assert.equal(await digestOf(join(two.point, "big")), digest);
  assert.equal(await shell(`stat -c '%y %z %s' ${big} ${one.point}/small/*`), times, "no time has changed");
  assert.ok(rounds > 20, `${rounds}`);
  context.diagnostic(
    `${rounds} writes were read on the other mount meanwhile, the slowest took ${contest.slowestMs} ms`,
  );
  await one.unmount();
  await two.unmount();
});

/** What one mount has written, the other reads; each time at other places of a file of many chunks. */
class Contest {
  readonly #paths: readonly [string, string];
  slowestMs = 0;
  #isOver = false;
  #running: Promise<number> | undefined;

  constructor(one: string, two: string) {
    this.#paths = [join(one, "contest"), join(two, "contest")];
  }

  async begin(): Promise<void> {
    await writeFile(this.#paths[0], Buffer.alloc(40 << 20));
    this.#running = this.#run();
    this.#running.catch(() => {});
  }

  /** Returns the rounds. */
  end(): Promise<number> {
    this.#isOver = true;
    return this.#running!;
  }

  async #run(): Promise<number> {
    const files = [await open(this.#paths[0], "r+"), await open(this.#paths[1], "r+")];
    let round = 0;
    for (; !this.#isOver; round++) {
      const startedMs = performance.now();
      const place = (round * 7_340_033) % (39 << 20);
      const text = `round ${round} `.padEnd(5_000, "x");
      await files[round % 2]!.write(text, place);
      const { buffer } = await files[(round + 1) % 2]!.read(Buffer.alloc(5_000), 0, 5_000, place);
      assert.equal(buffer.toString(), text);
      this.slowestMs = Math.max(this.slowestMs, Math.round(performance.now() - startedMs));
      await new Promise((done) => setTimeout(done, 5));
    }
    for (const file of files) await file.close();
    return round;
  }
}
