/** The states of leases, with a leader that answers when the test says so. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { Platform } from "../platform/platform.ts";
import { testPlatform } from "../wire/testing/memory-network.ts";
import { Leases } from "./leases.ts";
import { ReadAheadBudget } from "./read-ahead-cache.ts";
import type { Session } from "./session.ts";
import { Operation } from "./waits.ts";

const operation = new Operation("test", 1, 0);
const settle = () => new Promise((resolve) => setImmediate(resolve));

interface Asked {
  readonly name: string;
  readonly body: { inode?: number; mode?: string; inodes?: number[] };
  answer(): void;
}

function make(answerAtOnce: boolean) {
  const asked: Asked[] = [];
  const platform = testPlatform();
  let grant = 0;
  const request = (method: { name: string }, body: Asked["body"]) =>
    new Promise((resolve) => {
      const attributes = { size: 0 };
      const granted = { grant: ++grant, attributes, mappings: [], mappedBelow: 2 ** 32 - 1 };
      const one: Asked = { name: method.name, body, answer: () => resolve(granted) };
      asked.push(one);
      if (answerAtOnce) one.answer();
    });
  const session = { id: 1, live: true, ended: false, request } as unknown as Session;
  const leases = new Leases(platform as Platform, session, new ReadAheadBudget());
  const names = () => asked.map(({ name, body }) => `${name.slice(7)} ${body.mode ?? body.inodes}`);
  return { asked, names, leases, platform };
}

test("a recall that overtakes the grant: who waits is served once, then it is given back", async () => {
  const { asked, names, leases } = make(false);
  const using = leases.use(5, "exclusive", operation);
  leases.recall(5);
  const later = leases.use(5, "shared", operation);
  asked[0]!.answer();
  const data = await using;
  const second = await later;
  assert.equal(second, data);
  assert.deepEqual(names(), ["acquireLease exclusive"]);
  leases.done(data);
  leases.done(second);
  await settle();
  assert.deepEqual(names(), ["acquireLease exclusive", "releaseLeases 5"]);
  assert.equal(leases.holdings().length, 1);
  const again = leases.use(5, "shared", operation);
  await settle();
  assert.equal(asked.length, 2, "nothing is asked for before the giving back is answered");
  asked[1]!.answer();
  await settle();
  assert.equal(leases.holdings().length, 0);
  asked[2]!.answer();
  assert.notEqual(await again, data);
});

test("an upgrade gives back first, and is asked for once for all who wait", async () => {
  const { asked, names, leases } = make(true);
  const reading = await leases.use(5, "shared", operation);
  const writers = [leases.use(5, "exclusive", operation), leases.use(5, "exclusive", operation)];
  const reader = leases.use(5, "shared", operation);
  await settle();
  assert.equal(asked.length, 1);
  leases.done(reading);
  const got = await Promise.all([...writers, reader]);
  assert.equal(new Set(got).size, 1);
  assert.deepEqual(names(), ["acquireLease shared", "releaseLeases 5", "acquireLease exclusive"]);
  assert.throws(() => leases.done(reading));
});

test("a recall of what isn't held is answered, and holds up who wants it until it is", async () => {
  const { asked, names, leases } = make(false);
  leases.recall(9);
  const using = leases.use(9, "shared", operation);
  await settle();
  assert.deepEqual(names(), ["releaseLeases 9"]);
  asked[0]!.answer();
  await settle();
  asked[1]!.answer();
  await using;
});

test("there are not too many, and idle ones go", async () => {
  const { leases, platform } = make(true);
  for (let inode = 1; inode <= 10_300; inode++) leases.done(await leases.use(inode, "shared", operation));
  await settle();
  assert.ok(leases.count <= 10_000, `${leases.count}`);
  assert.ok(!leases.holdings().some(({ inode }) => inode === 1), "the longest unused go first");
  const kept = await leases.use(7000, "shared", operation);
  await platform.clock.advance(80_000);
  await settle();
  assert.deepEqual(
    leases.holdings().map(({ inode }) => inode),
    [7000],
  );
  leases.done(kept);
  await leases.giveBackAll();
  assert.equal(leases.count, 0);
});
