/**
 * Who appends to one file from several mounts: O_APPEND loses nothing, ever; RWF_APPEND nothing by turns, and nothing from one mount.
 * (What RWF_APPEND may lose is in docs/promises.md, Kernels.)
 */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, full, root, runProgram, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const count = full ? 3_000 : 150;
const timeoutMs = full ? 300_000 : 60_000;

for (const kernel of ["this kernel", "6.1"]) {
  test(`every appended line is there, once and whole (${kernel})`, { skip }, async (context) => {
    const cluster = await Cluster.start(context);
    const options = kernel === "6.1" ? ["-o", "as-kernel=6.1"] : [];
    const [one, two] = [await cluster.mount("one", options), await cluster.mount("two", options)];
    const cases = [
      ["turns", "flag", [one, two]],
      ["turns", "open", [one, two]],
      ["together", "flag", [one, one, one]],
      ["together", "open", [one, two, one, two]],
    ] as const;
    for (const [how, way, mounts] of cases) {
      const paths = mounts.map(({ point }) => join(point, `${how}-${way}`));
      const program = join(root, "test/system/appending.py");
      const output = await runProgram("python3", [program, how, String(count), way, ...paths], { timeoutMs });
      assert.equal(output.code, 0, output.stderr);
      const lines = output.stdout.split("\n").slice(0, -1);
      for (const writer of mounts.keys()) {
        const own = lines.filter((line) => line.startsWith(`${writer} `));
        const wanted = Array.from({ length: count }, (_, number) => `${writer} ${number}`);
        assert.deepEqual(own, wanted, `${how}, ${way}: writer ${writer}`);
      }
      assert.equal(lines.length, count * mounts.length, `${how}, ${way}`);
    }
  });
}
