/** A client is killed in the middle of an untar. What the other mount then finds is a prefix of what tar did. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Agent } from "./agent.ts";
import { Cluster, full, type Mount, Program, runProgram, waitFor, whyNoMount } from "./cluster.ts";
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
    const firstMs = performance.now() - startedMs;
    const { letters, doubtful, longestMs } = exists
      ? await agent.do("compareWithArchive", archive, join(other.point, `tree${round}`))
      : { letters: "", doubtful: [], longestMs: 0 };
    const waitedMs = Math.max(firstMs, longestMs);
    const count = (letter: string) => [...letters].filter((one) => one === letter).length;
    context.diagnostic(
      `round ${round}: ${count("c")} complete, ${count("p")} begun, ${count("m")} missing; longest wait ${waitedMs.toFixed(0)} ms`,
    );
    assert.match(letters, /^c*p?m*$/, `${doubtful.join(", ")}, after ${letters.search(/[^c]/)} complete ones`);
    assert.ok(waitedMs < 15_000, "a dead client's leases are free in time");
  }
});

const synced = `
import os, sys
piece = b"x" * 4096
for name, flag in (("sync", os.O_SYNC), ("dsync", os.O_DSYNC), ("append", os.O_DSYNC | os.O_APPEND)):
    file = os.open(f"{sys.argv[1]}/{name}", os.O_CREAT | os.O_WRONLY | flag)
    assert os.write(file, piece) == 4096
file = os.open(f"{sys.argv[1]}/call", os.O_CREAT | os.O_WRONLY)
assert os.pwritev(file, [piece], 0, os.RWF_DSYNC) == 4096
os.kill(int(sys.argv[2]), 9)
`;

test("O_SYNC, O_DSYNC and RWF_DSYNC: a write that has returned outlives its client", {
  skip: whyNoMount() ?? false,
}, async (context) => {
  const cluster = await Cluster.start(context);
  const killed = await cluster.mount("killed", ["-o", "dirty-age=60s"]);
  const { code, stderr } = await runProgram("python3", ["-c", synced, killed.point, String(killed.program.pid)]);
  assert.equal(code, 0, stderr);
  await killed.kill();
  const next = await cluster.mount("next");
  for (const name of ["sync", "dsync", "append", "call"]) {
    assert.deepEqual(readFileSync(join(next.point, name)), Buffer.alloc(4096, "x"), name);
  }
});

/** The guard of a mount: the child that runs its program. */
async function guardOf({ program }: Mount): Promise<number> {
  const isGuard = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("guard-process");
  let guard: number | undefined;
  await waitFor("the guard to run", () => {
    const children = readFileSync(`/proc/${program.pid}/task/${program.pid}/children`, "latin1");
    guard = children.trim().split(" ").filter(Boolean).map(Number).find(isGuard);
    return guard !== undefined;
  });
  return guard!;
}

function isGone(pid: number): boolean {
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return true;
  }
}

test("a guard ends with its mount; without it the mount goes on", { skip: whyNoMount() ?? false }, async (context) => {
  const cluster = await Cluster.start(context);
  const agent = new Agent(context, "guarded");
  const killed = await cluster.mount("killed");
  const guard = await guardOf(killed);
  await killed.kill();
  await waitFor("the guard of the killed client to end", () => isGone(guard));

  const guarded = await cluster.mount("guarded");
  process.kill(await guardOf(guarded), "SIGKILL");
  await agent.do("writeFile", join(guarded.point, "file"), "content", true);
  assert.equal(await agent.do("readFile", join(guarded.point, "file")), "content");
});
