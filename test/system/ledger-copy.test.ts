/** The metadata's server is lost: its ledger's second copy is promoted, and has everything. */
import { strict as assert } from "node:assert";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, type Context, freePorts, full, runBrine, runProgram, shell, waitFor, whyNoMount } from "./cluster.ts";
import { type Place, TestNetwork, whyNoNetwork } from "./test-network.ts";

const skip = whyNoMount() ?? false;
/** What takes longest, and is least likely to break by itself. */
const skipLong = full ? skip : "only with npm run test:system";
const withCopy = { servers: 3, secondOptions: ["--roles", "metadata,store"] };

async function waitInStep(cluster: Cluster, index: number): Promise<void> {
  await waitFor("the ledger's copy to be in step", async () => {
    const { metadata } = await cluster.status(index);
    return metadata.startsWith("two copies") && metadata.includes("witness 1");
  });
}

test("the server is killed and its directory deleted: the copy has it all", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context, withCopy);
  await waitInStep(cluster, 0);
  const { point } = await cluster.mount("one");
  await shell(`cp -r src/ledger src/metadata ${point} && sync ${point}`, { cwd: process.cwd() });
  // An application that goes on over it all: whatever it was told to be on disk is there afterwards.
  const writing = shell(
    `for n in $(seq 1 60); do echo "line $n" > ${point}/file-$n; sync ${point}/file-$n; sleep 0.1; done`,
    { timeoutMs: 60_000 },
  );
  await new Promise((done) => setTimeout(done, 1_000));
  await cluster.killServer(0);
  rmSync(cluster.data(0), { recursive: true, force: true });
  const promoted = await runBrine(["ledger", "promote", cluster.addresses[1]!]);
  assert.equal(promoted.code, 0, promoted.stderr);
  await writing;
  await shell(`diff -r src/ledger ${point}/ledger && diff -r src/metadata ${point}/metadata`, { cwd: process.cwd() });
  const after = await cluster.mount("two", [], { host: "", enter: [] }, cluster.addresses[1]);
  const lines = await shell(`cd ${after.point} && for n in $(seq 1 60); do cat file-$n; done`);
  assert.equal(lines, Array.from({ length: 60 }, (_, n) => `line ${n + 1}\n`).join(""));
  const status = await cluster.status(1);
  assert.match(status.metadata, /^ONE COPY, .*away/);
  // A store's server names the leader to commands, too.
  assert.equal((await cluster.status(2)).metadata, status.metadata);
  assert.ok(
    status.problems.some((problem: string) => /metadata runs on one copy/.test(problem)),
    status.problems,
  );
});

async function separate(context: Context): Promise<{ network: TestNetwork; places: Place[]; cluster: Cluster }> {
  const network = await TestNetwork.start(context);
  const places: Place[] = [];
  for (let count = 0; count < 3; count++) places.push(await network.place(context));
  const cluster = await Cluster.start(context, { ...withCopy, places });
  await waitInStep(cluster, 0);
  return { network, places, cluster };
}

test("a leader that is cut off answers nobody, and comes back as the copy", {
  skip: whyNoNetwork() ?? false,
}, async (context) => {
  const { network, places, cluster } = await separate(context);
  const early = await runBrine(["ledger", "promote", cluster.addresses[1]!]);
  assert.notEqual(early.code, 0, "a leader that serves is not replaced");
  assert.match(early.stderr, /still be serving/);
  assert.match(early.stdout, /waits until/);
  assert.equal((await runBrine(["volume", "create", "before", cluster.addresses[0]!])).code, 0);
  await network.cut(places[0]!);
  const promoted = await runBrine(["ledger", "promote", cluster.addresses[1]!]);
  assert.equal(promoted.code, 0, promoted.stderr);
  // From beside it, where it can be reached.
  const [enter, ...rest] = places[0]!.enter;
  const brine = join(process.cwd(), "bin/brine");
  const asked = await runProgram(enter!, [...rest, brine, "status", cluster.addresses[0]!]);
  assert.notEqual(asked.code, 0, asked.stdout);
  assert.match(asked.stderr, /neither the ledger's copy nor its witness answers/);
  await waitFor("the other stores to find the new leader", async () => {
    const { servers } = await cluster.status(1);
    return servers.filter(({ state }: { state: string }) => state === "online").length === 2;
  });
  assert.equal((await runBrine(["volume", "create", "after", cluster.addresses[1]!, "--replicas", "1"])).code, 0);
  await network.mend(places[0]!);
  // Its process goes on: with its store, and with the metadata as the copy.
  await waitInStep(cluster, 1);
  assert.equal(cluster.servers[0]!.running, true);
  const { volumes } = await cluster.status(1);
  assert.deepEqual(volumes.map(({ name }: { name: string }) => name).sort(), ["after", "before", "home"]);
});

test("required: changes wait while the copy is away; forgotten, a new server takes its place", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context, {
    servers: 4,
    secondOptions: ["--roles", "metadata,store", "--ledger-copies", "required"],
  });
  await waitInStep(cluster, 0);
  const { point } = await cluster.mount("one");
  await shell(`echo before > ${point}/file && sync ${point}/file`);
  await cluster.killServer(1);
  // Nothing is acknowledged that only one copy has.
  await assert.rejects(shell(`echo alone > ${point}/alone && timeout 4 sync ${point}/alone`, { timeoutMs: 20_000 }));
  const forgotten = await runBrine(["ledger", "forget", cluster.addresses[1]!, cluster.addresses[0]!]);
  assert.equal(forgotten.code, 0, forgotten.stderr);
  await shell(`sync ${point}/alone && cat ${point}/alone`);
  assert.equal((await cluster.status(0)).metadata, "one copy");
  // What had the copy is of no use any more, its store is.
  await cluster.startServer(1);
  const refused = await runBrine(["ledger", "promote", cluster.addresses[1]!, "--old-leader-is-off", "--accept-loss"]);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /forgotten/);
  // It names who leads to those who know nobody else.
  const second = await cluster.mount("two", [], undefined, cluster.addresses[1]!);
  await shell(`cat ${second.point}/file`);
  await waitFor("its store to be there again", async () => {
    const { servers } = await cluster.status(0);
    return servers.filter(({ state }: { state: string }) => state === "online").length === 4;
  });
});

