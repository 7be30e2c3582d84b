/** Two mounts get at the same file or name in different ways: mapped, O_DIRECT, under other names, removed, locked. A case each. */
import { strict as assert } from "node:assert";
import { mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, root, runProgram, whyNoMount } from "./cluster.ts";

const program = join(root, "test/system/crossing.py");
const cases = [...readFileSync(program, "utf8").matchAll(/^@crossing\ndef (\w+)/gm)].map(([, name]) => name!);
/** Shared, writable mappings are refused before Linux 6.6. */
const needsMappings = /^(mapped|direct)_/;

for (const kernel of ["this kernel", "6.1"]) {
  test(`two mounts, two ways (${kernel})`, { skip: whyNoMount() ?? false }, async (context) => {
    const cluster = await Cluster.start(context);
    const options = kernel === "6.1" ? ["-o", "as-kernel=6.1"] : [];
    const [here, there] = [await cluster.mount("here", options), await cluster.mount("there", options)];
    for (const name of cases) {
      await context.test(name, { skip: kernel === "6.1" && needsMappings.test(name) }, async () => {
        mkdirSync(join(here.point, name));
        const places = [here, there].map(({ point }) => join(point, name));
        const output = await runProgram("python3", [program, name, ...places], { timeoutMs: 60_000 });
        assert.equal(output.code, 0, output.stderr);
      });
    }
  });
}
