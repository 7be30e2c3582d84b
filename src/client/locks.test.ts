/** Advisory locks of several mounts on a real leader. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FileError } from "../errors/file-error.ts";
import type { Client } from "./client.ts";
import { type Handle, type LockRange, lockEnd } from "./file-system.ts";
import { file, TestCluster } from "./testing/test-cluster.ts";

function lock(owner: number, mode: "shared" | "exclusive" = "exclusive", start = 0n, end = lockEnd): LockRange {
  return { kind: "posix", owner: BigInt(owner), mode, start, end, pid: owner };
}

function failsWith(code: string) {
  return (error: unknown) => error instanceof FileError && error.code === code;
}

/** A file that two clients have open. */
async function twoClients(cluster: TestCluster): Promise<[Client, Handle, Client, Handle]> {
  const [one, two] = [await cluster.mount(), await cluster.mount()];
  const made = await one.createAndOpen(one.root, "file", file, {});
  const found = await two.lookup(two.root, "file");
  return [one, made.handle, two, await two.open(found!.inode, {})];
}

/** Whether it settles while everything that is on its way arrives. */
async function settles(promise: Promise<unknown>): Promise<boolean> {
  const late = new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 100));
  return Promise.race([promise.then(() => true), late]);
}

test("so they do where no file reaches, each byte for itself", async (context) => {
  const [one, first, two, second] = await twoClients(await TestCluster.start(context));
  const [far, last] = [2n ** 53n, lockEnd];
  for (const byte of [far, last]) await one.setLock(first, lock(1, "exclusive", byte, byte), false);
  for (const byte of [far, last]) {
    const beside = lock(2, "exclusive", byte - 1n, byte - 1n);
    await two.setLock(second, beside, false);
    await assert.rejects(two.setLock(second, lock(2, "exclusive", byte, byte), false), failsWith("EAGAIN"));
    const inTheWay = await one.testLock(first, beside);
    assert.deepEqual([inTheWay?.start, inTheWay?.end], [byte - 1n, byte - 1n]);
  }
  await two.setLock(second, lock(2, "exclusive", far + 1n, last - 1n), false);
  await one.unlock(first, lock(1, "exclusive", 1n, far));
  await two.setLock(second, lock(2, "exclusive", far, far), false);
  await assert.rejects(two.setLock(second, lock(2), false), failsWith("EAGAIN"));
});

test("locks keep other mounts out, in their ranges", async (context) => {
  const [one, first, two, second] = await twoClients(await TestCluster.start(context));
  await one.setLock(first, lock(1, "exclusive", 0n, 9n), false);
  await assert.rejects(two.setLock(second, lock(2, "shared", 5n, 5n), false), failsWith("EAGAIN"));
  await two.setLock(second, lock(2, "shared", 10n, 19n), false);
  const inTheWay = await one.testLock(first, lock(1, "exclusive", 0n, 100n));
  assert.deepEqual([inTheWay?.mode, inTheWay?.start, inTheWay?.end, inTheWay?.pid], ["shared", 10n, 19n, 0]);
  const own = await one.testLock(first, lock(3, "shared", 0n, 100n));
  assert.deepEqual([own?.owner, own?.start, own?.end, own?.pid], [1n, 0n, 9n, 1]);
  assert.equal(await one.testLock(first, lock(1, "shared", 0n, 100n)), undefined);
  await one.unlock(first, lock(1, "exclusive", 5n, 5n));
  await two.setLock(second, lock(2, "shared", 5n, 5n), false);
  assert.equal(await one.testLock(first, { ...lock(4), kind: "flock" }), undefined);
});

test("who waits gets the lock when it is released, closed or its mount ends", async (context) => {
  const cluster = await TestCluster.start(context);
  const [one, opened, two, second] = await twoClients(cluster);
  let first = opened;
  const ends: (() => unknown)[] = [() => one.unlock(first, lock(1)), () => one.close(first), () => one.unmount()];
  for (const end of ends) {
    await one.setLock(first, lock(1), true);
    const waiting = two.setLock(second, lock(2), true);
    assert.equal(await settles(waiting), false);
    assert.match(two.waits()[0]!.waitsFor, /^advisory lock, held by process 1 of test/);
    await end();
    await waiting;
    await two.unlock(second, lock(2));
    if (end === ends[1]) first = await one.open(first.inode, {});
  }
});

test("a wait that is interrupted holds nothing", async (context) => {
  const [one, first, two, second] = await twoClients(await TestCluster.start(context));
  await one.setLock(first, lock(1), true);
  const abort = new AbortController();
  const waiting = two.setLock(second, lock(2), true, abort.signal);
  assert.equal(await settles(waiting.catch(() => {})), false);
  abort.abort();
  await assert.rejects(waiting, failsWith("EINTR"));
  await one.unlock(first, lock(1));
  await one.setLock(first, lock(3), false);
});

