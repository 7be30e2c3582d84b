/** Advisory locks between mounts: what programs build on them is exact. */
import { strict as assert } from "node:assert";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Cluster, full, root, shell, startPython, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const script = join(root, "test/system/lockers.py");

/** Two processes on each mount; all must end well. */
async function runOnBoth(
  context: TestContext,
  points: readonly string[],
  args: (path: string, number: number) => string[],
) {
  const programs = [...points, ...points].map((point, number) =>
    startPython(context, [script, ...args(point, number)]),
  );
  for (const { ended } of programs) {
    const { code, stderr } = await ended;
    assert.equal(code, 0, stderr);
  }
}

async function twoMounts(context: TestContext): Promise<string[]> {
  const cluster = await Cluster.start(context);
  return [(await cluster.mount("one")).point, (await cluster.mount("two")).point];
}

test("a counter guarded by locks from four processes on two mounts ends exact", { skip }, async (context) => {
  const points = await twoMounts(context);
  const count = full ? 2_000 : 100;
  for (const kind of ["posix", "ofd", "flock"]) {
    writeFileSync(join(points[0]!, kind), "00000000");
    await runOnBoth(context, points, (point) => ["counter", join(point, kind), String(count), kind]);
    assert.equal(Number(await shell(`cat ${points[1]}/${kind}`)), 4 * count, kind);
  }
});

test("SQLite with a rollback journal from four writers on two mounts", { skip }, async (context) => {
  const points = await twoMounts(context);
  const count = full ? 500 : 25;
  const sql = (statement: string) =>
    shell(`python3 -c 'import sqlite3,sys
for row in sqlite3.connect(sys.argv[1], isolation_level=None).execute(sys.argv[2]): print(*row)' ${points[1]}/db "${statement}"`);
  await sql("create table line (who text, number integer, filler text, primary key (who, number))");
  await sql("create table total as select 0 as value");
  await runOnBoth(context, points, (point, number) => ["sqlite", join(point, "db"), String(count), `w${number}`]);
  assert.equal((await sql("pragma integrity_check")).trim(), "ok");
  assert.equal((await sql("select value, (select count(*) from line) from total")).trim(), `${4 * count} ${4 * count}`);
});
