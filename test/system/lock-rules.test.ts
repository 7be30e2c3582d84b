/** Rules of advisory locks over two mounts: conflicts, waits and their ends, deadlocks, death of holders. */
import { strict as assert } from "node:assert";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Agent } from "./agent.ts";
import { Cluster, type Mount, waitFor, whyNoMount } from "./cluster.ts";

const skip = whyNoMount() ?? false;
const kinds = ["posix", "ofd", "flock"];
/** A wait that has not ended after this time is one. */
const waitMs = 300;

interface Locker {
  readonly agent: Agent;
  readonly mount: Mount;
  readonly descriptor: number;
}

async function lockers(context: TestContext, cluster: Cluster): Promise<[Locker, Locker]> {
  const made: Locker[] = [];
  for (const name of ["one", "two"]) {
    const mount = await cluster.mount(name);
    const agent = new Agent(context, name);
    made.push({ agent, mount, descriptor: await agent.do("open", join(mount.point, "file")) });
  }
  return made as [Locker, Locker];
}

/** Begins to wait for a lock; `isWaiting` tells whether it still does after a while. */
function begin({ agent, descriptor }: Locker, kind: string, start = 0, length = 0) {
  const answer = agent.try("lockWait", descriptor, kind, "exclusive", start, length);
  const late = new Promise((done) => setTimeout(() => done("waits"), waitMs));
  const isWaiting = async () => (await Promise.race([answer, late])) === "waits";
  return { answer, isWaiting };
}

test("locks keep the other mount out; testing tells what is in the way; kinds don't see each other", {
  skip,
}, async (context) => {
  const [one, two] = await lockers(context, await Cluster.start(context));
  const tryTwo = async (...values: unknown[]) => (await two.agent.try("lock", two.descriptor, ...values)).error;
  await one.agent.do("lock", one.descriptor, "posix", "exclusive", 10, 10);
  assert.equal(await tryTwo("posix", "shared", 19, 1), "EAGAIN");
  assert.equal(await tryTwo("ofd", "shared", 10, 1), "EAGAIN");
  assert.equal(await tryTwo("posix", "exclusive", 20, 0), undefined);
  assert.equal(await tryTwo("flock", "exclusive"), undefined);
  assert.deepEqual(await two.agent.do("lockTest", two.descriptor, "posix", "shared", 0, 15), {
    mode: "exclusive",
    start: 10,
    length: 10,
    pid: 0,
  });
  assert.equal((await two.agent.do("lockTest", two.descriptor, "posix", "exclusive", 0, 10)).mode, "none");
  await one.agent.do("lock", one.descriptor, "posix", "shared", 12, 2);
  assert.equal(await tryTwo("posix", "shared", 12, 2), undefined);
  assert.equal(await tryTwo("posix", "shared", 11, 2), "EAGAIN");
  // close(2) of any descriptor of the file releases what the process has.
  await one.agent.do("close", await one.agent.do("open", join(one.mount.point, "file")));
  assert.equal(await tryTwo("posix", "exclusive", 0, 0), undefined);
});

test("a wait ends when the lock is released, when its holder closes or is killed, or by a signal", {
  skip,
}, async (context) => {
  const [one, two] = await lockers(context, await Cluster.start(context));
  for (const kind of kinds) {
    const ends: ((holder: Locker) => unknown)[] = [
      ({ agent, descriptor }) => agent.do("lock", descriptor, kind, "none"),
      ({ agent, descriptor }) => agent.do("close", descriptor),
      ({ agent }) => agent.child.kill("SIGKILL"),
    ];
    for (const end of ends) {
      const agent = new Agent(context, `holder of ${kind}`);
      const holder = { ...one, agent, descriptor: await agent.do("open", join(one.mount.point, "file")) };
      await agent.do("lock", holder.descriptor, kind, "exclusive");
      const waiting = begin(two, kind);
      assert.ok(await waiting.isWaiting(), kind);
      await end(holder);
      assert.equal((await waiting.answer).error, undefined, kind);
      await two.agent.do("lock", two.descriptor, kind, "none");
    }
    await one.agent.do("lock", one.descriptor, kind, "exclusive");
    const waiting = begin(two, kind);
    assert.ok(await waiting.isWaiting());
    two.agent.child.kill("SIGUSR1");
    assert.equal((await waiting.answer).error, "EINTR", kind);
    await one.agent.do("lock", one.descriptor, kind, "none");
    // Nothing was left behind by the wait.
    await one.agent.do("lock", one.descriptor, kind, "exclusive");
    await one.agent.do("lock", one.descriptor, kind, "none");
  }
});

