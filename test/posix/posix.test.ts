/**
 * The conformance suite (main.py) on a mount with real processes, a subtest for each family of system calls. It runs on a
 * local file system, too: a case that fails there says something wrong.
 */
import { strict as assert } from "node:assert";
import { chmodSync, globSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { test } from "node:test";
import { brine, Cluster, type Context, full, root, runProgram, scratch, whyNoMount } from "../system/cluster.ts";

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

async function run(directory: string, family: string, quotaCommand = ""): Promise<string> {
  const program = [`BRINE_TEST_QUOTA=${quotaCommand}`, "python3", "-B", join(root, "test/posix/main.py")];
  const output = await runProgram("env", [...program, directory, family], { timeoutMs });
  const failed = output.stdout.split("\n").filter((line) => !/^(ok|skip) /.test(line));
  assert.equal(output.code, 0, `${failed.join("\n")}\n${output.stderr}`);
  return output.stdout;
}

/** Sets limits as families/quota.py asks for them. */
function quotaCommandOf(cluster: Cluster, point: string): string {
  const path = join(cluster.directory, "set-quota");
  const script = `#!/bin/sh
subject=home; user=
case $1 in directory) subject="home:\${2#${point}}";; user) user="--user $2";; esac
exec ${brine} quota set "$subject" ${cluster.addresses[0]} $user --bytes $3 --inodes $4
`;
  writeFileSync(path, script, { mode: 0o755 });
  return path;
}

test("system calls on a local directory", async (context) => {
  const directory = openScratch(context);
  for (const family of families) {
    await context.test(family, async () => {
      await run(directory, family);
    });
  }
});

for (const kernel of ["this kernel", "6.1"]) {
  test(`system calls on a mount (${kernel})`, { skip: whyNoMount() ?? false }, async (context) => {
    const cluster = await Cluster.start(context, { directory: openScratch(context) });
    const { point } = await cluster.mount("mount", kernel === "6.1" ? ["-o", "as-kernel=6.1"] : []);
    const quotaCommand = quotaCommandOf(cluster, point);
    for (const family of families) {
      await context.test(family, async () => {
        const output = await run(point, family, quotaCommand);
        if (kernel !== "6.1") assert.doesNotMatch(output, /no shared, writable mappings/);
      });
    }
  });
}
