/** No wait without a name: while something hangs, `brine waits` and `brine why` say who waits for whom; `brine top` says what is slow. */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { test } from "node:test";
import { Agent } from "./agent.ts";
import { Cluster, freePorts, Program, runBrine, shell, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;

// biome-ignore lint/suspicious/noExplicitAny: what the program printed is checked by the test that asks
async function ask(...args: string[]): Promise<any> {
  const output = await runBrine([...args, "--json"], 20_000);
  assert.equal(output.code, 0, output.stderr);
  return JSON.parse(output.stdout);
}

test("a paused client that others wait for is named, and what it holds", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const holder = await cluster.mount("holder");
  const reader = await cluster.mount("reader");
  await shell(`mkdir ${join(holder.point, "dir")} && echo hello > ${join(holder.point, "dir", "file")}`);
  const path = join(reader.point, "dir", "file");
  // The directory is known there: so it is the name itself that cat and stat both wait for, and not even SIGKILL ends the stat.
  assert.equal(await shell(`ls ${join(reader.point, "dir")}`), "file\n");

  assert.deepEqual((await ask("waits", cluster.addresses[0]!)).silent, []);
  holder.program.signal("SIGSTOP");
  context.after(() => holder.program.signal("SIGCONT"));
  const cat = new Program(context, "/bin/cat", [path], join(cluster.directory, "cat.log"));

  let found: { waits: { who: string; operation: string; path: string; waitsFor: string }[]; silent: string[] };
  await waitFor("the wait to be told", async () => {
    found = await ask("waits", cluster.addresses[0]!);
    return found.waits.some(({ waitsFor }) => waitsFor.includes("held by"));
  });
  const wait = found!.waits.find(({ waitsFor }) => waitsFor.includes("held by"))!;
  assert.ok(wait.who.includes(reader.point), wait.who);
  assert.match(wait.waitsFor, /^lease \(\w+\) on inode \d+, held by .*exclusive for [\d.]+ s, asked/);
  assert.ok(wait.waitsFor.includes(holder.point), wait.waitsFor);
  assert.ok(
    found!.silent.some((line) => line.includes(holder.point)),
    `who does not answer is named: ${found!.silent}`,
  );

  // The kernel waits for the same, so that stat(2) of the path hangs.
  const why = await ask("why", path);
  assert.equal(why.hangs, true);
  assert.equal(why.mount, reader.point);
  assert.ok(why.waits.some(({ who }: { who: string }) => who.includes(reader.point)));

  holder.program.signal("SIGCONT");
  assert.equal(await cat.ended, 0, cat.log());
  assert.equal(cat.log(), "hello\n");
  await waitFor("nothing to wait", async () => (await ask("waits", cluster.addresses[0]!)).waits.length === 0);
  const after = await ask("why", path);
  assert.equal(after.hangs, false);
  assert.equal(after.path, "/dir/file");
  assert.equal(after.size, 6);
  assert.ok(after.leases.some(({ who }: { who: string }) => who.includes(reader.point)));
  assert.equal(after.groups.length, 1);
  assert.deepEqual(
    after.groups[0].members.map(({ state, condition }: { state: string; condition: string }) => [state, condition]),
    [
      ["inSync", "online"],
      ["inSync", "online"],
    ],
  );
  assert.ok(after.operations.some(({ operation }: { operation: string }) => operation === "read"));
  assert.equal((await runBrine(["why", "/tmp"])).code, 3, "not on a mount");
  assert.equal((await runBrine(["why", join(reader.point, "missing")])).code, 3);
});

test("who waits for an advisory lock is told, and holds up nobody", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const lockers = [];
  for (const name of ["one", "two"]) {
    const path = join((await cluster.mount(name)).point, "file");
    const agent = new Agent(context, name);
    lockers.push({ path, agent, descriptor: await agent.do("open", path) });
  }
  const [holder, waiter] = lockers as [(typeof lockers)[0], (typeof lockers)[0]];
  await holder.agent.do("lock", holder.descriptor, "posix", "exclusive", 0, 0);
  const locked = waiter.agent.do("lockWait", waiter.descriptor, "posix", "exclusive", 0, 0);
  type Waits = { waits: { operation: string; forMs: number; waitsFor: string }[] };
  const ofLock = ({ waits }: Waits) => waits.find(({ operation }) => operation === "setLock");
  await waitFor("a long wait for the lock to be told", async () => {
    return (ofLock(await ask("waits", cluster.addresses[0]!))?.forMs ?? 0) > 1_200;
  });
  const why = await ask("why", waiter.path);
  assert.match(ofLock(why)!.waitsFor, /^advisory lock, held by .*one/);
  assert.equal(why.hangs, false);
  await holder.agent.do("lock", holder.descriptor, "posix", "none", 0, 0);
  await locked;
});

test("a paused store is named by the writes that wait for it", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const { point } = await cluster.mount("mount");
  await cluster.waitInSync();
  cluster.servers[1]!.signal("SIGSTOP");
  context.after(() => cluster.servers[1]!.signal("SIGCONT"));
  const file = join(point, "file");
  const script = "import os,sys; f=os.open(sys.argv[1],os.O_CREAT|os.O_WRONLY); os.write(f,b'x'*4096); os.fsync(f)";
  const writer = new Program(context, "python3", ["-c", script, file], join(cluster.directory, "python.log"));
  await waitFor("the store to be named", async () => {
    const { waits, silent } = await ask("waits", cluster.addresses[0]!);
    const isNamed = silent.some((line: string) => line.includes(cluster.addresses[1]!));
    const sync = waits.find(({ operation }: { operation: string }) => operation === "sync");
    return isNamed && sync?.path === "/file";
  });
  assert.equal(await writer.ended, 0, writer.log());
});

