/** Formatter, linter, types and module boundaries, as tests: `npm test` is the one command that checks everything. */
import { strict as assert } from "node:assert";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { promisify } from "node:util";

const root = new URL("../..", import.meta.url).pathname;
const run = promisify(execFile);

async function check(program: string, ...args: string[]): Promise<void> {
  try {
    await run(`${root}/node_modules/.bin/${program}`, args, { cwd: root, maxBuffer: 64 << 20 });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    assert.fail(`${program} ${args.join(" ")}\n${stdout}${stderr}`);
  }
}

test("formatter and linter", () => check("biome", "check", "."));
test("types", () => check("tsc", "--noEmit"));
test("imports between modules", () => check("depcruise", "--config", ".dependency-cruiser.cjs", "src"));
