/**
 * One file's data: random reads, writes, truncates, holes, copies and mapped memory from one and from two mounts, byte for byte;
 * now and then a mount is made anew, in order or after the death of its client. BRINE_TEST_SECONDS: for so long from each.
 */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { test } from "node:test";
import { Cluster, full, type Mount, root, startPython, whyNoMount } from "./cluster.ts";
import { randomSeconds } from "./patience.ts";

/** How much, and after how many operations a mount is made anew. */
const duration = randomSeconds !== undefined ? `${randomSeconds}s` : full ? "20000" : "400";
const everyOperations = full || randomSeconds !== undefined ? 330 : 130;

for (const count of [1, 2]) {
  test(`a file's data from ${count} mounts`, { skip: whyNoMount() ?? false }, async (context) => {
    const cluster = await Cluster.start(context);
    const mounts: Mount[] = [];
    for (let index = 0; index < count; index++) mounts.push(await cluster.mount(`fsx${index}`));
    const isLong = full || randomSeconds !== undefined;
    const seed = Number(process.env.BRINE_TEST_SEED) || (isLong ? Date.now() % 1_000_000 : count);
    const program = join(root, "test/system/fsx.py");
    const words = [String(seed), String(everyOperations)];
    const fsx = startPython(context, [program, duration, ...words, ...mounts.map(({ point }) => point)]);

    const remount = async (way: string, index: number) => {
      await (way === "kill" ? mounts[index]!.kill() : mounts[index]!.unmount());
      mounts[index] = await cluster.mount(`fsx${index}`);
      fsx.child.stdin!.write("go on\n");
    };
    let remounting = Promise.resolve();
    let remounted = 0;
    createInterface({ input: fsx.child.stdout! }).on("line", (line) => {
      const asked = /^(unmount|kill) (\d+)$/.exec(line);
      if (asked === null) return;
      remounted += 1;
      remounting = remount(asked[1]!, Number(asked[2]));
      remounting.catch(() => fsx.child.kill("SIGKILL")); // told below
    });
    const output = await fsx.ended;
    await remounting;
    assert.equal(output.code, 0, output.stdout + output.stderr);
    assert.ok(remounted > 0, "no mount was made anew");
    if (isLong)
      context.diagnostic(`seed ${seed}: ${output.stdout.trim().split("\n").at(-1)}, ${remounted} mounts made anew`);
  });
}
