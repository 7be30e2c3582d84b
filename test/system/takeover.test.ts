/** The metadata server is killed and started again while two mounts work: a pause, no error, nothing forgotten. */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { test } from "node:test";
import { Agent } from "./agent.ts";
import { Cluster, full, shell, waitFor, whyNoMount } from "./cluster.ts";
import {
  judgeLog,
  judgeNames,
  judgePage,
  type Outcome,
  prepareFight,
  type Span,
  startFight,
  summary,
  waitedOutside,
} from "./contention.ts";

const skip = whyNoMount() ?? false;
const seed = Number(process.env.BRINE_TEST_SEED ?? Math.floor(Math.random() * 1e9));
const pause = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

/** When it began to, by its log. */
function servesSince(log: string): number {
  const line = log.split("\n").findLast((one) => / serving /.test(one))!;
  return Date.parse(line.slice(0, line.indexOf(" ")));
}

/**
 * Whoever waits gets what he waits for when the server is there, however often it is killed: beyond the time in which it was away, a
 * wait takes no longer than clients and stores need to find it again, and others to give leases back. That is four times as long as
 * they pause at most between two looks for the server; and twice the time of its own start, which says how slow the machine is.
 * Returns the longest such wait.
 */
function assertNobodyStarved(outcomes: readonly Outcome[], absences: readonly Span[], slowestStartMs: number): number {
  const boundMs = 1_000 + 2 * slowestStartMs;
  let longestMs = 0;
  for (const wait of outcomes.flatMap(({ longWaits }) => longWaits)) {
    const waitedMs = waitedOutside(wait, absences);
    const took = `${wait.what} took ${(wait.toMs - wait.fromMs).toFixed(0)} ms`;
    const over = `the server was there for ${waitedMs.toFixed(0)} ms of them, the bound is ${boundMs.toFixed(0)}`;
    assert.ok(waitedMs < boundMs, `${took}; ${over}`);
    longestMs = Math.max(longestMs, waitedMs);
  }
  return longestMs;
}

test("the metadata server is killed again and again while two mounts work", { skip }, async (context) => {
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  const mounts = [await cluster.mount("one"), await cluster.mount("two")];
  await prepareFight(join(mounts[0]!.point, "fight"));
  const directories = mounts.map(({ point }) => join(point, "fight"));
  const fights = (["names", "page", "log"] as const).map((mode) =>
    startFight(context, mode, directories, { seconds: full ? 600 : 60, seed }),
  );
  const absences: Span[] = [];
  let slowestStartMs = 0;
  for (let round = 0; round < (full ? 30 : 5); round++) {
    await pause(500 + Math.random() * 1_500);
    const fromMs = Date.now();
    await cluster.killServer(0);
    await pause(Math.random() * 500);
    const startMs = Date.now();
    await cluster.startServer(0);
    const toMs = servesSince(cluster.servers[0]!.log());
    absences.push({ fromMs, toMs });
    slowestStartMs = Math.max(slowestStartMs, toMs - startMs);
  }
  await pause(1_000);
  for (const one of fights) one.stop();
  const [names, page, log] = await Promise.all(fights.map((one) => one.outcomes));
  context.diagnostic(`seed ${seed}; names: ${summary(names!)}; page: ${summary(page!)}; log: ${summary(log!)}`);
  judgeNames(directories, names!);
  judgePage(directories, page!);
  judgeLog(directories, log!);
  const longestMs = assertNobodyStarved([...names!, ...page!, ...log!], absences, slowestStartMs);
  context.diagnostic(
    `starts took up to ${slowestStartMs.toFixed(0)} ms; with the server there nobody waited for more than ${longestMs.toFixed(0)} ms`,
  );
});

test("files that are open outlive their names on the other mount, and a restart", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const mounts = [await cluster.mount("one"), await cluster.mount("two")];
  const [one, two] = [new Agent(context, "one"), new Agent(context, "two")];
  const [here, there] = mounts.map(({ point }) => point) as [string, string];

  for (const name of ["unlinked", "replaced", "replacement", "local"]) {
    await one.do("writeFile", `${here}/${name}`, `I am ${name}`);
  }
  const unlinked = await two.do("open", `${there}/unlinked`);
  const replaced = await two.do("open", `${there}/replaced`);
  const local = await one.do("open", `${here}/local`);
  await one.do("unlink", `${here}/unlinked`);
  await one.do("rename", `${here}/replacement`, `${here}/replaced`);
  await one.do("unlink", `${here}/local`);

  const check = async (tag: string) => {
    assert.equal(await two.do("pread", unlinked, 100, 0), `I am unlinked${tag}`);
    assert.equal(await two.do("pread", replaced, 100, 0), `I am replaced${tag}`);
    assert.equal(await one.do("pread", local, 100, 0), `I am local${tag}`);
    assert.equal((await two.do("fstat", unlinked)).links, 0);
    assert.equal((await two.do("fstat", replaced)).links, 0);
    assert.equal((await one.do("fstat", local)).links, 0);
    assert.equal(await two.do("readFile", `${there}/replaced`), "I am replacement");
    assert.equal((await two.try("stat", `${there}/unlinked`)).error, "ENOENT");
  };
  await check("");
  await cluster.killServer(0);
  await cluster.startServer(0);
  await check("");
  await two.do("pwrite", unlinked, ", still", 13);
  await two.do("pwrite", replaced, ", still", 13);
  await one.do("pwrite", local, ", still", 10);
  await check(", still");
  await two.do("fsync", unlinked);
  for (const [agent, handle] of [
    [two, unlinked],
    [two, replaced],
    [one, local],
  ] as const)
    await agent.do("close", handle);
  await waitFor("what nobody has open to be removed", async () => {
    const { volumes } = await cluster.status();
    // The root and the file "replaced".
    return volumes[0].inodeCount <= 2;
  });
});

test("100,000 leases are reclaimed in about a second", {
  skip: skip || (full ? false : "only with npm run test:system"),
}, async (context) => {
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  const mounts = [await cluster.mount("one"), await cluster.mount("two")];
  const [one, two] = [new Agent(context, "one"), new Agent(context, "two")];
  const [here, there] = mounts.map(({ point }) => point) as [string, string];
  for (let part = 0; part < 10; part++) await one.do("touchMany", `${here}/many${part}`, 10_000);
  await one.do("syncDirectory", here);
  for (let part = 0; part < 10; part++) await two.do("statMany", `${there}/many${part}`, 10_000);
  await cluster.killServer(0);
  await cluster.startServer(0);
  const startedMs = performance.now();
  await two.do("create", `${there}/many0/0/after`);
  assert.equal(await one.do("exists", `${here}/many0/0/after`), true);
  const tookMs = performance.now() - startedMs;
  context.diagnostic(`${tookMs.toFixed(0)} ms after its start the metadata server had all leases again and served`);
  assert.ok(tookMs < 3_000, `${tookMs} ms`);
  assert.equal(Number(await shell(`find ${here} -type f | wc -l`, { timeoutMs: 120_000 })), 100_001);
});
