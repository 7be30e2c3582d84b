import assert from "node:assert/strict";
import { test } from "node:test";
import { hasCode } from "../errors/brine-error.ts";
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import { coverGrant, Grants, termAfterRestore, termsProblem } from "./grants.ts";
import { takeSoon } from "./lease-batch.ts";
import { leaseBounds } from "./lease-limits.ts";
import { Leases } from "./leases.ts";
import { Lifetime } from "./lifetime.ts";
import { Recalls } from "./recalls.ts";
import { drain, ManualClock } from "./testing/manual-clock.ts";
import { Waits } from "./waits.ts";

function makeLeases(term = 1, bounds = leaseBounds) {
  const clock = new ManualClock();
  const log = { debug() {}, info() {}, warn() {}, error() {}, for: () => log };
  const lifetime = new Lifetime(clock, log);
  const waits = new Waits(lifetime, log, 5_000);
  /** `session inode wanted`, a line for each message. */
  const messages: string[] = [];
  const recalls = new Recalls(lifetime, (session, { leases }) => {
    messages.push(leases.map(({ inode, wanted }) => `${session} ${inode} ${wanted}`).join(", "));
  });
  const nameOf = (session: number) => `host${session}`;
  const grants = new Grants(term);
  const leases = new Leases({ lifetime, waits, grants, recalls, recallAgainMs: 1_000, bounds, nameOf });
  return { leases, messages, waits, clock, lifetime };
}

/** Takes a lease that can be had at once. */
function take(leases: Leases, session: number, inode: number, mode: LeaseMode, held = 0): number {
  const grant = leases.acquire(session, inode, mode, held);
  assert.ok(typeof grant === "number", "it has to wait");
  return grant;
}

/** Collects the order in which promises resolve. */
function track(order: string[], name: string, granted: number | Promise<number>): void {
  Promise.resolve(granted).then(
    () => order.push(name),
    (error) => order.push(`${name} failed: ${error.code}`),
  );
}

const sameLeader = { isKnown: true, isUnborn: () => false };
const newLeader = { isKnown: false, isUnborn: () => false };

test("shared leases stand beside each other, an exclusive one alone", async () => {
  const { leases, messages, clock } = makeLeases();
  const [a, b] = [take(leases, 1, 9, "shared"), take(leases, 2, 9, "shared")];
  const order: string[] = [];
  track(order, "c", leases.acquire(3, 9, "exclusive", 0));
  await clock.advance(0);
  assert.deepEqual(messages.sort(), ["1 9 exclusive", "2 9 exclusive"]);
  assert.ok(leases.release(1, 9, a));
  await drain();
  assert.deepEqual(order, []);
  assert.ok(leases.release(2, 9, b));
  await drain();
  assert.deepEqual(order, ["c"]);
  assert.ok(leases.has(3, 9, "exclusive"));
});

test("a release names its grant: one of another lease is skipped", () => {
  const { leases } = makeLeases();
  const first = take(leases, 1, 9, "exclusive");
  assert.ok(leases.release(1, 9, first));
  take(leases, 1, 9, "exclusive");
  assert.ok(!leases.release(1, 9, first));
  assert.ok(!leases.release(2, 9, first));
  assert.ok(leases.has(1, 9, "exclusive"));
});

test("the queue is served in order, and readers behind a writer wait", async () => {
  const { leases } = makeLeases();
  const order: string[] = [];
  const first = take(leases, 1, 9, "shared");
  const writer = leases.acquire(2, 9, "exclusive", 0);
  track(order, "writer", writer);
  track(order, "second reader", leases.acquire(3, 9, "shared", 0));
  track(order, "third reader", leases.acquire(4, 9, "shared", 0));
  leases.release(1, 9, first);
  await drain();
  assert.deepEqual(order, ["writer"]);
  leases.release(2, 9, await writer);
  await drain();
  assert.deepEqual(order, ["writer", "second reader", "third reader"]);
});

test("an exclusive lease goes down to shared where others want no more, and keeps its grant", async () => {
  const { leases, messages, clock } = makeLeases();
  const grant = take(leases, 1, 9, "exclusive");
  const reader = leases.acquire(2, 9, "shared", 0);
  await clock.advance(0);
  assert.deepEqual(messages, ["1 9 shared"]);
  assert.ok(leases.release(1, 9, grant, true));
  await reader;
  assert.equal(leases.modeOf(1, 9, grant), "shared");
  // If somebody waits for the exclusive one, too, the holder is asked for all of it from the start.
  const again = take(leases, 3, 8, "exclusive");
  leases.acquire(1, 8, "shared", 0);
  leases.acquire(2, 8, "exclusive", 0);
  await clock.advance(0);
  assert.deepEqual(messages.slice(1), ["3 8 shared, 3 8 exclusive"]);
  leases.release(3, 8, again);
  assert.ok(leases.has(1, 8, "shared"));
});

