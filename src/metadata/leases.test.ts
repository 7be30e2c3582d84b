import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { hasCode } from "../errors/brine-error.ts";
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import { Grants } from "./grants.ts";
import { Leases } from "./leases.ts";
import { Lifetime } from "./lifetime.ts";
import { drain, ManualClock } from "./testing/manual-clock.ts";
import { Waits } from "./waits.ts";

function makeLeases(term = 1) {
  const clock = new ManualClock();
  const log = { debug() {}, info() {}, warn() {}, error() {}, for: () => log };
  const lifetime = new Lifetime(clock, log);
  const waits = new Waits(lifetime, log, 5_000);
  const recalls: string[] = [];
  const recall = (session: number, inode: number) => void recalls.push(`${session} ${inode}`);
  const leases = new Leases({ lifetime, waits, grants: new Grants(term), recall, recallAgainMs: 1_000 });
  return { leases, recalls, waits, clock };
}

/** Collects the order in which promises resolve. */
function track(order: string[], name: string, promise: Promise<number>): void {
  promise.then(
    () => order.push(name),
    (error) => order.push(`${name} failed: ${error.code}`),
  );
}

test("shared leases stand beside each other, an exclusive one alone", async () => {
  const { leases, recalls } = makeLeases();
  const order: string[] = [];
  track(order, "a", leases.acquire(1, 9, "shared"));
  track(order, "b", leases.acquire(2, 9, "shared"));
  track(order, "c", leases.acquire(3, 9, "exclusive"));
  await drain();
  assert.deepEqual(order, ["a", "b"]);
  assert.deepEqual(recalls, ["1 9", "2 9"]);
  leases.release(1, [9]);
  await drain();
  assert.deepEqual(order, ["a", "b"]);
  leases.release(2, [9]);
  await drain();
  assert.deepEqual(order, ["a", "b", "c"]);
  assert.ok(leases.has(3, 9, "exclusive"));
});

test("the queue is served in order, and readers behind a writer wait", async () => {
  const { leases } = makeLeases();
  const order: string[] = [];
  track(order, "first reader", leases.acquire(1, 9, "shared"));
  track(order, "writer", leases.acquire(2, 9, "exclusive"));
  track(order, "second reader", leases.acquire(3, 9, "shared"));
  track(order, "third reader", leases.acquire(4, 9, "shared"));
  await drain();
  assert.deepEqual(order, ["first reader"]);
  leases.release(1, [9]);
  await drain();
  assert.deepEqual(order, ["first reader", "writer"]);
  leases.release(2, [9]);
  await drain();
  assert.deepEqual(order, ["first reader", "writer", "second reader", "third reader"]);
});

test("two that hold shared leases and want exclusive ones both get them, one after the other", async () => {
  const { leases } = makeLeases();
  await leases.acquire(1, 9, "shared");
  await leases.acquire(2, 9, "shared");
  const order: string[] = [];
  // An upgrade is a giving back and a new taking.
  leases.release(1, [9]);
  track(order, "one", leases.acquire(1, 9, "exclusive"));
  leases.release(2, [9]);
  track(order, "two", leases.acquire(2, 9, "exclusive"));
  await drain();
  assert.deepEqual(order, ["one"]);
  leases.release(1, [9]);
  await drain();
  assert.deepEqual(order, ["one", "two"]);
});

test("who asks again keeps the place, and a lost grant is replaced by a new one", async () => {
  const { leases } = makeLeases();
  const lost = await leases.acquire(1, 9, "exclusive");
  const again = await leases.acquire(1, 9, "exclusive");
  assert.ok(again > lost);
  const waiting = leases.acquire(2, 9, "shared");
  assert.equal(leases.acquire(2, 9, "exclusive"), waiting);
  leases.release(1, [9]);
  await waiting;
  assert.ok(leases.has(2, 9, "exclusive"));
});

test("a recall is sent again until the lease is released", async () => {
  const { leases, recalls, clock } = makeLeases();
  await leases.acquire(1, 9, "exclusive");
  const waiting = leases.acquire(2, 9, "shared");
  await clock.advance(2_500);
  assert.deepEqual(recalls, ["1 9", "1 9", "1 9"]);
  leases.release(1, [9]);
  await waiting;
  await clock.advance(5_000);
  assert.equal(recalls.length, 3);
});