test("a paused leader is named by the operations that wait for it", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const holder = await cluster.mount("holder");
  const reader = await cluster.mount("reader", ["-o", "soft=7s"]);
  await shell(`echo hello > ${join(holder.point, "file")} && ls ${reader.point}`);
  cluster.servers[0]!.signal("SIGSTOP");
  context.after(() => cluster.servers[0]!.signal("SIGCONT"));
  const cat = new Program(context, "/bin/cat", [join(reader.point, "file")], join(cluster.directory, "cat.log"));
  assert.equal(await cat.ended, 1, cat.log());
  assert.match(
    reader.program.log(),
    new RegExp(`the leader at ${cluster.addresses[0]} has not answered for [\\d.]+ s`),
  );
});

test("to ask why takes nothing from those who are asked about", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const points = [(await cluster.mount("left")).point, (await cluster.mount("right")).point];
  const path = join(points[0]!, "file");
  await shell(`truncate -s 16M ${path} && sync ${path}`);
  // Each in a chunk of its own, by turns, until both have their own leases.
  const script = `import os,sys
files=[os.open(point+"/file",os.O_WRONLY) for point in sys.argv[1:]]
for i in range(200):
    for part, file in enumerate(files): os.pwrite(file,b"x"*4096,part*8*2**20+i*4096)`;
  await shell(`python3 -c '${script}' ${points.join(" ")}`);
  const chunkHolders = async () => {
    const { chunks } = await ask("why", path);
    return chunks.map(({ index, who }: { index: number; who: string }) => `${index} ${who}`).sort();
  };
  const before = await chunkHolders();
  assert.ok(before.length >= 2, `the file is split: ${before}`);
  assert.deepEqual(await chunkHolders(), before);
});

test("brine top and the metrics endpoint: rates, percentiles, whose time it was", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const port = await freePorts(1);
  const { point } = await cluster.mount("mount", ["--metrics", String(port)]);
  const loop = `import os,sys
for i in range(100000):
    f=os.open(sys.argv[1]+str(i % 50),os.O_CREAT|os.O_WRONLY)
    os.write(f,b'x'*4096); os.fsync(f); os.close(f)`;
  new Program(context, "python3", ["-c", loop, join(point, "f")], join(cluster.directory, "python.log"));
  await waitFor("some work", async () => Number((await shell(`ls ${point} | wc -l`)).trim()) >= 50);

  const { operations, parts, requests, processes } = await ask("top", cluster.addresses[0]!);
  const sync = operations.find(({ operation }: { operation: string }) => operation === "sync");
  assert.ok(sync.perSecond > 1 && sync.p50Ms > 0 && sync.p99Ms >= sync.p50Ms, JSON.stringify(sync));
  const shares = Object.values(sync.shares) as number[];
  assert.ok(Math.abs(shares.reduce((sum, share) => sum + share, 0) - 1) < 0.01, JSON.stringify(sync.shares));
  assert.ok(sync.shares.ledger > 0 && sync.shares.store > 0, JSON.stringify(sync.shares));
  assert.equal(parts.length, 6);
  for (const method of ["leader.transact", "store.write"]) {
    const row = requests.find((one: { method: string }) => one.method === method);
    assert.ok(row.perSecond > 1 && row.servedP50Ms > 0, JSON.stringify(row));
  }
  assert.deepEqual(
    processes.map(({ role }: { role: string }) => role),
    ["leader", "store", "client"],
  );
  const text = await runBrine(["top", cluster.addresses[0]!, "--once"]);
  assert.match(text.stdout, /OPERATION +RATE +P50 +P99 +CLIENT +LEASE +NETWORK +LEADER +LEDGER +STORE/);

  const metrics = await shell(`curl -sf http://127.0.0.1:${port}/metrics`);
  checkExposition(metrics);
  assert.match(metrics, /^brine_operation_seconds_count\{operation="sync"\} [1-9]\d*$/m);
  assert.match(metrics, /^brine_operation_part_seconds_bucket\{operation="sync",part="ledger",le="\+Inf"\} [1-9]\d*$/m);
  assert.match(metrics, /^brine_request_seconds_sum\{method="store.write",peer="[\d.:]+"\} /m);
  const refused = await runBrine(["mount", cluster.source, point, "--metrics", "0.0.0.0:9999"]);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /can be reached by other machines/);
});

/** Every line is a comment or a sample, and buckets never fall. */
function checkExposition(text: string): void {
  let before = { series: "", value: 0 };
  for (const line of text.trimEnd().split("\n")) {
    if (line.startsWith("# ")) continue;
    const sample = /^([a-z_]+)(\{.*\})? (-?[\d.e+-]+)$/.exec(line);
    assert.ok(sample !== null, line);
    const bucket = /^\{(.*),?le="/.exec(sample[2] ?? "");
    if (bucket === null) continue;
    const series = `${sample[1]} ${bucket[1]}`;
    const value = Number(sample[3]);
    if (series === before.series) assert.ok(value >= before.value, line);
    before = { series, value };
  }
}