test("an upgrade converts the lease where it stands, under another grant", async () => {
  const { leases, messages, clock } = makeLeases();
  const shared = take(leases, 1, 9, "shared");
  const exclusive = take(leases, 1, 9, "exclusive", shared);
  assert.ok(exclusive > shared && leases.count(1) === 1);
  assert.ok(leases.release(1, 9, exclusive));
  const [one, two] = [take(leases, 1, 9, "shared"), take(leases, 2, 9, "shared")];
  const upgrade = leases.acquire(1, 9, "exclusive", one);
  await clock.advance(0);
  assert.deepEqual(messages, ["2 9 exclusive"]);
  assert.ok(leases.has(1, 9, "shared"));
  leases.release(2, 9, two);
  const upgraded = await upgrade;
  // What was said of the shared one is not meant for this one.
  assert.ok(!leases.release(1, 9, one));
  assert.equal(leases.modeOf(1, 9, upgraded), "exclusive");
});

test("a request that overtakes the giving back down to shared", async () => {
  const { leases } = makeLeases();
  const grant = take(leases, 1, 9, "exclusive");
  const reader = leases.acquire(2, 9, "shared", 0);
  const order: string[] = [];
  const again = leases.acquire(1, 9, "exclusive", grant);
  track(order, "again", again);
  // By asking it says that it has the shared one only.
  const other = await reader;
  assert.ok(leases.release(1, 9, grant, true));
  assert.equal(leases.modeOf(1, 9, grant), "shared");
  assert.deepEqual(order, []);
  leases.release(2, 9, other);
  assert.equal(leases.modeOf(1, 9, await again), "exclusive");
});

test("two that upgrade at once get it one after the other", async () => {
  const { leases, messages, clock } = makeLeases();
  const [one, two] = [take(leases, 1, 9, "shared"), take(leases, 2, 9, "shared")];
  const first = leases.acquire(1, 9, "exclusive", one);
  const second = leases.acquire(2, 9, "exclusive", two);
  await clock.advance(0);
  assert.deepEqual(messages, ["2 9 exclusive"]);
  leases.release(2, 9, two);
  const grant = await first;
  await clock.advance(0);
  assert.deepEqual(messages, ["2 9 exclusive", "1 9 exclusive"]);
  leases.release(1, 9, grant);
  await second;
  assert.ok(leases.has(2, 9, "exclusive"));
});

test("who upgrades behind another loses the shared lease, and keeps its place", async () => {
  const { leases, messages, clock } = makeLeases();
  const one = take(leases, 1, 9, "shared");
  const writer = leases.acquire(3, 9, "exclusive", 0);
  const upgrade = leases.acquire(1, 9, "exclusive", one);
  await clock.advance(0);
  assert.deepEqual(messages, ["1 9 exclusive"]);
  leases.release(1, 9, one);
  leases.release(3, 9, await writer);
  assert.equal(leases.modeOf(1, 9, await upgrade), "exclusive");
});

test("who asks again keeps the place", async () => {
  const { leases } = makeLeases();
  const held = take(leases, 1, 9, "exclusive");
  const waiting = leases.acquire(2, 9, "shared", 0);
  const again = leases.acquire(2, 9, "exclusive", 0);
  leases.release(1, 9, held);
  // The client may have given the lease of the first answer back before it gets the second one.
  const first = await waiting;
  assert.equal(leases.modeOf(2, 9, await again), "exclusive");
  assert.notEqual(await again, first);
  assert.ok(!leases.release(2, 9, first));
});

test("a lease goes on under another grant", () => {
  const { leases } = makeLeases();
  const held = take(leases, 1, 9, "exclusive");
  const renewed = leases.renew(1, 9);
  assert.deepEqual([leases.modeOf(1, 9, held), leases.modeOf(1, 9, renewed!)], [undefined, "exclusive"]);
  assert.equal(leases.renew(2, 9), undefined);
});

