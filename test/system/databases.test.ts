/** Databases whose files are on a mount: they are built on what a file system promises about fsync, locks and crashes. */
import { strict as assert } from "node:assert";
import { chmodSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Cluster, type Context, full, root, runProgram, scratch, shell, whyNoMount } from "./cluster.ts";
import { Postgres, whyNoPostgres } from "./postgres.ts";

const skip = whyNoMount() ?? false;
const rounds = full ? 6 : 1;
const seconds = full ? 15 : 2;

test("PostgreSQL: crashes of it, of the mount and of servers", {
  skip: skip || (whyNoPostgres() ?? false),
}, async (context) => {
  const directory = scratch(context);
  chmodSync(directory, 0o755);
  const cluster = await Cluster.start(context, { directory });
  let mount = await cluster.mount("mnt");
  const postgres = await Postgres.start(context, join(mount.point, "postgres"), join(directory, "local"));
  const soon = () => sleep(seconds * 700);
  for (let round = 0; round < rounds; round++) {
    await postgres.work(
      seconds,
      async () => {
        await soon();
        await postgres.killServer();
      },
      false,
    );
    await postgres.startServer();
    await postgres.check();

    await postgres.work(
      seconds,
      async () => {
        await soon();
        await mount.kill();
        await postgres.killServer();
      },
      false,
    );
    mount = await cluster.mount("mnt");
    await postgres.startServer();
    await postgres.check();

    // The leader and a store at once, then (in the long form) the other store: PostgreSQL must not notice.
    await postgres.work(
      seconds * 2,
      async () => {
        await soon();
        await cluster.killServer(0);
        await cluster.startServer(0);
        if (!full) return;
        await cluster.waitInSync();
        await cluster.killServer(1);
        await cluster.startServer(1);
      },
      true,
    );
    await postgres.check();
    await cluster.waitInSync();
  }
  await postgres.stopAndVerify();
});

/** SQLite in one journal mode, from four writers that share the mounts among them. */
async function transfers(context: Context, mode: string, mounts: number): Promise<void> {
  const cluster = await Cluster.start(context);
  const files: string[] = [];
  for (let index = 0; index < mounts; index++) {
    files.push(join((await cluster.mount(`mnt${index}`)).point, "bank.db"));
  }
  const bank = (args: readonly string[]) =>
    runProgram("python3", [join(root, "test/system/sqlite_bank.py"), ...args], { timeoutMs: 120_000 });
  const made = await bank(["make", files[0]!, mode]);
  assert.equal(made.code, 0, made.stderr);
  const written = await Promise.all(
    [1, 2, 3, 4].map((writer) =>
      bank(["write", files[writer % mounts]!, mode, String(writer), String(full ? seconds : 1)]),
    ),
  );
  for (const { code, stderr } of written) assert.equal(code, 0, stderr);
  const told = written.map(({ stdout }) => stdout).join("");
  assert.ok(told.length > 0);
  const list = join(cluster.directory, "told");
  writeFileSync(list, told);
  for (const file of files) await shell(`python3 ${root}/test/system/sqlite_bank.py check ${file} < ${list}`);
}

for (const [mode, mounts] of [
  ["delete", 2],
  ["wal", 1],
  ...(full
    ? ([
        ["truncate", 2],
        ["persist", 2],
        ["delete", 1],
      ] as const)
    : []),
] as const) {
  test(`SQLite: journal mode ${mode}, ${mounts} mounts`, { skip }, (context) => transfers(context, mode, mounts));
}
