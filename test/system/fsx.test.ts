/** One file's data: random reads, writes, truncates, holes and mapped memory from one and from two mounts, byte for byte. */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, full, root, runProgram, whyNoMount } from "./cluster.ts";

const operations = full ? 20_000 : 400;
const timeoutMs = full ? 1_800_000 : 120_000;

for (const mounts of [1, 2]) {
  test(`a file's data from ${mounts} mounts`, { skip: whyNoMount() ?? false }, async (context) => {
    const cluster = await Cluster.start(context);
    const directories: string[] = [];
    for (let index = 0; index < mounts; index++) directories.push((await cluster.mount(`fsx${index}`)).point);
    const seed = full ? Date.now() % 1_000_000 : mounts;
    const args = [join(root, "test/system/fsx.py"), `${operations}`, `${seed}`, ...directories];
    const output = await runProgram("python3", args, { timeoutMs });
    assert.equal(output.code, 0, output.stdout + output.stderr);
  });
}
