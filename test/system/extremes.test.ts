/** Sizes that hurt: what extremes.py does on two mounts. What it took is told, with the memory that the processes had. */
import { strict as assert } from "node:assert";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, full, root, runProgram, whyNoMount } from "./cluster.ts";

const cases: readonly (readonly [name: string, count?: number])[] = [
  // BRINE_TEST_FILES: to see what grows with it.
  ["large-directory", Number(process.env.BRINE_TEST_FILES ?? (full ? 1_000_000 : 10_000))],
  ["deep-tree", full ? 100 : 30],
  ["sparse-file"],
  ["largest-file"],
  ...(full ? ([["many-links"]] as const) : []),
];
const timeoutMs = full ? 3_600_000 : 120_000;

/** Most memory that a process has had, in MiB. */
function peakMebibytes(pid: number): number {
  return Math.round(Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]) / 1024);
}

for (const [name, count] of cases) {
  test(name, { skip: whyNoMount() ?? false }, async (context) => {
    const cluster = await Cluster.start(context);
    const [here, there] = [await cluster.mount("here"), await cluster.mount("there")];
    const program = join(root, "test/system/extremes.py");
    const words = [here.point, there.point, name, ...(count === undefined ? [] : [String(count)])];
    const output = await runProgram("python3", ["-B", program, ...words], { timeoutMs });
    assert.equal(output.code, 0, output.stdout + output.stderr);
    const processes = [...cluster.servers, here.program, there.program].map(({ pid }) => peakMebibytes(pid));
    const what = count === undefined ? name : `${name} of ${count}`;
    context.diagnostic(`${what}: ${output.stdout.trim()}; peak of servers and mounts: ${processes.join(", ")} MiB`);
  });
}
