/** Two mounts fight for one directory, one page, one log: nobody waits for long, nothing is lost, both see the same. */
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, full, whyNoMount } from "./cluster.ts";
import { assertNoWaitOver, judgeLog, judgeNames, judgePage, prepareFight, startFight, summary } from "./contention.ts";

const skip = whyNoMount() ?? false;
const seed = Number(process.env.BRINE_TEST_SEED ?? Math.floor(Math.random() * 1e9));
const waitMsMax = 1_000;

test("names in one directory and bytes of one page are fought for", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const mounts = [await cluster.mount("one"), await cluster.mount("two")];
  await prepareFight(join(mounts[0]!.point, "fight"));
  const directories = mounts.map(({ point }) => join(point, "fight"));
  const seconds = full ? 600 : 6;
  const names = startFight(context, "names", directories, { seconds, seed });
  const page = startFight(context, "page", directories, { seconds, seed });
  const [nameOutcomes, pageOutcomes] = [await names.outcomes, await page.outcomes];
  context.diagnostic(`seed ${seed}; names: ${summary(nameOutcomes)}; page: ${summary(pageOutcomes)}`);
  judgeNames(directories, nameOutcomes);
  judgePage(directories, pageOutcomes);
  assertNoWaitOver(waitMsMax, [...nameOutcomes, ...pageOutcomes]);
});

test("a page is fought for by memory that is mapped on both mounts", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const mounts = [await cluster.mount("one"), await cluster.mount("two")];
  await prepareFight(join(mounts[0]!.point, "fight"));
  const directories = mounts.map(({ point }) => join(point, "fight"));
  const memory = startFight(context, "memory", directories, { seconds: full ? 120 : 3, seed });
  const outcomes = await memory.outcomes;
  context.diagnostic(`seed ${seed}; ${summary(outcomes)}`);
  judgePage(directories, outcomes, "memory");
  assertNoWaitOver(waitMsMax, outcomes);
});

test("a log that both mounts append to has every line once, in order, whole", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const mounts = [await cluster.mount("one"), await cluster.mount("two")];
  await prepareFight(join(mounts[0]!.point, "fight"));
  const points = mounts.map(({ point }) => join(point, "fight"));
  const directories = [...points, ...points];
  const log = startFight(context, "log", directories, { seconds: full ? 120 : 3, seed });
  const outcomes = await log.outcomes;
  context.diagnostic(`seed ${seed}; ${summary(outcomes)}`);
  judgeLog(directories, outcomes);
  assertNoWaitOver(waitMsMax, outcomes);
});