test("another server becomes the witness; both die at once, and come back", {
  skip: skipLong,
}, async (context) => {
  const cluster = await Cluster.start(context, { ...withCopy, servers: 4 });
  await waitInStep(cluster, 0);
  const witness = /witness (\S+?);/.exec((await cluster.status(0)).metadata)![1]!;
  const other = cluster.addresses.slice(2).find((address) => address !== witness)!;
  const set = await runBrine(["ledger", "witness", other, cluster.addresses[0]!]);
  assert.equal(set.code, 0, set.stderr);
  assert.ok((await cluster.status(0)).metadata.includes(`witness ${other}`));
  // The former one is not needed.
  await cluster.killServer(cluster.addresses.indexOf(witness));
  await Promise.all([cluster.killServer(0), cluster.killServer(1)]);
  await cluster.startServer(1);
  await cluster.startServer(0);
  await waitFor("both copies to be in step", async () => (await cluster.status(0)).metadata.startsWith("two copies"));
  await cluster.killServer(0);
  const promoted = await runBrine(["ledger", "promote", cluster.addresses[1]!]);
  assert.equal(promoted.code, 0, promoted.stderr);
});

test("without a witness: a promotion needs a person's word", { skip: skipLong }, async (context) => {
  const cluster = await Cluster.start(context, { ...withCopy, servers: 2 });
  await waitFor("both copies to be in step", async () => (await cluster.status(0)).metadata.startsWith("two copies"));
  await cluster.killServer(0);
  const refused = await runBrine(["ledger", "promote", cluster.addresses[1]!]);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /--old-leader-is-off/);
  const promoted = await runBrine(["ledger", "promote", cluster.addresses[1]!, "--old-leader-is-off"]);
  assert.equal(promoted.code, 0, promoted.stderr);
});

test("preferred, without a witness: changes go on alone after a moment; the copy comes back by itself, and is promoted later", {
  skip: skipLong,
}, async (context) => {
  const cluster = await Cluster.start(context, {
    servers: 2,
    secondOptions: ["--roles", "metadata,store", "--ledger-copies", "preferred"],
  });
  const inStep = async (index: number) => (await cluster.status(index)).metadata.startsWith("two copies");
  await waitFor("both copies to be in step", () => inStep(0));
  const { point } = await cluster.mount("one");
  await shell(`echo before > ${point}/before && sync ${point}/before`);
  await cluster.killServer(1);
  // Its time-out (2 s) and a moment, and the time-out of its store.
  await shell(`echo alone > ${point}/alone && timeout 10 sync ${point}/alone`);
  const { metadata, problems } = await cluster.status(0);
  assert.match(metadata, /^ONE COPY, .*away/);
  assert.ok(
    problems.some((problem: string) => /metadata runs on one copy/.test(problem)),
    problems.join("\n"),
  );
  await cluster.startServer(1);
  await waitFor("the copy to be in step again", () => inStep(0));
  await cluster.waitInSync();
  await cluster.killServer(0);
  const promoted = await runBrine(["ledger", "promote", cluster.addresses[1]!, "--old-leader-is-off"]);
  assert.equal(promoted.code, 0, promoted.stderr);
  assert.equal(await shell(`cat ${point}/before ${point}/alone`), "before\nalone\n");
});

