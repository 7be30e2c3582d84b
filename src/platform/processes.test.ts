/** What becomes of a process when nobody reads its output any more. */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const processes = new URL("./processes.ts", import.meta.url).href;

/** What its standard error has, and its exit code behind it. */
function run(program: string): string {
  const script = `import { onStopRequest, print } from "${processes}"; ${program}`;
  const shell = `(sleep 0.2; "$0" --input-type=module -e "$1"; echo $? >&2) | true`;
  return spawnSync("/bin/bash", ["-c", shell, process.execPath, script], { encoding: "utf8", timeout: 60_000 }).stderr;
}

test("a command ends quietly when nobody reads what it prints; a server goes on", () => {
  const printing = `print("one"); setTimeout(() => { print("two"); process.exit(7); }, 100);`;
  assert.equal(run(printing), "141\n");
  assert.equal(run(`onStopRequest(() => {}); ${printing}`), "7\n");
});
