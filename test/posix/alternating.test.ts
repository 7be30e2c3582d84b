/**
 * The conformance suite over two mounts of one volume: each line of a case goes to one of them (alternating.py). Which line goes
 * where follows from a seed; a failure names it. BRINE_TEST_SEED: that one only.
 */
import { strict as assert } from "node:assert";
import { chmodSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, full, root, runProgram, scratch, whyNoMount } from "../system/cluster.ts";

/** For each kernel. */
const seeds = full ? 25 : 1;
const timeoutMs = full ? 600_000 : 120_000;

for (const kernel of ["this kernel", "6.1"]) {
  test(`what one mount does, line by line, the other one finds (${kernel})`, {
    skip: whyNoMount() ?? false,
  }, async (context) => {
    const directory = scratch(context);
    // The suite works in it as other users, too.
    chmodSync(directory, 0o755);
    const cluster = await Cluster.start(context, { directory });
    const options = kernel === "6.1" ? ["-o", "as-kernel=6.1"] : [];
    const [here, there] = [await cluster.mount("here", options), await cluster.mount("there", options)];
    const chosen = process.env.BRINE_TEST_SEED;
    const first = 1 + Math.floor(Math.random() * 1_000_000);
    const all = chosen === undefined ? Array.from({ length: seeds }, (_, index) => String(first + index)) : [chosen];
    for (const seed of all) {
      await context.test(`seed ${seed}`, async () => {
        const program = join(root, "test/posix/alternating.py");
        const args = ["BRINE_TEST_SIZE=", "python3", "-uB", program, seed, kernel, here.point, there.point];
        const output = await runProgram("env", args, { timeoutMs });
        const lines = output.stdout.trim().split("\n");
        const failed = lines.filter((line) => !/^(ok|skip) /.test(line));
        const again = `again: BRINE_TEST_SEED=${seed} node --test test/posix/alternating.test.ts`;
        assert.equal(
          output.code,
          0,
          `${again}\n${failed.join("\n")}\n${output.stderr}\nthe last line: ${lines.at(-1)}`,
        );
      });
    }
  });
}
