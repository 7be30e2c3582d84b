/** LockQueue: order of service, politeness and its end, deadlocks; and random work against what must always hold. */
import { strict as assert } from "node:assert";
import { beforeEach, test } from "node:test";
import fc from "fast-check";
import { wouldDeadlock } from "./deadlock.ts";
import { LockQueue, type LockWait } from "./lock-queue.ts";
import { areOpposed, type LockMode, overlap } from "./range-locks.ts";

/** A fixed seed: a test run must not fail by chance. */
const seed = 20_080_617;

interface Owner {
  readonly name: string;
  readonly process: number;
}

let timers: Set<() => void>;
let grants: number;
let granted: string[];

beforeEach(() => {
  timers = new Set();
  grants = 0;
  granted = [];
});

function makeQueue(): LockQueue<Owner> {
  return new LockQueue<Owner>({
    startTimer: (_, callback) => {
      timers.add(callback);
      return { cancel: () => timers.delete(callback) };
    },
    isSameProcess: (left, right) => left.process === right.process,
    nextGrant: () => ++grants,
  });
}

function patienceEnds(): void {
  for (const callback of [...timers]) if (timers.delete(callback)) callback();
}

function owner(name: string, process = name.charCodeAt(0)): Owner {
  return { name, process };
}

function asked(who: Owner, mode: LockMode, start = 0n, end = 9n): LockWait<Owner> {
  return { owner: who, mode, start, end, granted: () => granted.push(who.name) };
}

const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => owner(name)) as [Owner, Owner, Owner, Owner];

test("a lock that is in nobody's way is granted at once, without and with waiting", () => {
  const queue = makeQueue();
  assert.deepEqual(queue.trySet(asked(a, "shared")), { grant: 1 });
  queue.wait(asked(b, "shared"));
  assert.deepEqual(granted, ["b"]);
  const answer = queue.trySet(asked(c, "exclusive"));
  assert.ok("conflict" in answer && answer.conflict.owner === a);
});

test("those who wait are served in their order, when all is free for them", () => {
  const queue = makeQueue();
  queue.trySet(asked(a, "exclusive"));
  for (const one of [b, c, d]) queue.wait(asked(one, one === d ? "exclusive" : "shared"));
  queue.put({ owner: a, start: 0n, end: 4n }, undefined);
  assert.deepEqual(granted, []);
  queue.put({ owner: a, start: 5n, end: 9n }, undefined);
  assert.deepEqual(granted, ["b", "c"]);
  queue.drop(b);
  assert.deepEqual(granted, ["b", "c"]);
  queue.drop(c);
  assert.deepEqual(granted, ["b", "c", "d"]);
});

test("a lock that is made shared lets the shared ones in", () => {
  const queue = makeQueue();
  queue.trySet(asked(a, "exclusive"));
  queue.wait(asked(b, "shared"));
  queue.trySet(asked(a, "shared"));
  assert.deepEqual(granted, ["b"]);
});

test("a shared lock waits behind an exclusive one that came before, but not for ever", () => {
  const queue = makeQueue();
  queue.trySet(asked(a, "shared"));
  queue.wait(asked(b, "exclusive"));
  queue.wait(asked(c, "shared"));
  assert.deepEqual(granted, []);
  patienceEnds();
  assert.deepEqual(granted, ["c"]);
  queue.drop(c);
  queue.wait(asked(d, "shared"));
  queue.drop(a);
  assert.deepEqual(granted, ["c", "b"]);
  queue.drop(b);
  assert.deepEqual(granted, ["c", "b", "d"]);
  assert.equal(timers.size, 0);
});

test("who asks without waiting passes those who wait", () => {
  const queue = makeQueue();
  queue.trySet(asked(a, "shared"));
  queue.wait(asked(b, "exclusive"));
  assert.ok("grant" in queue.trySet(asked(c, "shared")));
});

test("nobody is polite to who waits for its own process", () => {
  const queue = makeQueue();
  queue.trySet(asked(a, "shared"));
  queue.wait(asked(b, "exclusive"));
  queue.wait(asked(a, "exclusive"));
  assert.deepEqual(granted, ["a"]);
  queue.wait(asked(owner("other", a.process), "shared", 20n, 29n));
  assert.deepEqual(granted, ["a", "other"]);
});

