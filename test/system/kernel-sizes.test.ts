/** The kernel knows a file's size as it last heard it; what it does with that unasked must be right all the same. */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, root, runProgram, whyNoMount } from "./cluster.ts";

test("calls that go by a file's size find the one that another mount has just made", {
  skip: whyNoMount() ?? false,
}, async (context) => {
  const cluster = await Cluster.start(context);
  const [here, there] = [await cluster.mount("here"), await cluster.mount("there")];
  const program = join(root, "test/system/kernel-sizes.py");
  const output = await runProgram("python3", ["-B", program, here.point, there.point], { timeoutMs: 120_000 });
  assert.equal(output.code, 0, output.stdout + output.stderr);
});
