/** Looking for the leader: at all addresses at once, with what servers say of others; none that is gone or outdated is in the way. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { BrineError } from "../errors/brine-error.ts";
import type { Address } from "../platform/network.ts";
import type { ServerPeer } from "./connect.ts";
import { KnownLeaders, leadersMax } from "./known-leaders.ts";
import { KnownTerm, noLedger } from "./known-term.ts";
import { LeaderSearch } from "./leader-search.ts";
import { settle, testPlatform } from "./testing/memory-network.ts";

interface FakeOptions {
  readonly term?: number;
  readonly knows?: Address[];
  /** Of what it knows. */
  readonly asOf?: number;
}

class FakeServer {
  readonly peer: ServerPeer;
  /** Why its connection was ended. */
  closed: string | undefined;

  constructor(address: Address, { term = 0, knows = [], asOf = term }: FakeOptions) {
    const peer = {
      remote: { address },
      term,
      keepers: { term: asOf, addresses: knows },
      closed: false,
      close: (reason: string) => {
        this.closed ??= reason;
      },
    };
    this.peer = peer as unknown as ServerPeer;
  }
}

class Setup {
  readonly platform = testPlatform();
  readonly leaders: KnownLeaders;
  readonly known: KnownTerm;
  readonly search: LeaderSearch;
  readonly asked: Address[] = [];
  readonly servers = new Map<Address, FakeServer | Promise<FakeServer>>();

  constructor(given: readonly Address[], term = 0, others: () => Address[] = () => []) {
    this.leaders = new KnownLeaders(given, () => {}, others);
    this.known = new KnownTerm(this.platform.logger, { ...noLedger, term });
    this.search = new LeaderSearch({
      ...{ platform: this.platform, leaders: this.leaders, known: this.known },
      connect: async (address) => {
        this.asked.push(address);
        const server = await this.servers.get(address);
        if (server === undefined) throw new BrineError("unreachable", `nobody listens at ${address}`);
        return server.peer;
      },
    });
  }

  server(address: Address, options: FakeOptions = {}): FakeServer {
    const server = new FakeServer(address, options);
    this.servers.set(address, server);
    return server;
  }

  /** One that answers nothing, until it is told to. */
  silent(address: Address): (options: FakeOptions) => FakeServer {
    const answer = Promise.withResolvers<FakeServer>();
    this.servers.set(address, answer.promise);
    return (options) => {
      const server = new FakeServer(address, options);
      answer.resolve(server);
      return server;
    };
  }

  /** Addresses that a whole round hands out; it ends with the one that is wanted. */
  async round(wanted?: Address): Promise<Address[]> {
    const found: Address[] = [];
    const run = (async () => {
      for await (const { remote } of this.search.round()) {
        found.push(remote.address);
        if (remote.address === wanted) return;
      }
    })();
    for (let left = 20; left > 0; left--) await this.platform.clock.advance(25);
    await run;
    return found;
  }
}

test("what a leader names comes first; what a person said stays, and the last of what leaders before it named", () => {
  const changes: (readonly Address[])[] = [];
  const leaders = new KnownLeaders(["given:1"], (addresses) => changes.push(addresses));
  assert.deepEqual(leaders.addresses, ["given:1"]);
  leaders.named("a:1", ["a:1", "b:1"]);
  leaders.named("a:1", ["a:1", "b:1"]);
  leaders.hinted(["c:1", "b:1"]);
  assert.deepEqual(leaders.addresses, ["a:1", "b:1", "c:1", "given:1"]);
  leaders.named("b:1", ["b:1", "d:1"]);
  assert.deepEqual(leaders.addresses, ["b:1", "d:1", "given:1", "a:1"]);
  leaders.named("given:1", []);
  assert.deepEqual(leaders.addresses, ["given:1", "b:1", "d:1", "a:1"]);
  assert.deepEqual(changes, [["a:1", "b:1", "given:1"], ["b:1", "d:1", "given:1"], ["given:1"]]);
  for (let count = 0; count < 20; count++) leaders.hinted([`${count}:1`]);
  assert.equal(leaders.addresses.length, 8);
  for (let count = 0; count < 20; count++) leaders.named(`${count}:1`, [`${count}:1`, `${count}:2`]);
  assert.deepEqual(leaders.addresses, ["19:1", "19:2", "given:1", "18:1", "18:2", "17:1", "17:2"]);
});

