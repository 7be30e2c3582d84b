/** Grants of quota at the leader: what is left, what was said, and what is on its way. Two clients by hand. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { GrantAnswer } from "./quota-grants.ts";
import { type Client, Harness } from "./testing/harness.ts";
import { drain } from "./testing/manual-clock.ts";

const account = { uid: 7, gid: 7, tree: 0 };
const nothing = { bytes: 0, inodes: 0 };

async function setUp(limits: { bytes?: number; inodes?: number }) {
  const harness = await Harness.start();
  const stores = [await harness.addStore("a"), await harness.addStore("b")];
  await harness.addVolume("home", 2);
  const clients = [await harness.mount("one", "home"), await harness.mount("two", "home")] as const;
  /** What each says in a recall; undefined: nothing at all. */
  const said = new Map<Client, { seen: number; bytes: number } | undefined>();
  for (const client of clients) answering(client, said);
  const request = { volume: "home", kind: "user", id: 7, path: "", ends: false } as const;
  await harness.parts.quotas.set({ ...request, limits: { bytes: limits.bytes, inodes: limits.inodes } });
  const ask = async (client: Client, has: number, needed: number, { ahead = 0, seen = 0, recall = false } = {}) => {
    const held = { account, seen, amount: { ...nothing, bytes: has } };
    return harness.parts.quotaGrants.ask(client.session, {
      ...{ held, recall },
      needed: { ...nothing, bytes: needed },
      ahead: { ...nothing, bytes: ahead },
    });
  };
  const granted = () => harness.parts.quotaGrants.granted(1, "user", 7).bytes;
  return { harness, stores, clients, said, ask, granted };
}

function answering(client: Client, said: Map<Client, { seen: number; bytes: number } | undefined>): void {
  const before = client.peer.answer;
  client.peer.answer = (name, body) => {
    if (name !== "client.recallQuota") return before(name, body);
    const has = said.get(client);
    return { held: has === undefined ? [] : [{ account, seen: has.seen, amount: { bytes: has.bytes, inodes: 0 } }] };
  };
}

const bytesOf = ({ bytes }: GrantAnswer) => bytes;

test("what is needed is granted in full, ahead of need an eighth of what is left, in whole blocks", async () => {
  const { clients, ask, granted } = await setUp({ bytes: 1_000_000 });
  const [one, two] = clients;
  assert.equal(bytesOf(await ask(one, 0, 100_000)), 100_000);
  assert.equal(bytesOf(await ask(two, 0, 0, { ahead: 1_000_000 })), 27 * 4096);
  assert.equal(granted(), 100_000 + 27 * 4096);
  assert.equal(bytesOf(await ask(two, 27 * 4096, 2_000_000, { seen: 1 })), 900_000 - 27 * 4096);
  assert.equal(bytesOf(await ask(one, 100_000, 1, { seen: 1 })), 0);
  const { inodes } = await ask(one, 100_000, 0, { seen: 2 });
  assert.equal(inodes, undefined);
});

test("what a client says it has replaces what was known; an answer that it never saw is gone when it asks again", async () => {
  const { harness, clients, ask, granted } = await setUp({ bytes: 1000 });
  const [one] = clients;
  assert.equal((await ask(one, 0, 600)).number, 1);
  assert.equal(bytesOf(await ask(one, 0, 600)), 600);
  assert.equal(granted(), 600);
  // It has committed half of it.
  assert.equal(bytesOf(await ask(one, 300, 100, { seen: 2 })), 100);
  assert.equal(granted(), 400);
  const { quotaGrants } = harness.parts;
  const state = (seen: number, bytes: number) =>
    quotaGrants.restate(one.session, [{ account, seen, amount: { bytes, inodes: 0 } }]);
  // After a reconnect the last answer may still be read, or not: it counts.
  state(2, 300);
  assert.equal(granted(), 400);
  state(3, 400);
  assert.equal(granted(), 400);
  quotaGrants.restate(one.session, []);
  assert.equal(granted(), 0);
  state(9, 50);
  assert.equal((await ask(one, 50, 1, { seen: 9 })).number, 10);
  quotaGrants.drop(one.session.id);
  assert.equal(granted(), 0);
});

test("a recall: who has something says what it keeps; what is on its way to it counts", async () => {
  const { clients, said, ask, granted } = await setUp({ bytes: 1000 });
  const [one, two] = clients;
  await ask(one, 0, 800);
  said.set(one, { seen: 0, bytes: 0 });
  said.set(two, { seen: 0, bytes: 0 });
  assert.equal(bytesOf(await ask(two, 0, 500, { recall: true })), 200);
  assert.equal(granted(), 1000);
  said.set(one, { seen: 1, bytes: 300 });
  said.set(two, { seen: 1, bytes: 200 });
  assert.equal(bytesOf(await ask(two, 200, 500, { seen: 1, recall: true })), 500);
  assert.equal(granted(), 1000);
});

test("a client that doesn't answer is waited for until its session has ended; others get what they need meanwhile", async () => {
  const { harness, clients, ask, granted, stores } = await setUp({ bytes: 1000 });
  const [one, two] = clients;
  await ask(one, 0, 800);
  one.peer.answer = () => new Promise(() => {});
  let answer: GrantAnswer | undefined;
  void ask(two, 0, 500, { recall: true }).then((given) => {
    answer = given;
  });
  await harness.pass(9_000, { stores, sessions: [two] });
  assert.equal(answer, undefined);
  assert.ok(harness.leader.waits.list().some(({ what }) => what === "a client, to give back quota"));
  await harness.pass(5_000, { stores, sessions: [two] });
  assert.equal(bytesOf(answer!), 500);
  assert.equal(granted(), 500);
});

test("who comes while a round goes on waits for the next: what it has committed before counts", async () => {
  const { clients, said, ask } = await setUp({ bytes: 1000 });
  const [one, two] = clients;
  await ask(one, 0, 1000);
  const gate = Promise.withResolvers<void>();
  let rounds = 0;
  one.peer.answer = async () => {
    rounds += 1;
    if (rounds === 1) await gate.promise;
    return { held: [{ account, seen: 1, amount: { bytes: rounds === 1 ? 1000 : 0, inodes: 0 } }] };
  };
  const first = ask(two, 0, 10, { recall: true });
  await drain();
  said.set(two, undefined);
  const second = ask(one, 1000, 10, { seen: 1, recall: true });
  gate.resolve();
  assert.equal(bytesOf(await first), 0);
  assert.equal(bytesOf(await second), 10);
  assert.equal(rounds, 2);
});

test("before it is refused, who asks says, too, what it has for other owners and groups under the limit", async () => {
  const { harness, clients, ask, granted } = await setUp({ bytes: 1000 });
  const [one] = clients;
  const other = { ...account, gid: 8 };
  const request = { held: { account: other, seen: 0, amount: nothing }, ahead: nothing, recall: false };
  const given = await harness.parts.quotaGrants.ask(one.session, { ...request, needed: { ...nothing, bytes: 600 } });
  assert.equal(bytesOf(given), 600);
  assert.equal(bytesOf(await ask(one, 0, 500)), 400);
  // What it had taken of the other's it has committed, or didn't use.
  one.peer.answer = async () => ({
    held: [
      { account, seen: 1, amount: { bytes: 400, inodes: 0 } },
      { account: other, seen: 1, amount: nothing },
    ],
  });
  assert.equal(bytesOf(await ask(one, 400, 500, { seen: 1, recall: true })), 500);
  assert.equal(granted(), 900);
});