test("a circle of waits over two mounts is a deadlock", async (context) => {
  const [one, first, two, second] = await twoClients(await TestCluster.start(context));
  await one.setLock(first, lock(1, "exclusive", 0n, 0n), true);
  await two.setLock(second, lock(2, "exclusive", 1n, 1n), true);
  const waiting = one.setLock(first, lock(1, "exclusive", 1n, 1n), true);
  assert.equal(await settles(waiting), false);
  await assert.rejects(two.setLock(second, lock(2, "exclusive", 0n, 0n), true), failsWith("EDEADLK"));
  await two.unlock(second, lock(2));
  await waiting;
});

/** Requests of this method that any client has made so far. */
function requests(cluster: TestCluster, method: string): number {
  const series = cluster.platform.metrics.series();
  return series
    .filter(({ name, labels }) => name === "brine_request_seconds" && labels.method === method)
    .reduce((sum, { count }) => sum + count, 0);
}

test("under an exclusive lease locks cost no request, waiting included; others see them all the same", async (context) => {
  const cluster = await TestCluster.start(context);
  const [one, first, two, second] = await twoClients(cluster);
  // Written to: the lease is exclusive.
  await one.write(first, 0, Buffer.from("x"), { killPrivileges: false });
  for (let round = 0n; round < 50n; round++) {
    await one.setLock(first, lock(1, "exclusive", round, round), true);
    const waiting = one.setLock(first, lock(2, "shared", round, round), true);
    await one.unlock(first, lock(1));
    await waiting;
  }
  await assert.rejects(one.setLock(first, lock(1, "exclusive"), false), failsWith("EAGAIN"));
  assert.equal((await one.testLock(first, lock(1, "exclusive")))?.owner, 2n);
  for (const method of ["leader.setLock", "leader.stateLocks", "leader.testLock"]) {
    assert.equal(requests(cluster, method), 0, method);
  }
  await assert.rejects(two.setLock(second, lock(9, "exclusive", 49n, 49n), false), failsWith("EAGAIN"));
  assert.equal(requests(cluster, "leader.stateLocks"), 1);
  await two.setLock(second, lock(9, "exclusive", 50n, 50n), false);
  await one.unlock(first, lock(2));
  await two.setLock(second, lock(9, "exclusive", 49n, 49n), false);
  await assert.rejects(one.setLock(first, lock(1, "exclusive", 50n, 50n), false), failsWith("EAGAIN"));
});

test("what was set at the leader and is released under a lease is gone at the leader, too", async (context) => {
  const [one, first, two, second] = await twoClients(await TestCluster.start(context));
  await one.setLock(first, lock(1), true);
  await one.write(first, 0, Buffer.from("x"), { killPrivileges: false });
  await one.unlock(first, lock(1));
  await two.setLock(second, lock(2), false);
});

test("a file that is only locked gets the lease on the way", async (context) => {
  const cluster = await TestCluster.start(context);
  const [one, , two, second] = await twoClients(cluster);
  await one.unmount();
  for (let round = 0; round < 50; round++) {
    await two.setLock(second, { ...lock(1), kind: "flock" }, true);
    await two.unlock(second, { ...lock(1), kind: "flock" });
  }
  assert.ok(requests(cluster, "leader.setLock") <= 3);
});

test("who waits under a lease that goes waits on, before those who come later", async (context) => {
  const [one, first, two, second] = await twoClients(await TestCluster.start(context));
  await one.write(first, 0, Buffer.from("x"), { killPrivileges: false });
  await one.setLock(first, lock(1), true);
  const local = one.setLock(first, lock(2), true);
  const foreign = two.setLock(second, lock(3), true);
  assert.equal(await settles(Promise.race([local, foreign])), false);
  await one.unlock(first, lock(1));
  await local;
  assert.equal(await settles(foreign), false);
  await one.unlock(first, lock(2));
  await foreign;
});

test("deadlocks are found under leases, and where a circle leads through other mounts", async (context) => {
  const cluster = await TestCluster.start(context);
  const [one, two] = [await cluster.mount(), await cluster.mount()];
  const { handle: mine } = await one.createAndOpen(one.root, "mine", file, {});
  const { handle: theirs } = await two.createAndOpen(two.root, "theirs", file, {});
  await one.setLock(mine, lock(1, "exclusive", 0n, 0n), true);
  await one.setLock(mine, lock(2, "exclusive", 1n, 1n), true);
  const waiting = one.setLock(mine, lock(1, "exclusive", 1n, 1n), true);
  await assert.rejects(one.setLock(mine, lock(2, "exclusive", 0n, 0n), true), failsWith("EDEADLK"));
  // 1 waits for 2 here, 2 for 3 at the leader, and 3 for 1, who has a lock that was set here.
  await two.setLock(theirs, lock(3), true);
  const found = await one.lookup(one.root, "theirs");
  const elsewhere = one.setLock(await one.open(found!.inode, {}), lock(2), true);
  assert.equal(await settles(elsewhere), false);
  const back = await two.open(mine.inode, {});
  await assert.rejects(two.setLock(back, lock(3, "exclusive", 0n, 0n), true), failsWith("EDEADLK"));
  await two.unlock(theirs, lock(3));
  await elsewhere;
  await one.unlock(mine, lock(2));
  await waiting;
});