test("a process that waits can be killed, and holds nothing then", { skip }, async (context) => {
  const [one, two] = await lockers(context, await Cluster.start(context));
  for (const kind of kinds) {
    const agent = new Agent(context, `killed ${kind}`);
    const killed = { ...two, agent, descriptor: await agent.do("open", join(two.mount.point, "file")) };
    await one.agent.do("lock", one.descriptor, kind, "exclusive");
    const waiting = begin(killed, kind);
    waiting.answer.catch(() => {});
    assert.ok(await waiting.isWaiting());
    agent.child.kill("SIGKILL");
    await waitFor("the process to end", () => agent.child.signalCode !== null);
    await one.agent.do("lock", one.descriptor, kind, "none");
    assert.equal((await two.agent.try("lockWait", two.descriptor, kind, "exclusive")).error, undefined);
    await two.agent.do("lock", two.descriptor, kind, "none");
  }
});

test("a circle of waits over two mounts is EDEADLK", { skip }, async (context) => {
  const [one, two] = await lockers(context, await Cluster.start(context));
  await one.agent.do("lock", one.descriptor, "posix", "exclusive", 0, 1);
  await two.agent.do("lock", two.descriptor, "posix", "exclusive", 1, 1);
  const waiting = begin(one, "posix", 1, 1);
  assert.ok(await waiting.isWaiting());
  // Python knows the number by its other name.
  assert.equal((await begin(two, "posix", 0, 1).answer).error, "EDEADLOCK");
  await two.agent.do("lock", two.descriptor, "posix", "none");
  assert.equal((await waiting.answer).error, undefined);
});

test("the death of a mount's process releases its locks", { skip }, async (context) => {
  const [one, two] = await lockers(context, await Cluster.start(context));
  for (const kind of kinds) await one.agent.do("lock", one.descriptor, kind === "ofd" ? "posix" : kind, "exclusive");
  const waiting = begin(two, "posix");
  assert.ok(await waiting.isWaiting());
  await one.mount.kill();
  assert.equal((await waiting.answer).error, undefined);
  assert.equal((await begin(two, "flock").answer).error, undefined);
});

test("locks and waits outlast a restart of the metadata server", { skip }, async (context) => {
  const cluster = await Cluster.start(context);
  const [one, two] = await lockers(context, cluster);
  await one.agent.do("lock", one.descriptor, "posix", "exclusive", 0, 10);
  await two.agent.do("lock", two.descriptor, "flock", "exclusive");
  const waiting = [begin(two, "posix"), begin(one, "flock")] as const;
  for (const { isWaiting } of waiting) assert.ok(await isWaiting());
  await cluster.killServer(0);
  await cluster.startServer(0);
  for (const { isWaiting } of waiting) assert.ok(await isWaiting());
  const other = new Agent(context, "other");
  const descriptor = await other.do("open", join(two.mount.point, "file"));
  assert.equal((await other.try("lock", descriptor, "posix", "exclusive", 5, 1)).error, "EAGAIN");
  assert.equal((await other.try("lock", descriptor, "posix", "exclusive", 10, 1)).error, undefined);
  await other.do("close", descriptor);
  one.agent.child.kill("SIGUSR1");
  assert.equal((await waiting[1].answer).error, "EINTR");
  await one.agent.do("lock", one.descriptor, "posix", "none");
  assert.equal((await waiting[0].answer).error, undefined);
});
