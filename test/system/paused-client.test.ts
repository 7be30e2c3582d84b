/**
 * The daemon of a mount is stopped (SIGSTOP) while programs look at its cached files. Whatever they see must be as new as
 * the other mount's writes that had returned when they looked; then the daemon wakes up.
 */
import { strict as assert } from "node:assert";
import { type TestContext, test } from "node:test";
import { Agent } from "./agent.ts";
import { Cluster, full, type Mount, undo, waitFor, whyNoMount } from "./cluster.ts";
import { type Watch, watch } from "./watcher.ts";

const skip = whyNoMount() ?? false;
const files = 4;
/** What a handle may say whose session has ended, or whose mount was made anew. */
const cleanErrors = ["EIO", "ESTALE", "ENOTCONN", "ECONNABORTED"];

interface Scene {
  readonly cluster: Cluster;
  readonly paused: Mount;
  readonly awake: Mount;
  readonly agent: Agent;
  readonly pausedAgent: Agent;
  /** Writes a version to all watched files from the awake mount and says when the last call returned. */
  write(version: number): Promise<number>;
}

async function setUp(context: TestContext): Promise<Scene> {
  const cluster = await Cluster.start(context);
  const [awake, paused] = [await cluster.mount("awake"), await cluster.mount("paused")];
  const [agent, pausedAgent] = [new Agent(context, "awake"), new Agent(context, "paused")];
  const write = async (version: number) => {
    for (let number = 0; number < files; number++) {
      const path = `${awake.point}/watched${number}`;
      const content = String(version).padStart(16, "0").repeat(6);
      const descriptor = await agent.do("open", path);
      await agent.do("pwrite", descriptor, content, 0);
      await agent.do("ftruncate", descriptor, 100 + version);
      await agent.do("close", descriptor);
    }
    return monotonicSeconds();
  };
  return { cluster, paused, awake, agent, pausedAgent, write };
}

/** On the clock that the watchers use. */
function monotonicSeconds(): number {
  return Number(process.hrtime.bigint()) / 1e9;
}

function waitUntilSeen(watches: readonly Watch[], version: number): Promise<void> {
  return waitFor(`the watchers to see version ${version}`, () => {
    for (const one of watches) assert.equal(one.defect(), "", "what a watcher says of itself");
    return watches.every((one) => one.newest() === version);
  });
}

function pause(context: TestContext, mount: Mount): void {
  mount.program.signal("SIGSTOP");
  undo(context, () => mount.program.signal("SIGCONT"));
}

/** What each watcher saw after `sinceSeconds` is at least `version`, or a clean error. Returns the errors. */
function judge(watches: readonly Watch[], sinceSeconds: number, version: number): string[] {
  const errors: string[] = [];
  for (const one of watches) {
    assert.equal(one.defect(), "", "what a watcher says of itself");
    for (const { startSeconds, what, file, seen } of one.observations) {
      if (typeof seen === "string") {
        assert.ok(cleanErrors.includes(seen), `${what} of file ${file}: ${seen}`);
        errors.push(`${what}: ${seen}`);
      } else if (startSeconds > sinceSeconds) {
        const late = (startSeconds - sinceSeconds).toFixed(3);
        assert.ok(
          seen >= version,
          `${what} of file ${file} shows version ${seen}, ${late} s after ${version} was written`,
        );
      }
    }
  }
  return errors;
}

test("a client that is stopped for a moment goes on without an error", { skip }, async (context) => {
  const scene = await setUp(context);
  let returned = await scene.write(1);
  const watches = ["path", "handle", "map"].map((way) => watch(context, way, scene.paused.point, files));
  await waitUntilSeen(watches, 1);
  for (let version = 2; version < (full ? 20 : 4); version++) {
    pause(context, scene.paused);
    const writing = scene.write(version);
    await new Promise((done) => setTimeout(done, 1_500));
    scene.paused.program.signal("SIGCONT");
    returned = await writing;
    await waitUntilSeen(watches, version);
    assert.deepEqual(judge(watches, returned, version), []);
  }
});

