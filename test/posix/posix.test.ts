/**
 * The conformance suite (main.py) on a mount with real processes, a subtest for each family of system calls. It runs on a
 * local file system, too: a case that fails there says something wrong.
 */
import { strict as assert } from "node:assert";
import { chmodSync, globSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { Cluster, type Context, full, root, runProgram, scratch, whyNoMount } from "../system/cluster.ts";

const families = globSync("test/posix/families/*.py", { cwd: root })
  .map((path) => basename(path, ".py"))
  .filter((name) => !name.startsWith("__"))
  .sort();
const timeoutMs = full ? 3_600_000 : 120_000;

/** The suite works in it as other users, too. */
function openScratch(context: Context): string {
  const directory = scratch(context);
  chmodSync(directory, 0o755);
  return directory;
}

async function run(directory: string, family: string): Promise<void> {
  const program = join(root, "test/posix/main.py");
  const output = await runProgram("python3", ["-B", program, directory, family], { timeoutMs });
  const failed = output.stdout.split("\n").filter((line) => !/^(ok|skip) /.test(line));
  assert.equal(output.code, 0, `${failed.join("\n")}\n${output.stderr}`);
}

test("system calls on a local directory", async (context) => {
  const directory = openScratch(context);
  for (const family of families) await context.test(family, () => run(directory, family));
});

test("system calls on a mount", { skip: whyNoMount() ?? false }, async (context) => {
  const cluster = await Cluster.start(context, { directory: openScratch(context) });
  const { point } = await cluster.mount("mount");
  for (const family of families) await context.test(family, () => run(point, family));
});
