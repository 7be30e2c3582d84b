/** Keeps the tree tidy: what no linter rule says but every file must keep to. */
import { strict as assert } from "node:assert";
import { globSync, readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../..", import.meta.url).pathname;
const sources = globSync("src/**/*.ts", { cwd: root }).sort();
const production = sources.filter((path) => !path.endsWith(".test.ts") && !path.includes("/testing/"));

function read(path: string): string {
  return readFileSync(`${root}/${path}`, "utf8");
}

/** Comments and strings may name what code may not call. */
function codeOf(path: string): string {
  return read(path)
    .replaceAll(/\/\*[\s\S]*?\*\//g, (comment) => comment.replaceAll(/[^\n]/g, ""))
    .replaceAll(/\/\/.*$/gm, "");
}

/**
 * What only src/platform may touch. Everything else gets it through a Platform, so that it runs in the simulation.
 * The exceptions each say why at their head.
 */
const outside: readonly { what: RegExp; allowed: readonly string[] }[] = [
  { what: /\bDate\.now\b|\bnew Date\(\)|\bperformance\b|\bhrtime\b/, allowed: [] },
  { what: /\bset(Timeout|Interval)\b/, allowed: [] },
  { what: /\bsetImmediate\b|\bnextTick\b/, allowed: ["src/simulation/"] },
  { what: /\bMath\.random\b|\brandomBytes\b|\brandomUUID\b|\bgetRandomValues\b/, allowed: [] },
  {
    what: /from "node:(fs|net|tls|http|https|dgram|dns|child_process|worker_threads|os|process|timers)(\/\w+)?"/,
    allowed: ["src/fuse/transport/"],
  },
  { what: /\bprocess\.\w/, allowed: ["src/simulation/main.ts", "src/fuse/transport/"] },
];

test("only src/platform touches clock, random, disk, network and process", () => {
  for (const path of production) {
    if (path.startsWith("src/platform/")) continue;
    const code = codeOf(path);
    for (const { what, allowed } of outside) {
      const found = what.exec(code);
      if (found === null || allowed.some((prefix) => path.startsWith(prefix))) continue;
      assert.fail(`${path} uses ${found[0]}: take it from the Platform`);
    }
  }
});

test("a file says its role in its first comment", () => {
  for (const path of production)
    assert.match(read(path), /^(#!.*\n)?(import .*\n)*\n?\/\*\*/, `${path} has no first comment`);
});

test("a file has one role, so it is short", () => {
  for (const path of sources) {
    const lines = read(path).split("\n").length;
    const most = path.endsWith(".test.ts") ? 600 : 400;
    assert.ok(lines <= most, `${path} has ${lines} lines: split it by role`);
  }
});

test("nothing is left for later without saying why", () => {
  for (const path of sources) {
    if (path === "test/tree/tidy.test.ts") continue;
    assert.doesNotMatch(read(path), /\b(TODO|FIXME|XXX)\b/, path);
  }
});

test("the lock file names no download addresses", () => {
  assert.doesNotMatch(read("package-lock.json"), /"resolved":/);
});

test("links in the documentation lead somewhere", () => {
  const documents = globSync("{README.md,docs/**/*.md}", { cwd: root });
  for (const path of documents) {
    for (const [, target] of read(path).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target!)) continue;
      const folder = path.includes("/") ? path.slice(0, path.lastIndexOf("/") + 1) : "";
      assert.ok(
        globSync(`${folder}${target}`, { cwd: root }).length > 0,
        `${path} links to ${target}, which isn't there`,
      );
    }
  }
});
