/** Which rule a path matches, and that no pattern can take its time. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
import { checkPattern, PathRules } from "./path-rules.ts";

const glob = (pattern: string, pool = 1) => ({ syntax: "glob", pattern, pool }) as const;
const expression = (pattern: string, pool = 1) => ({ syntax: "expression", pattern, pool }) as const;

test("globs: of the name without a slash, of the path with one", () => {
  const matches: Record<string, readonly [yes: readonly string[], no: readonly string[]]> = {
    "*.jpg": [
      ["/a.jpg", "/deep/down/.jpg", "/ä.jpg", "/line\nfeed.jpg"],
      ["/a.jpg.tmp", "/a.jpg/b", "/a.JPG"],
    ],
    "/db/**": [
      ["/db/a", "/db/b/c"],
      ["/db", "/x/db/a", "/dbx/a"],
    ],
    "db/*": [["/db/a"], ["/db/b/c", "/x/db/a"]],
    "**/tmp/**": [
      ["/tmp/a", "/x/y/tmp/z/a"],
      ["/tmpx/a", "/tmp"],
    ],
    "[!a-c]?": [
      ["/dz", "/x/d."],
      ["/az", "/d"],
    ],
    "*.{png,gif}": [["/a.png", "/a.gif"], ["/a.jpg"]],
    "**": [["/a", "/b/c"], []],
    "a+b(c)": [["/a+b(c)"], ["/aab(c)", "/abc"]],
  };
  for (const [pattern, [yes, no]] of Object.entries(matches)) {
    const rules = new PathRules([glob(pattern)]);
    for (const path of yes) assert.equal(rules.poolOf(path), 1, `${pattern} is to match ${path}`);
    for (const path of no) assert.equal(rules.poolOf(path), 0, `${pattern} is not to match ${path}`);
  }
});

test("the first rule that matches counts; expressions are looked for in the path", () => {
  const rules = new PathRules([expression("^/src/.*\\.(c|h)$", 1), glob("*.c", 2), expression("test", 3)]);
  assert.deepEqual(
    ["/src/a/b.c", "/b.c", "/src/test/x", "/none"].map((path) => rules.poolOf(path)),
    [1, 2, 3, 0],
  );
  assert.equal(rules.indexOf("/none"), -1);
  assert.equal(rules.needsPath, true);
  assert.equal(new PathRules([glob("*.c")]).needsPath, false);
});

test("patterns that are wrong, or could take their time, are refused at once", () => {
  const started = performance.now();
  for (const pattern of ["(a", "(?=x)", "(a)\\1", "a{1,999}", "(.{99}){9}".repeat(20)]) {
    assert.throws(
      () => checkPattern(expression(pattern)),
      (error) => hasCode(error, "invalid"),
      pattern,
    );
  }
  for (const pattern of ["", "{a,b}".repeat(20), "{1..99999999}", `{${"a,".repeat(100)}b}`]) {
    assert.throws(
      () => checkPattern(glob(pattern)),
      (error) => hasCode(error, "invalid"),
      pattern,
    );
  }
  assert.ok(performance.now() - started < 1_000, "and soon");
});

test("what takes exponential time elsewhere takes none here", () => {
  const evil = [expression("^(a+)+$"), expression("(a|aa)+b"), glob("*a*a*a*a*a*a*a*a*b"), expression("(.*a){12}$")];
  const name = "a".repeat(255);
  const path = `/${name}`.repeat(16);
  const started = performance.now();
  for (const rule of evil) new PathRules([rule]).poolOf(`${path}!`);
  assert.ok(performance.now() - started < 1_000);
});