test("a wait that is cancelled lets those behind it go on, and is not granted", () => {
  const queue = makeQueue();
  queue.trySet(asked(a, "shared"));
  const wait = asked(b, "exclusive");
  queue.wait(wait);
  queue.wait(asked(c, "shared"));
  assert.equal(queue.cancel(wait), true);
  assert.equal(queue.cancel(wait), false);
  assert.deepEqual(granted, ["c"]);
});

test("a circle of waits is found across files; one without a knot isn't", () => {
  const [one, two, three] = [makeQueue(), makeQueue(), makeQueue()];
  one.trySet(asked(a, "exclusive"));
  two.trySet(asked(b, "exclusive"));
  three.trySet(asked(c, "shared"));
  three.trySet(asked(d, "shared"));
  const waits = new Map<Owner, { queue: LockQueue<Owner>; request: LockWait<Owner> }[]>();
  const waitsOf = (who: Owner) => waits.get(who) ?? [];
  const tryWait = (queue: LockQueue<Owner>, request: LockWait<Owner>): boolean => {
    if (wouldDeadlock({ queue, request }, waitsOf)) return false;
    waits.set(request.owner, [...waitsOf(request.owner), { queue, request }]);
    queue.wait(request);
    return true;
  };
  assert.ok(tryWait(two, asked(a, "shared")));
  assert.ok(tryWait(three, asked(b, "exclusive")));
  assert.ok(!tryWait(one, asked(c, "shared")));
  assert.ok(!tryWait(one, asked(d, "shared")));
  assert.ok(!tryWait(one, asked(b, "shared")));
  assert.ok(tryWait(one, asked(owner("e"), "shared")));
});

test("random work: no two opposed locks at one byte, nobody waits without a reason, nobody is forgotten", () => {
  const place = fc.integer({ min: 0, max: 11 });
  const step = fc.record({
    who: fc.nat(4),
    what: fc.constantFrom("set", "wait", "wait", "release", "release", "cancel", "patience"),
    mode: fc.constantFrom<LockMode>("shared", "exclusive"),
    from: place,
    to: place,
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      timers = new Set();
      const queue = makeQueue();
      const everybody = ["a", "b", "c", "d", "e"].map((name) => owner(name, name < "c" ? 1 : name.charCodeAt(0)));
      const waiting: LockWait<Owner>[] = [];
      for (const { who, what, mode, from, to } of steps) {
        const range = { start: BigInt(Math.min(from, to)), end: BigInt(Math.max(from, to)) };
        const request: LockWait<Owner> = {
          ...range,
          owner: everybody[who]!,
          mode,
          granted: () => waiting.splice(waiting.indexOf(request), 1),
        };
        if (what === "set") queue.trySet(request);
        else if (what === "release") queue.put(request, undefined);
        else if (what === "cancel" && waiting.length > 0) queue.cancel(waiting.splice(who % waiting.length, 1)[0]!);
        else if (what === "patience") patienceEnds();
        else if (what === "wait") {
          waiting.push(request);
          queue.wait(request);
        }
        check(queue, everybody, waiting);
      }
      for (const one of everybody) queue.held.drop(one);
      for (const one of everybody) queue.drop(one);
      assert.ok(queue.isEmpty);
      assert.equal(timers.size, 0);
    }),
    { numRuns: 500, seed },
  );
});

function check(queue: LockQueue<Owner>, everybody: readonly Owner[], waiting: readonly LockWait<Owner>[]): void {
  for (const one of everybody) {
    for (const other of everybody) {
      if (one === other) continue;
      for (const left of queue.held.of(one)) {
        for (const right of queue.held.of(other)) {
          assert.ok(!overlap(left, right) || !areOpposed(left.mode, right.mode));
        }
      }
    }
  }
  assert.deepEqual(new Set(queue.waits()), new Set(waiting));
  const before: LockWait<Owner>[] = [];
  for (const wait of queue.waits()) {
    const isBehind = before.some((other) => overlap(other, wait) && areOpposed(other.mode, wait.mode));
    assert.ok(isBehind || queue.conflict(wait) !== undefined, `${wait.owner.name} waits for nothing`);
    before.push(wait);
  }
}
