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

test("a server goes on when its log can't be written; a command says that its output can't be, and fails", () => {
  const program = `print("one"); setTimeout(() => { print("two"); process.exit(7); }, 100);`;
  const withFullDisk = (text: string) => {
    const script = `import { onStopRequest, print } from "${processes}"; ${text}`;
    const shell = `"$0" --input-type=module -e "$1" >/dev/full; echo $? >&2`;
    return spawnSync("/bin/bash", ["-c", shell, process.execPath, script], { encoding: "utf8", timeout: 60_000 })
      .stderr;
  };
  assert.equal(withFullDisk(`onStopRequest(() => {}); ${program}`), "7\n");
  assert.equal(withFullDisk(program), "brine: the output can't be written: ENOSPC\n1\n");
});