test("an answer that was lost or is on its way: the lease stays, and is converted in its turn", async () => {
  const { leases, messages, clock } = makeLeases();
  const lost = take(leases, 1, 9, "shared");
  const other = take(leases, 2, 9, "shared");
  // It wants the exclusive one, and doesn't know that it has the shared one.
  const upgrade = leases.acquire(1, 9, "exclusive", 0);
  await clock.advance(0);
  assert.deepEqual(messages, ["2 9 exclusive"]);
  assert.equal(leases.modeOf(1, 9, lost), "shared");
  leases.release(2, 9, other);
  assert.equal(leases.modeOf(1, 9, await upgrade), "exclusive");
  // An exclusive one stays exclusive, whatever is asked for: it may be in use.
  const exclusive = take(leases, 5, 7, "exclusive");
  assert.equal(leases.modeOf(5, 7, take(leases, 5, 7, "shared", 0)), "exclusive");
  assert.ok(!leases.release(5, 7, exclusive));
});

test("who asks again before the giving back has arrived does not get before those who wait", async () => {
  const { leases, messages, clock } = makeLeases();
  const grant = take(leases, 1, 9, "exclusive");
  const order: string[] = [];
  const other = leases.acquire(2, 9, "exclusive", 0);
  track(order, "other", other);
  track(order, "again", leases.acquire(1, 9, "exclusive", 0));
  await clock.advance(0);
  assert.deepEqual([messages, order], [["1 9 exclusive"], []]);
  assert.ok(leases.release(1, 9, grant));
  leases.release(2, 9, await other);
  await drain();
  assert.deepEqual(order, ["other", "again"]);
});

test("a recall is sent again until the lease is released; those of one turn are one message", async () => {
  const { leases, messages, clock } = makeLeases();
  const grants = [7, 8, 9].map((inode) => take(leases, 1, inode, "exclusive"));
  const waiting = [7, 8, 9].map((inode) => leases.acquire(2, inode, "shared", 0));
  await clock.advance(2_500);
  const all = "1 7 shared, 1 8 shared, 1 9 shared";
  assert.deepEqual(messages, [all, all, all]);
  for (const [index, grant] of grants.entries()) leases.release(1, 7 + index, grant);
  await Promise.all(waiting);
  await clock.advance(5_000);
  assert.equal(messages.length, 3);
});

test("a wait names client, inode, mode and holders", async () => {
  const { leases, waits, clock } = makeLeases();
  take(leases, 1, 9, "exclusive");
  leases.acquire(2, 9, "shared", 0);
  await clock.advance(100);
  const [wait] = waits.list();
  assert.equal(wait!.what, "lease");
  assert.deepEqual(wait!.describe(), { client: "host2", session: 2, inode: 9, mode: "shared", heldBy: "host1" });
  assert.equal(clock.nowMs() - wait!.sinceMs, 100);
});

test("the end of a session gives its leases to those who wait, and fails its own waits", async () => {
  const { leases, waits } = makeLeases();
  take(leases, 1, 9, "exclusive");
  take(leases, 2, 8, "exclusive");
  const next = leases.acquire(2, 9, "shared", 0);
  const gone = leases.acquire(1, 8, "shared", 0);
  assert.equal(waits.list().length, 2);
  leases.drop(1);
  await next;
  await assert.rejects(Promise.resolve(gone), (error) => hasCode(error, "sessionExpired"));
  assert.equal(waits.list().length, 0);
  assert.equal(leases.count(1), 0);
});

test("many at once: what is given back soon is taken, the rest is left out and its place given up", async () => {
  const { leases, messages, clock, lifetime } = makeLeases();
  take(leases, 1, 1, "exclusive");
  const soon = take(leases, 2, 2, "exclusive");
  take(leases, 2, 3, "exclusive");
  const taken = takeSoon(leases, lifetime, { session: 1, inodes: [1, 2, 3, 4], mode: "exclusive", withinMs: 50 });
  await clock.advance(10);
  assert.deepEqual(messages, ["2 2 exclusive, 2 3 exclusive"]);
  leases.release(2, 2, soon);
  await clock.advance(50);
  const grants = await taken;
  assert.deepEqual(
    grants.map((grant) => grant > 0),
    [false, true, false, true],
  );
  assert.ok(leases.has(1, 2, "exclusive") && leases.has(1, 4, "exclusive"));
  // Nobody waits for the third any more.
  assert.ok(leases.takeNow(3, 5, "shared", leases.nextGrant()));
  leases.drop(2);
  assert.ok(!leases.isWanted(3));
});

