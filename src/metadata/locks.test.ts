/** Advisory locks at the leader: waits, their ends and crossings, sessions that come and go, restarts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { HeldLock } from "../wire/catalogue/locks.ts";
import type { AskedLock } from "./locks.ts";
import { FakePeer } from "./testing/fake-peer.ts";
import { type Client, Harness } from "./testing/harness.ts";

const inode = 1;

async function cluster() {
  const harness = await Harness.start();
  const stores = [await harness.addStore("a"), await harness.addStore("b")];
  await harness.addVolume("home", 2);
  return { harness, stores, one: await harness.mount("one", "home"), two: await harness.mount("two", "home") };
}

function asked(owner: number, change: Partial<AskedLock> = {}): AskedLock {
  return { inode, kind: "posix", owner, pid: owner, start: 0n, end: 9n, mode: "exclusive", wait: 0, ...change };
}

function held(owner: number, grant: number, change: Partial<HeldLock> = {}): HeldLock {
  return { inode, kind: "posix", owner, pid: owner, start: 0n, end: 9n, mode: "exclusive", grant, ...change };
}

/** The answer's outcome, and the grant of one that is done. */
async function set(harness: Harness, client: Client, lock: AskedLock) {
  return harness.parts.lockAnswers.set(client.session, lock);
}

function grantsTold(peer: FakePeer): number[] {
  return peer.received.filter(({ name }) => name === "client.lockGranted").map(({ body }) => (body as AskedLock).wait);
}

test("who waits is told; the answer names who is in the way", async () => {
  const { harness, one, two } = await cluster();
  assert.equal((await set(harness, one, asked(1))).outcome, "done");
  const refused = await set(harness, two, asked(2));
  assert.equal(refused.outcome, "conflict");
  assert.match(refused.conflict!.holder, /^process 1 of one/);
  assert.equal(refused.conflict!.owner, 0);
  assert.equal((await set(harness, two, asked(2, { wait: 1 }))).outcome, "waiting");
  // Sent again: it keeps its place, and gets the lock once.
  assert.equal((await set(harness, two, asked(2, { wait: 1 }))).outcome, "waiting");
  const { locks } = harness.parts.holdings.of(two.session.volume);
  assert.match(locks.heldBy(two.session.id, inode)[0]!, /^process 1 of one/);
  await set(harness, one, asked(1, { mode: undefined }));
  assert.deepEqual(grantsTold(two.peer), [1]);
  assert.equal((await set(harness, one, asked(1))).outcome, "conflict");
});

test("a wait is cancelled, or was granted before", async () => {
  const { harness, one, two } = await cluster();
  const { lockAnswers } = harness.parts;
  await set(harness, one, asked(1));
  await set(harness, two, asked(2, { wait: 1 }));
  assert.deepEqual(lockAnswers.cancel(two.session, 1), { cancelled: true });
  await set(harness, one, asked(1, { mode: undefined }));
  assert.deepEqual(grantsTold(two.peer), []);
  await set(harness, one, asked(1));
  await set(harness, two, asked(2, { wait: 2 }));
  await set(harness, one, asked(1, { mode: undefined }));
  assert.deepEqual(lockAnswers.cancel(two.session, 2), { cancelled: false });
});

test("deadlocks are found among POSIX locks only", async () => {
  const { harness, one, two } = await cluster();
  for (const kind of ["posix", "flock"] as const) {
    const [first, second] = [asked(1, { kind, inode: 10 }), asked(2, { kind, inode: 11 })];
    await set(harness, one, first);
    await set(harness, two, second);
    assert.equal((await set(harness, one, { ...second, owner: 1, wait: 7 })).outcome, "waiting");
    const closing = await set(harness, two, { ...first, owner: 2, wait: 7 });
    assert.equal(closing.outcome, kind === "posix" ? "deadlock" : "waiting");
    for (const client of [one, two]) harness.parts.lockAnswers.cancel(client.session, 7);
    for (const [client, lock] of [
      [one, first],
      [two, second],
    ] as const) {
      await set(harness, client, { ...lock, mode: undefined });
    }
  }
  assert.equal(harness.parts.holdings.of(one.session.volume).locks.count, 0);
});

test("the end of a session releases its locks and waits", async () => {
  const { harness, one, two } = await cluster();
  await set(harness, one, asked(1));
  await set(harness, two, asked(2, { wait: 1 }));
  await set(harness, one, asked(3, { wait: 1 }));
  await harness.parts.sessions.close(one.session.id, one.peer);
  assert.deepEqual(grantsTold(two.peer), [1]);
  await set(harness, two, asked(2, { mode: undefined }));
  assert.equal(harness.parts.holdings.of(two.session.volume).locks.count, 0);
});

test("on a new connection a client says what it has: no more is left, no less, and no wait", async () => {
  const { harness, one, two } = await cluster();
  const first = await set(harness, one, asked(1));
  // Its answer is lost.
  await set(harness, one, asked(1, { start: 20n, end: 29n }));
  await set(harness, two, asked(2, { start: 20n, end: 29n, wait: 1 }));
  await set(harness, one, asked(3, { wait: 1 }));
  one.state(new FakePeer("client"), [], [held(1, first.grant)]);
  assert.deepEqual(grantsTold(two.peer), [1]);
  assert.equal((await set(harness, two, asked(2))).outcome, "conflict");
  one.state(new FakePeer("client"), [], []);
  assert.equal((await set(harness, two, asked(2))).outcome, "done");
});

test("after a restart nobody gets a lock before all have said what they have; the later of two that contradict stands", async () => {
  const { harness, one, two } = await cluster();
  const first = await set(harness, one, asked(1));
  // Its answer is lost, and so is that of the next.
  await set(harness, one, asked(1, { mode: "shared" }));
  const second = await set(harness, two, asked(2, { mode: "shared" }));
  await harness.restart();
  two.state(new FakePeer("client"), [], [held(2, second.grant, { mode: "shared" })]);
  let answered = false;
  const early = set(harness, two, asked(2, { start: 100n, end: 100n })).then(() => {
    answered = true;
  });
  await harness.pass(100, { sessions: [two] });
  assert.equal(answered, false);
  one.state(new FakePeer("client"), [], [held(1, first.grant)]);
  await early;
  const { locks } = harness.parts.holdings.of(two.session.volume);
  assert.equal(locks.count, 3);
  assert.equal((await set(harness, two, asked(9, { mode: "shared" }))).outcome, "done");
});

test("what a client says of one inode replaces what was known, and lets others in", async () => {
  const { harness, one, two } = await cluster();
  const { lockAnswers } = harness.parts;
  const { grant } = await set(harness, one, asked(1));
  await set(harness, one, asked(5, { kind: "flock" }));
  await set(harness, two, asked(2, { start: 5n, end: 5n, wait: 1 }));
  lockAnswers.state(one.session, inode, [held(1, grant, { end: 4n })]);
  assert.deepEqual(grantsTold(two.peer), [1]);
  assert.equal((await set(harness, two, asked(2, { kind: "flock" }))).outcome, "done");
  assert.equal((await set(harness, two, asked(2, { start: 4n, end: 4n }))).outcome, "conflict");
});