test("--accept-loss: a copy that is behind leads with what it has, if the leader that went on alone is lost for good", {
  skip: skipLong,
}, async (context) => {
  const cluster = await Cluster.start(context, withCopy);
  await waitInStep(cluster, 0);
  const { point } = await cluster.mount("one");
  await shell(`echo both > ${point}/both && sync ${point}/both`);
  await cluster.killServer(1);
  await shell(`echo alone > ${point}/alone && timeout 20 sync ${point}/alone`);
  await cluster.killServer(0);
  rmSync(cluster.data(0), { recursive: true, force: true });
  await cluster.startServer(1);
  const refused = await runBrine(["ledger", "promote", cluster.addresses[1]!]);
  assert.notEqual(refused.code, 0);
  assert.match(refused.stderr, /this copy of the ledger is behind: .* has gone on without it/);
  const accepted = await runBrine(["ledger", "promote", cluster.addresses[1]!, "--accept-loss"]);
  assert.equal(accepted.code, 0, accepted.stderr);
  const after = await cluster.mount("two", [], { host: "", enter: [] }, cluster.addresses[1]);
  assert.equal(await shell(`cat ${after.point}/both`), "both\n");
  await assert.rejects(shell(`cat ${after.point}/alone`), /No such file/, "what only the lost leader had");
  // Stores know later generations of some groups than this leader has; new files go to all of them.
  await shell(
    `for n in $(seq 40); do echo $n > ${after.point}/later-$n; done; timeout 20 sync ${after.point}/later-40`,
  );
  // The mount that has seen what is lost sees it no more.
  await waitFor("the first mount to go on with what there is", async () => {
    const seen = await runProgram("cat", [join(point, "later-40"), join(point, "alone")]);
    return seen.stdout === "40\n" && seen.stderr.includes("No such file");
  });
});

test("a copy whose machine was set back is not promoted: a store knows more; the leader comes back and goes on", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context, withCopy);
  await waitInStep(cluster, 0);
  const { point } = await cluster.mount("one");
  await shell(`echo early > ${point}/early && sync ${point}`);
  // Power fails, and there is a snapshot of that moment.
  await cluster.killServer(1);
  const snapshot = `${cluster.data(1)}.snapshot`;
  await shell(`cp -a ${cluster.data(1)} ${snapshot}`);
  await cluster.startServer(1);
  await waitInStep(cluster, 0);
  await shell(`for n in $(seq 20); do echo $n > ${point}/late-$n; sync ${point}/late-$n; done`);
  // Stores hear of it with the next heartbeat.
  await new Promise((done) => setTimeout(done, 1_500));
  await Promise.all([cluster.killServer(0), cluster.killServer(1)]);
  await shell(`rm -rf ${cluster.data(1)} && mv ${snapshot} ${cluster.data(1)}`);
  await cluster.startServer(1);
  const refused = await runBrine(["ledger", "promote", cluster.addresses[1]!, "--old-leader-is-off"]);
  assert.notEqual(refused.code, 0, refused.stdout);
  assert.match(refused.stderr, /this copy of the ledger is behind: store \d at \S+ knows entry \d+/);
  // The leader comes back after all: it goes on, and nothing is lost.
  await cluster.startServer(0);
  await waitInStep(cluster, 0);
  assert.equal(await shell(`cat ${point}/late-20`), "20\n");
});

test("commands, servers that join, and a mount that was away find the leader through any server that is left", {
  skip: skipLong,
}, async (context) => {
  const cluster = await Cluster.start(context, { ...withCopy, servers: 4, metadataAlone: true });
  await waitInStep(cluster, 0);
  const { addresses } = cluster;
  const { point, program } = await cluster.mount("one");
  await shell(`echo before > ${point}/file && sync ${point}/file`);
  const throughStore = ["--join", addresses[2]!, "--roles", "metadata"];

  // While the mount is away, both servers that it was told of are replaced.
  program.signal("SIGSTOP");
  await cluster.killServer(0);
  await promote(cluster, 1);
  assert.equal((await runBrine(["ledger", "forget", addresses[0]!, addresses[2]!])).code, 0);
  const next = await addServer(cluster, throughStore);
  await waitInStep(cluster, 2);
  await cluster.killServer(1);
  await promote(cluster, next);
  program.signal("SIGCONT");
  // Its session has ended meanwhile.
  await waitFor("the mount to find the new leader", async () => {
    return (await runProgram("cat", [join(point, "file")])).stdout === "before\n";
  });
  await shell(`echo after > ${point}/other && sync ${point}/other`);
});

async function promote(cluster: Cluster, index: number): Promise<void> {
  const promoted = await runBrine(["ledger", "promote", cluster.addresses[index]!]);
  assert.equal(promoted.code, 0, promoted.stderr);
}

async function addServer(cluster: Cluster, options: readonly string[]): Promise<number> {
  const index = cluster.addresses.push(`127.0.0.1:${await freePorts(1)}`) - 1;
  await cluster.startServer(index, options);
  return index;
}
