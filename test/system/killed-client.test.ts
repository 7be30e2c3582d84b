/** A client is killed in the middle of an untar. What the other mount then finds is a prefix of what tar did. */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { test } from "node:test";
import { Agent } from "./agent.ts";
import { Cluster, full, Program, runProgram, whyNoMount } from "./cluster.ts";
import { sourceArchive } from "./source-tree.ts";

test("a client killed during an untar leaves a prefix of it", { skip: whyNoMount() ?? false }, async (context) => {
  const archive = await sourceArchive(context);
  const cluster = await Cluster.start(context);
  const other = await cluster.mount("other");
  const agent = new Agent(context, "other");
  const rounds = full ? 20 : 2;
  for (let round = 0; round < rounds; round++) {
    const victim = await cluster.mount(`victim${round}`);
    const tree = join(victim.point, `tree${round}`);
    await runProgram("mkdir", [tree]);
    // -P: a link that leads upwards is made when its turn comes, not at the end.
    const args = ["xPf", archive, "-C", tree];
    const tar = new Program(context, "/bin/tar", args, join(cluster.directory, `tar${round}.log`));
    // An untar of the short archive takes a good second, of the long one many.
    await new Promise((done) => setTimeout(done, 50 + Math.random() * (full ? 10_000 : 400)));
    await victim.kill();
    await tar.ended;

    const startedMs = performance.now();
    const exists = await agent.do("exists", join(other.point, `tree${round}`));
    const { letters, doubtful } = exists
      ? await agent.do("compareWithArchive", archive, join(other.point, `tree${round}`))
      : { letters: "", doubtful: [] };
    const waitedMs = performance.now() - startedMs;
    const count = (letter: string) => [...letters].filter((one) => one === letter).length;
    context.diagnostic(
      `round ${round}: ${count("c")} complete, ${count("p")} begun, ${count("m")} missing; seen after ${waitedMs.toFixed(0)} ms`,
    );
    assert.match(letters, /^c*p?m*$/, `${doubtful.join(", ")}, after ${letters.search(/[^c]/)} complete ones`);
    assert.ok(waitedMs < 15_000, "a dead client's leases are free in time");
  }
});