test("the end of a session gives its leases to those who wait, and fails its own waits", async () => {
  const { leases, waits } = makeLeases();
  await leases.acquire(1, 9, "exclusive");
  await leases.acquire(2, 8, "exclusive");
  const next = leases.acquire(2, 9, "shared");
  const gone = leases.acquire(1, 8, "shared");
  assert.equal(waits.list().length, 2);
  leases.drop(1);
  await next;
  await assert.rejects(gone, (error) => hasCode(error, "sessionExpired"));
  assert.equal(waits.list().length, 0);
  assert.equal(leases.count(1), 0);
});

test("after a reconnect only what both sides know is kept", async () => {
  const { leases } = makeLeases();
  const kept = await leases.acquire(1, 1, "exclusive");
  const returned = await leases.acquire(1, 2, "exclusive");
  await leases.acquire(1, 3, "shared");
  const waiting = leases.acquire(1, 4, "shared");
  leases.release(1, [2]);
  const stated = [
    { inode: 1, mode: "exclusive", grant: kept },
    { inode: 2, mode: "exclusive", grant: returned },
  ] as const;
  const other = await leases.acquire(2, 2, "exclusive");
  await waiting;
  leases.restate(1, stated, true);
  assert.ok(leases.has(1, 1, "exclusive"));
  assert.ok(!leases.has(1, 2, "shared"));
  assert.ok(!leases.has(1, 3, "shared"));
  assert.ok(leases.has(2, 2, "exclusive"));
  assert.ok(other > returned);
});

test("a new leader believes what it is told; of two claims the later grant stands, in either order", () => {
  for (const order of [
    [1, 2],
    [2, 1],
  ]) {
    const { leases } = makeLeases(2);
    for (const session of order) {
      leases.restate(session!, [{ inode: 9, mode: "exclusive", grant: session! * 10 }], false);
    }
    assert.ok(!leases.has(1, 9, "exclusive"));
    assert.ok(leases.has(2, 9, "exclusive"));
    assert.equal(leases.count(1), 0);
  }
});

test("grants grow, and those of a later term are above all of an earlier one", () => {
  const first = new Grants(1);
  const [one, two] = [first.next(), first.next()];
  assert.ok(two > one);
  assert.ok(new Grants(2).next() > two);
  assert.ok(Number.isSafeInteger(new Grants(2 ** 20 - 1).next()));
  assert.throws(() => new Grants(2 ** 20), RangeError);
});

/** A client that keeps to the rules of the catalogue, with messages that are on their way for a while. */
class ModelClient {
  readonly session: number;
  mode: LeaseMode | undefined;
  asking = false;
  recalled = false;
  granted = 0;

  constructor(session: number) {
    this.session = session;
  }
}

test("whatever clients do, an exclusive lease is alone and everyone gets a turn", async () => {
  const step = fc.record({
    client: fc.integer({ min: 0, max: 2 }),
    action: fc.constantFrom("shared", "exclusive", "finish", "reconnect", "die"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const { leases, clock } = makeLeases();
      let nextSession = 1;
      const clients = [0, 1, 2].map(() => new ModelClient(nextSession++));
      const grants = new Map<number, number>();
      const ask = (client: ModelClient, mode: LeaseMode) => {
        client.asking = true;
        const { session } = client;
        leases.acquire(session, 9, mode).then(
          (grant) => {
            if (client.session !== session) return;
            [client.mode, client.asking] = [mode, false];
            client.granted += 1;
            grants.set(session, grant);
          },
          () => {
            client.asking = false;
          },
        );
      };
      const finish = (client: ModelClient) => {
        client.mode = undefined;
        leases.release(client.session, [9]);
      };
      const check = () => {
        const holders = clients.filter((client) => client.mode !== undefined);
        const exclusive = holders.some((client) => client.mode === "exclusive");
        assert.ok(!exclusive || holders.length === 1, "an exclusive lease is shared");
      };
      for (const { client: at, action } of steps) {
        const client = clients[at]!;
        if (action === "shared" || action === "exclusive") {
          if (client.mode === undefined && !client.asking) ask(client, action);
        } else if (action === "finish") {
          if (client.mode !== undefined) finish(client);
        } else if (action === "reconnect") {
          const held = client.mode;
          const stated = held === undefined ? [] : [{ inode: 9, mode: held, grant: grants.get(client.session)! }];
          leases.restate(client.session, stated, true);
        } else {
          leases.drop(client.session);
          clients[at] = new ModelClient(nextSession++);
        }
        check();
        await drain();
        check();
      }
      // In the end everyone finishes, and all who wait are served.
      for (let round = 0; round < 10; round++) {
        for (const client of clients) if (client.mode !== undefined) finish(client);
        await clock.advance(1);
        check();
      }
      assert.ok(clients.every((client) => !client.asking && client.mode === undefined));
    }),
    { numRuns: 100 },
  );
});