test("many at once, all to be had: no waiting", async () => {
  const { leases, lifetime } = makeLeases();
  const grants = await takeSoon(leases, lifetime, { session: 1, inodes: [1, 2], mode: "shared", withinMs: 50 });
  assert.ok(leases.modeOf(1, 1, grants[0]!) === "shared" && leases.modeOf(1, 2, grants[1]!) === "shared");
});

test("one of the many is asked for by itself: that answer counts", async () => {
  const { leases, clock, lifetime } = makeLeases();
  const held = take(leases, 2, 2, "exclusive");
  const taken = takeSoon(leases, lifetime, { session: 1, inodes: [2], mode: "shared", withinMs: 50 });
  const asked = leases.acquire(1, 2, "exclusive", 0);
  assert.deepEqual(await taken, [0]);
  leases.release(2, 2, held);
  assert.equal(leases.modeOf(1, 2, await asked), "exclusive");
  await clock.advance(100);
  assert.ok(leases.has(1, 2, "exclusive"));
});

test("nobody takes at once what others wait for", () => {
  const { leases } = makeLeases();
  take(leases, 1, 9, "shared");
  leases.acquire(2, 9, "exclusive", 0);
  assert.ok(!leases.takeNow(3, 9, "shared", leases.nextGrant()));
});

test("covers: the session's own until the creation fails", () => {
  const { leases } = makeLeases();
  leases.cover(1, 9);
  assert.equal(leases.modeOf(1, 9, coverGrant), "exclusive");
  leases.cover(1, 9);
  assert.equal(leases.count(1), 1);
  assert.ok(leases.nextGrant() > coverGrant);
  assert.ok(leases.release(1, 9, coverGrant));
  assert.ok(!leases.isWanted(9));
});

test("after a reconnect only what both sides know is kept", async () => {
  const { leases } = makeLeases();
  const kept = take(leases, 1, 1, "exclusive");
  const returned = take(leases, 1, 2, "exclusive");
  take(leases, 1, 3, "shared");
  take(leases, 3, 4, "exclusive");
  const waiting = leases.acquire(1, 4, "shared", 0);
  leases.release(1, 2, returned);
  const other = take(leases, 2, 2, "exclusive");
  const stated = [
    { inode: 1, mode: "exclusive", grant: kept },
    { inode: 2, mode: "exclusive", grant: returned },
  ] as const;
  leases.restate(1, stated, sameLeader);
  await assert.rejects(Promise.resolve(waiting), (error) => hasCode(error, "closed"));
  assert.ok(leases.has(1, 1, "exclusive"));
  assert.ok(!leases.has(1, 2, "shared"));
  assert.ok(!leases.isWanted(3));
  assert.ok(leases.has(2, 2, "exclusive"));
  assert.ok(other > returned);
});

test("the answer to an upgrade was lost with its connection: the shared lease stands", async () => {
  const { leases } = makeLeases();
  const shared = take(leases, 1, 9, "shared");
  take(leases, 1, 9, "exclusive", shared);
  const waiting = leases.acquire(2, 9, "shared", 0);
  leases.restate(1, [{ inode: 9, mode: "shared", grant: shared }], sameLeader);
  await waiting;
  assert.equal(leases.modeOf(1, 9, shared), "shared");
});

test("a recall that was lost with its connection is sent on the next one", async () => {
  const { leases, messages, clock } = makeLeases();
  const grant = take(leases, 1, 9, "exclusive");
  leases.acquire(2, 9, "shared", 0);
  await clock.advance(0);
  leases.restate(1, [{ inode: 9, mode: "exclusive", grant }], sameLeader);
  await clock.advance(0);
  assert.deepEqual(messages, ["1 9 shared", "1 9 shared"]);
});

test("covers that the leader has not heard of are believed if the inode can be created", () => {
  const { leases } = makeLeases();
  const stated = [7, 8].map((inode) => ({ inode, mode: "exclusive", grant: coverGrant }) as const);
  leases.restate(1, stated, { isKnown: true, isUnborn: (inode) => inode === 7 });
  assert.ok(leases.has(1, 7, "exclusive"));
  assert.ok(!leases.isWanted(8));
});

test("a new leader believes what it is told; of two claims the later grant stands, in either order", () => {
  for (const order of [
    [1, 2],
    [2, 1],
  ]) {
    const { leases } = makeLeases(2);
    for (const session of order) {
      leases.restate(session!, [{ inode: 9, mode: "exclusive", grant: session! * 10 }], newLeader);
    }
    assert.ok(!leases.has(1, 9, "exclusive"));
    assert.ok(leases.has(2, 9, "exclusive"));
    assert.equal(leases.count(1), 0);
  }
});

