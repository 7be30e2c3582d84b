/** A writer on one mount, a reader on the other, taking turns: not one stale answer. */
import { test } from "node:test";
import { Cluster, full, whyNoMount } from "./cluster.ts";
import { CoherencyRun, type Kind, kinds } from "./coherency.ts";

const skip = whyNoMount() ?? false;
/** Another seed each time; BRINE_TEST_SEED repeats a run. */
const seed = Number(process.env.BRINE_TEST_SEED ?? Math.floor(Math.random() * 0x7fff_ffff));
const only = process.env.BRINE_TEST_KINDS?.split(",") as Kind[] | undefined;

test("not one stale answer", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  const run = await CoherencyRun.start(context, [one.point, two.point], { seed, kinds: only ?? kinds });
  const report = await run.run(full ? 10_000 : 400);
  context.diagnostic(`${JSON.stringify(report)}, seed ${seed}`);
});

test("not one stale answer with what Linux 6.1 offers", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const options = ["-o", "as-kernel=6.1"];
  const [one, two] = [await cluster.mount("one", options), await cluster.mount("two", options)];
  // Shared, writable mappings need a kernel of 6.6 (docs/promises.md).
  const run = await CoherencyRun.start(context, [one.point, two.point], {
    seed,
    kinds: (only ?? kinds).filter((kind) => kind !== "mapped"),
  });
  const report = await run.run(full ? 10_000 : 300);
  context.diagnostic(`${JSON.stringify(report)}, seed ${seed}`);
});
