/**
 * Who appends to one file from several mounts: O_APPEND loses nothing, ever; RWF_APPEND nothing by turns, and nothing from one mount.
 * (What RWF_APPEND may lose is in docs/promises.md, Kernels.)
 */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Agent } from "./agent.ts";
import { Cluster, full, root, runProgram, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const count = full ? 3_000 : 150;
const timeoutMs = full ? 300_000 : 60_000;

/** open(2). */
const [readWrite, appending] = [0o2, 0o2000];

test("what is appended shows in mapped memory, and goes on when the page is written", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const [one, two] = [await cluster.mount("one"), await cluster.mount("two")];
  const [here, there] = [new Agent(context, "one"), new Agent(context, "two")];
  const [path, other] = [join(one.point, "log"), join(two.point, "log")];
  await here.do("writeFile", path, "a".repeat(5_000));
  const log = await here.do("open", path, readWrite | appending);
  // From now on this kernel doesn't know where the file ends.
  await there.do("write", await there.do("open", other, readWrite | appending), "b".repeat(100));
  const map = await here.do("map", log, 5_100);
  let tail = "b".repeat(100);
  for (const fill of ["c", "d"]) {
    assert.equal(await here.do("mapRead", map, 5_098, 2), "bb");
    await sleep(100); // until then this kernel takes the end from the page that it has just read
    await here.do("write", log, fill.repeat(100));
    tail += fill.repeat(100);
    await here.do("mapWrite", map, 4_999, "e");
    assert.equal(await there.do("readFile", other), `${"a".repeat(4_999)}e${tail}`);
  }
});

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
