/** The systemd units are whole, and their commands are what the program understands. */
import { strict as assert } from "node:assert";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { brine, hasProgram, root, runBrine, runProgram, scratch } from "./cluster.ts";

const folder = join(root, "packaging/systemd");
const installed = "/usr/local/bin/brine";

test("systemd accepts the units", {
  skip: hasProgram("systemd-analyze") ? false : "not installed: systemd-analyze",
}, async (context) => {
  const directory = scratch(context);
  const units = readdirSync(folder);
  for (const unit of units) {
    const text = readFileSync(join(folder, unit), "utf8");
    assert.ok(text.includes(installed), unit);
    // systemd looks whether the program is there; here it is somewhere else.
    writeFileSync(join(directory, unit.replace("@", "@mnt-home")), text.replaceAll(installed, brine));
  }
  const paths = readdirSync(directory).map((unit) => join(directory, unit));
  assert.equal(paths.length, 2);
  const { code, stdout, stderr } = await runProgram("systemd-analyze", ["verify", "--man=no", ...paths]);
  const told = `${stdout}${stderr}`.split("\n").filter((line) => line.includes("brine-"));
  assert.deepEqual([code, told], [0, []]);
});

test("the units use options that there are", async () => {
  for (const unit of readdirSync(folder)) {
    const line = /^ExecStart=\S+ (.*)$/m.exec(readFileSync(join(folder, unit), "utf8"))![1]!;
    const [command] = line.split(" ");
    const help = (await runBrine([command!, "--help"])).stdout;
    for (const option of line.match(/--[a-z-]+/g) ?? []) assert.ok(help.includes(option), `${unit}: ${option}`);
  }
});