test("what a leader names is news also where others have hinted at it, and is bounded with what was given", () => {
  const changes: (readonly Address[])[] = [];
  const given = Array.from({ length: leadersMax }, (_, count) => `given:${count}`);
  const leaders = new KnownLeaders(given, (addresses) => changes.push(addresses));
  leaders.hinted(["a:1", "b:1"]);
  leaders.named("a:1", ["a:1", "b:1"]);
  assert.deepEqual(changes, [["a:1", "b:1", ...given.slice(0, leadersMax - 2)]]);
});

test("a server that answers nothing delays nobody, and is not wanted any more when it answers late", async () => {
  const setup = new Setup(["dead:1", "leader:1"]);
  const answer = setup.silent("dead:1");
  setup.server("leader:1", { term: 4 });
  const beganMs = setup.platform.clock.nowMs();
  for await (const { remote } of setup.search.round()) {
    assert.equal(remote.address, "leader:1");
    break;
  }
  assert.equal(setup.platform.clock.nowMs(), beganMs);
  const late = answer({ term: 3 });
  await settle();
  assert.match(late.closed!, /another server leads/);
  assert.equal(setup.platform.clock.timerCount, 0);
});

test("who is slower than a round is handed out in the next one, and not asked twice", async () => {
  const setup = new Setup(["slow:1", "gone:1"]);
  const answer = setup.silent("slow:1");
  assert.deepEqual(await setup.round(), []);
  assert.deepEqual(
    setup.search.failures.map(({ address }) => address),
    ["gone:1"],
  );
  answer({ term: 1 });
  await settle();
  assert.deepEqual(await setup.round("slow:1"), ["slow:1"]);
  assert.deepEqual(setup.asked.sort(), ["gone:1", "gone:1", "slow:1"]);
});

test("an outdated leader is not handed out; of several the one with the highest term comes first", async () => {
  const setup = new Setup(["old:1", "one:1", "two:1"], 5);
  const old = setup.server("old:1", { term: 4 });
  setup.server("one:1", { term: 5 });
  setup.server("two:1", { term: 6 });
  assert.deepEqual(await setup.round(), ["two:1", "one:1"]);
  assert.match(old.closed!, /doesn't lead/);
  // The first one is met: the other one is outdated then.
  const found: Address[] = [];
  for await (const peer of setup.search.round()) {
    found.push(peer.remote.address);
    setup.known.met(peer);
  }
  assert.deepEqual(found, ["two:1"]);
});

test("hints of servers that don't lead are followed at once, unless they are older than the leader that is known", async () => {
  const setup = new Setup(["copy:1", "lost:1"], 7);
  setup.server("copy:1", { asOf: 8, knows: ["leader:1", "copy:1"] });
  setup.server("lost:1", { asOf: 6, knows: ["other:1"] });
  setup.server("other:1", { term: 9 });
  setup.server("leader:1", { term: 8 });
  assert.deepEqual(await setup.round("leader:1"), ["leader:1"]);
  assert.ok(!setup.asked.includes("other:1"));
});

test("leader and copy were replaced, and then their followers: any server that is still there knows where the leader is", async () => {
  for (const alive of ["first:1", "store:2"]) {
    const setup = new Setup(["given:1"], 0, () => ["store:1", "store:2"]);
    setup.known.met({ term: 3 });
    setup.leaders.named("first:1", ["first:1", "copy:1"]);
    setup.leaders.named("copy:1", ["copy:1", "second:1"]);
    setup.server(alive, { asOf: 5, knows: ["third:1", "fourth:1"] });
    setup.server("fourth:1", { term: 5 });
    assert.deepEqual(await setup.round("fourth:1"), ["fourth:1"], alive);
  }
});

test("when nobody looks any more, nothing is left", async () => {
  const setup = new Setup(["silent:1", "waiting:1"]);
  const answer = setup.silent("silent:1");
  const round = setup.search.round();
  const first = round.next();
  await settle();
  setup.search.stop();
  const late = answer({ term: 1 });
  assert.equal((await first).done, true);
  await settle();
  assert.ok(late.closed !== undefined);
  assert.deepEqual([(await setup.search.round().next()).done, setup.platform.clock.timerCount], [true, 0]);
});
