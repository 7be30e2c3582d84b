import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { endOfRange, RangeLock } from "./range-lock.ts";

/** Lets all microtasks run. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test("readers share, writers exclude, in the order of arrival", async () => {
  const lock = new RangeLock();
  const order: string[] = [];
  const take = async (name: string, from: number, to: number, exclusive: boolean) => {
    const unlock = await lock.lock(from, to, exclusive);
    order.push(name);
    return unlock;
  };
  const first = await take("read 1", 0, 100, false);
  const second = await take("read 2", 50, 150, false);
  const writing = take("write", 90, 95, true);
  const late = take("read 3", 94, 96, false);
  const apart = await take("write elsewhere", 200, endOfRange, true);
  await settle();
  assert.deepEqual(order, ["read 1", "read 2", "write elsewhere"]);
  first();
  await settle();
  assert.equal(order.length, 3);
  second();
  (await writing)();
  (await late)();
  apart();
  assert.deepEqual(order.slice(3), ["write", "read 3"]);
  assert.ok(lock.idle);
  assert.throws(apart);
});

test("property: no conflict is ever held, and everybody gets a turn", async () => {
  const claim = fc.record({
    from: fc.nat(50),
    length: fc.integer({ min: 1, max: 30 }),
    exclusive: fc.boolean(),
    turns: fc.nat(4),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(claim, { maxLength: 20 }), async (claims) => {
      const lock = new RangeLock();
      const held = new Set<(typeof claims)[number]>();
      const one = async (own: (typeof claims)[number]) => {
        const unlock = await lock.lock(own.from, own.from + own.length, own.exclusive);
        for (const other of held) {
          const overlap = own.from < other.from + other.length && other.from < own.from + own.length;
          assert.ok(!(overlap && (own.exclusive || other.exclusive)));
        }
        held.add(own);
        for (let turn = 0; turn < own.turns; turn++) await settle();
        held.delete(own);
        unlock();
      };
      await Promise.all(claims.map(one));
      assert.ok(lock.idle);
    }),
    { numRuns: 50 },
  );
});