test("a session with too many leases has its oldest recalled, and gets no more on the side", async () => {
  const { leases, messages, clock } = makeLeases();
  const grant = leases.nextGrant();
  for (let inode = 1; inode <= leaseBounds.keptMax; inode++) leases.takeNow(1, inode, "shared", grant);
  assert.ok(!leases.takeNow(1, leaseBounds.keptMax + 1, "shared", grant));
  take(leases, 1, leaseBounds.keptMax + 1, "shared");
  await clock.advance(0);
  assert.equal(messages.length, 1);
  assert.equal(messages[0]!.split(", ").length, 4096);
  assert.match(messages[0]!, /^1 1 exclusive, 1 2 exclusive/);
});

test("of a session that takes as fast as it gives back always fewer than the bound are kept", async () => {
  const { leases } = makeLeases(1, { keptMax: 10, recalledAtOnce: 2 });
  const has: { inode: number; grant: number }[] = [];
  for (let inode = 1; inode <= 100; inode++) {
    has.push({ inode, grant: take(leases, 1, inode, "shared") });
    assert.ok(leases.limits.keptCount(1) < 10, `${leases.limits.keptCount(1)}`);
    if (leases.count(1) > 12) {
      const oldest = has.shift()!;
      assert.ok(leases.release(1, oldest.inode, oldest.grant));
    }
    // One that was recalled is asked for once more, and goes on.
    if (inode % 7 === 0) has[0]!.grant = leases.renew(1, has[0]!.inode)!;
    assert.ok(leases.limits.keptCount(1) < 10);
  }
});

test("a session that is full waits for some of its own leases, which are recalled", async () => {
  const { leases, messages, clock } = makeLeases(1, { keptMax: 4, recalledAtOnce: 2 });
  for (let inode = 1; inode <= 4; inode++) leases.cover(1, inode);
  assert.ok(leases.limits.isFull(1));
  await clock.advance(0);
  assert.deepEqual(messages, ["1 1 exclusive, 1 2 exclusive"]);
  leases.release(1, 1, coverGrant);
  assert.ok(!leases.limits.isFull(1));
});

test("a session that gives nothing back gets nothing more, and what it waits for counts", async () => {
  const { leases } = makeLeases(1, { keptMax: 4, recalledAtOnce: 2 });
  take(leases, 2, 100, "exclusive");
  take(leases, 2, 101, "exclusive");
  for (let inode = 1; inode <= 6; inode++) take(leases, 1, inode, "shared");
  for (const inode of [100, 101]) assert.ok(leases.acquire(1, inode, "shared", 0) instanceof Promise);
  assert.throws(() => leases.acquire(1, 7, "shared", 0), { code: "busy" });
  assert.equal(leases.count(1), 6);
});

test("what a session is to give back may stand behind what it creates: that stops last", () => {
  const { leases } = makeLeases(1, { keptMax: 4, recalledAtOnce: 2 });
  for (let inode = 1; inode < 12; inode++) leases.cover(1, inode);
  assert.throws(() => leases.acquire(1, 100, "shared", 0), { code: "busy" });
  assert.ok(leases.limits.mayCreate(1));
  leases.cover(1, 12);
  assert.ok(!leases.limits.mayCreate(1));
});

test("grants grow, and those of a later term are above all of an earlier one", () => {
  const first = new Grants(1);
  const [one, two] = [first.next(), first.next()];
  assert.ok(two > one && one > coverGrant);
  assert.ok(new Grants(2).next() > two);
  assert.ok(Number.isSafeInteger(new Grants(2 ** 18 - 1).next()));
  assert.throws(() => new Grants(2 ** 18), { code: "invalid" });
  assert.throws(() => new Grants(0), RangeError);
});

test("terms are used up by starts and restores: that is told while half of them are left, and a restore leaves some to start under", () => {
  assert.equal(termsProblem(2 ** 17 - 1), undefined);
  assert.match(termsProblem(2 ** 17)!, /131071 of 262143 starts are left/);
  let [term, restores] = [1, 0];
  const restoreAgain = () => {
    for (; ; restores++) term = termAfterRestore(term);
  };
  assert.throws(restoreAgain, { code: "invalid", message: /used up/ });
  assert.ok(restores > 250);
  new Grants(term + 1);
});
