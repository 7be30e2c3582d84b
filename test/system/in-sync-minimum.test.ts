/**
 * A volume that takes writes with two copies in sync or more, on two stores, and one of them is killed: writers wait, and are told for
 * what; readers go on; a soft mount's writers get their error. With the store back everything goes on, without an error.
 */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { test } from "node:test";
import { Cluster, runBrine, shell, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;

test("with fewer copies in sync than the volume wants writes wait, by name, and reads go on", {
  skip,
}, async (context) => {
  const cluster = await Cluster.start(context, { servers: 3, metadataAlone: true });
  const leader = cluster.addresses[0]!;
  const mount = await cluster.mount("hard");
  const soft = await cluster.mount("soft", ["-o", "soft=4s"]);
  const refused = await runBrine(["volume", "set", "home", leader, "--in-sync-min", "3"]);
  assert.match(refused.stderr, /3 in sync can't be had: there are to be 2 copies/);
  const set = await runBrine(["volume", "set", "home", leader, "--in-sync-min", "2"]);
  assert.equal(set.code, 0, set.stderr);
  assert.match(set.stdout, /takes writes with 2 copies in sync or more/);
  assert.match((await runBrine(["volume", "list", leader])).stdout, /IN SYNC, MIN[^\n]*\n *home +2 +2 /);
  const below = await runBrine(["volume", "set", "home", leader, "--replicas", "1"]);
  assert.match(below.stderr, /2 in sync can't be had: there are to be 1 copies/);

  const file = join(mount.point, "file");
  // What another mount wants of a directory in which a change waits, it waits for as well.
  const work = join(mount.point, "work");
  await shell(`echo before > ${file} && mkdir ${work} && sync ${file} ${work}`);
  await cluster.killServer(2);
  const written = join(work, "written");
  const writing = shell(`echo after > ${written} && sync ${written} && echo done`);
  let isDone = false;
  void writing.then(() => {
    isDone = true;
  });
  const wait = /volume home wants 2 in-sync copies, group \d+ has 1: store \d+ at \S+ is away or behind/;
  await waitFor("the wait to be named", async () => wait.test((await runBrine(["waits", leader])).stdout));
  assert.match((await runBrine(["why", written])).stdout, wait);
  const { problems } = await cluster.status();
  assert.ok(
    problems.some((problem: string) =>
      /^Volume home takes writes with 2 copies in sync or more, and \d+/.test(problem),
    ),
    problems.join("\n"),
  );
  assert.equal(await shell(`cat ${join(soft.point, "file")} ${file}`), "before\nbefore\n");
  const softly = join(soft.point, "softly");
  await assert.rejects(shell(`echo lost > ${softly} && sync ${softly}`, { timeoutMs: 40_000 }), /Input\/output error/);
  assert.equal(isDone, false);

  await cluster.startServer(2);
  assert.equal(await writing, "done\n");
  await cluster.waitInSync();
  // Lowered, it lets go at once what waits.
  await cluster.killServer(2);
  const again = shell(`echo again > ${file} && sync ${file} && cat ${file}`);
  await waitFor("the wait to be named", async () => wait.test((await runBrine(["waits", leader])).stdout));
  assert.equal((await runBrine(["volume", "set", "home", leader, "--in-sync-min", "1"])).code, 0);
  assert.equal(await again, "again\n");
});