test("a client that is stopped for long shows nothing old, and wakes up to clean errors", { skip }, async (context) => {
  const { paused, awake, agent, pausedAgent, write } = await setUp(context);
  await write(1);
  const dirty = `${paused.point}/dirty`;
  await pausedAgent.do("writeFile", dirty, "on disk", true);
  const watches = ["path", "handle", "map"].map((way) => watch(context, way, paused.point, files));
  await waitUntilSeen(watches, 1);

  const handle = await pausedAgent.do("open", dirty);
  await pausedAgent.do("pwrite", handle, "IN MEMORY", 0);
  pause(context, paused);
  const stopped = monotonicSeconds();
  const returned = await write(2);
  const waited = returned - stopped;
  const left = (await agent.do("readFile", `${awake.point}/dirty`)) as string;
  assert.ok(["on disk", "IN MEMORY"].includes(left), `the dirty file is ${JSON.stringify(left)}`);
  const again = await write(3);
  assert.ok(again - returned < 2, `the second write takes ${again - returned} s`);
  await new Promise((done) => setTimeout(done, 500));

  paused.program.signal("SIGCONT");
  const woken = monotonicSeconds();
  await waitFor(
    "new opens to work where it was mounted",
    async () => {
      const seen = await pausedAgent.try("readFile", `${paused.point}/watched0`);
      if (seen.error === undefined) assert.equal(Number(seen.value.slice(0, 16)), 3);
      else assert.ok(cleanErrors.includes(seen.error), seen.error);
      return seen.error === undefined;
    },
    30_000,
  );
  const errors = [...judge(watches, returned, 2), ...judge(watches, again, 3)];
  const synced = await pausedAgent.try("fsync", handle);
  if (left === "on disk") assert.ok(cleanErrors.includes(synced.error ?? ""), `fsync of what is lost: ${synced.error}`);
  await pausedAgent.try("pwrite", handle, "LATE", 0);
  await new Promise((done) => setTimeout(done, 1_500));
  assert.equal(await agent.do("readFile", `${awake.point}/dirty`), left, "late writes change nothing");
  assert.equal(await pausedAgent.do("readFile", dirty), left);

  await pausedAgent.do("writeFile", `${paused.point}/fresh`, "works");
  assert.equal(await agent.do("readFile", `${awake.point}/fresh`), "works");
  context.diagnostic(
    `the other mount's write waited ${waited.toFixed(1)} s, the mount works ${(monotonicSeconds() - woken).toFixed(1)} s ` +
      `after waking up; errors seen: ${[...new Set(errors)].join(", ") || "none"}; fsync of the dirty handle: ${synced.error ?? "done"}`,
  );
});

test("mapped memory that a stopped client has changed is cut off, and the mount comes back", {
  skip,
}, async (context) => {
  const { paused, agent, awake, pausedAgent } = await setUp(context);
  const path = `${paused.point}/mapped`;
  await pausedAgent.do("writeFile", path, "a".repeat(4096), true);
  const handle = await pausedAgent.do("open", path);
  const map = await pausedAgent.do("map", handle, 4096);
  await pausedAgent.do("mapStore", map, 0, "LOST");
  pause(context, paused);
  await agent.do("writeFile", `${awake.point}/mapped`, "new", true);

  const woken = monotonicSeconds();
  paused.program.signal("SIGCONT");
  await waitFor(
    "the mount to be made anew",
    async () => {
      const seen = await pausedAgent.try("readFile", path);
      if (seen.error === undefined) assert.equal(seen.value, "new");
      // Between the old mount and the new one there is the empty directory.
      else assert.ok(["ENOENT", ...cleanErrors].includes(seen.error), seen.error);
      return seen.error === undefined;
    },
    30_000,
  );
  context.diagnostic(`the mount works ${(monotonicSeconds() - woken).toFixed(1)} s after waking up`);
  const synced = await pausedAgent.try("fsync", handle);
  assert.ok(cleanErrors.includes(synced.error ?? ""), `fsync of the old handle: ${synced.error}`);
  assert.equal(await agent.do("readFile", `${awake.point}/mapped`), "new", "late write-back changes nothing");
});
