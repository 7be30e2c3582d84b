/** Leases under all that can happen: messages that are on their way while others are sent, lost connections, deaths. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import { Grants } from "./grants.ts";
import { leaseBounds } from "./lease-limits.ts";
import { LeaseTable, none } from "./lease-table.ts";
import { Leases } from "./leases.ts";
import { Lifetime } from "./lifetime.ts";
import { type RecallMessage, Recalls } from "./recalls.ts";
import { drain, ManualClock } from "./testing/manual-clock.ts";
import { Waits } from "./waits.ts";

const inode = 9;

/** A client as the catalogue wants it, with queues of messages in both directions. */
class ModelClient {
  readonly session: number;
  mode: LeaseMode | undefined;
  grant = 0;
  asking = false;
  /** What the user wants, until it was had. */
  wanted: LeaseMode | undefined;
  leaving: LeaseMode | undefined;
  earlyRecall: { grant: number; wanted: LeaseMode } | undefined;
  served = 0;
  /** On their way; cut together with the connection. Recalls and releases go ahead of others, or behind them. */
  answers: (() => void)[] = [];
  recalls: (() => void)[] = [];
  requests: (() => void)[] = [];
  releases: (() => void)[] = [];

  constructor(session: number) {
    this.session = session;
  }
}

class World {
  readonly clock = new ManualClock();
  readonly leases: Leases;
  clients: ModelClient[];
  #nextSession = 4;

  constructor() {
    const log = { debug() {}, info() {}, warn() {}, error() {}, for: () => log };
    const lifetime = new Lifetime(this.clock, log);
    const send = (session: number, message: RecallMessage) => {
      const client = this.clients.find((one) => one.session === session);
      client?.recalls.push(() => this.#recalled(client, message));
    };
    this.leases = new Leases({
      lifetime,
      waits: new Waits(lifetime, log, 5_000),
      grants: new Grants(1),
      recalls: new Recalls(lifetime, send),
      recallAgainMs: 1_000,
      bounds: leaseBounds,
      nameOf: String,
    });
    this.clients = [1, 2, 3].map((session) => new ModelClient(session));
  }

  want(client: ModelClient, mode: LeaseMode): void {
    client.wanted = mode;
    this.#advance(client);
  }

  /** A lookup, or a request for many leases, brings one without being asked for it by itself. */
  bring(client: ModelClient, mode: LeaseMode): void {
    const { session } = client;
    client.requests.push(() => {
      const grant = this.leases.nextGrant();
      if (!this.leases.takeNow(session, inode, mode, grant)) return;
      client.answers.push(() => this.#learn(client, grant, mode));
    });
  }

  /** The client doesn't wait for an answer any more. If it was that of its own request, it asks again. */
  giveUp(client: ModelClient): void {
    if (client.answers.shift() === undefined) return;
    client.asking = false;
    this.#advance(client);
  }

  deliver(client: ModelClient, queue: "answers" | "recalls" | "requests" | "releases"): void {
    client[queue].shift()?.();
  }

  deliverAll(client: ModelClient): boolean {
    const queues = ["releases", "requests", "recalls", "answers"] as const;
    const busy = queues.find((queue) => client[queue].length > 0);
    if (busy !== undefined) this.deliver(client, busy);
    return busy !== undefined;
  }

  reconnect(client: ModelClient): void {
    for (const queue of ["answers", "recalls", "requests", "releases"] as const) client[queue] = [];
    client.earlyRecall = undefined;
    const { mode, grant } = client;
    const stated = mode === undefined ? [] : [{ inode, mode, grant }];
    this.leases.restate(client.session, stated, { isKnown: true, isUnborn: () => false });
    client.asking = false;
    this.#advance(client);
  }

  die(client: ModelClient): void {
    this.leases.drop(client.session);
    this.clients[this.clients.indexOf(client)] = new ModelClient(this.#nextSession++);
  }

  check(): void {
    const holders = this.clients.filter((client) => client.mode !== undefined);
    const exclusive = holders.some((client) => client.mode === "exclusive");
    assert.ok(!exclusive || holders.length === 1, "an exclusive lease is shared");
    for (const { session, mode } of holders) assert.ok(this.leases.has(session, inode, mode!), "an unknown lease");
  }

  #advance(client: ModelClient): void {
    const { mode, wanted } = client;
    if (wanted !== undefined && client.leaving === undefined && (mode === wanted || mode === "exclusive")) {
      client.served += 1;
      client.wanted = undefined;
    }
    if (client.leaving !== undefined) this.#giveBack(client, client.leaving);
    if (client.wanted !== undefined && !client.asking) this.#ask(client, client.wanted);
  }

  #ask(client: ModelClient, mode: LeaseMode): void {
    client.asking = true;
    const { session, grant: held } = client;
    const answered = (grant: number) => {
      const given = this.leases.modeOf(session, inode, grant);
      const { answers } = client;
      // A lease that was replaced meanwhile is not answered: the client asks again.
      answers.push(() => {
        client.asking = false;
        if (given !== undefined) this.#learn(client, grant, given);
        else this.#advance(client);
      });
    };
    client.requests.push(() => {
      const granted = this.leases.acquire(session, inode, mode, held);
      if (typeof granted === "number") answered(granted);
      else granted.then(answered, () => {});
    });
  }

  #learn(client: ModelClient, grant: number, mode: LeaseMode): void {
    client.mode = mode;
    client.grant = grant;
    client.leaving = undefined;
    const early = client.earlyRecall;
    client.earlyRecall = undefined;
    // Each grant serves once, even if it was recalled already.
    this.#advance(client);
    if (early?.grant === grant) this.#leave(client, early.wanted);
  }

  #recalled(client: ModelClient, { leases }: RecallMessage): void {
    for (const { grant, wanted } of leases) {
      // Only the first recall can overtake the answer.
      if (client.earlyRecall?.grant === grant) while (client.answers.length > 0) this.deliver(client, "answers");
      if (client.mode !== undefined && client.grant === grant) this.#leave(client, wanted);
      else if (client.earlyRecall?.grant !== grant) client.earlyRecall = { grant, wanted };
      // What it has of an earlier grant goes first; it is recalled once more.
      else if (client.mode !== undefined) this.#leave(client, "exclusive");
      else client.releases.push(() => void this.leases.release(client.session, inode, grant));
    }
  }

  #leave(client: ModelClient, wanted: LeaseMode): void {
    if (wanted === "shared" && client.mode === "shared") return;
    client.leaving = wanted;
    this.#advance(client);
  }

  #giveBack(client: ModelClient, wanted: LeaseMode): void {
    const { session, grant } = client;
    const keepShared = wanted === "shared";
    client.leaving = undefined;
    client.mode = keepShared ? "shared" : undefined;
    if (!keepShared) client.grant = 0;
    client.releases.push(() => void this.leases.release(session, inode, grant, keepShared));
  }
}

test("whatever clients do, an exclusive lease is alone and everyone gets a turn", async () => {
  const step = fc.record({
    client: fc.integer({ min: 0, max: 2 }),
    action: fc.oneof(
      { weight: 10, arbitrary: fc.constantFrom("answers", "recalls", "requests", "releases", "time") },
      { weight: 4, arbitrary: fc.constantFrom("shared", "exclusive") },
      { weight: 1, arbitrary: fc.constantFrom("bringShared", "bringExclusive", "reconnect", "giveUp") },
    ),
    dies: fc.integer({ min: 0, max: 30 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 150, size: "max" }), async (steps) => {
      const world = new World();
      for (const { client: at, action, dies } of steps) {
        const client = world.clients[at]!;
        if (dies === 0) world.die(client);
        else if (action === "shared" || action === "exclusive") world.want(client, action);
        else if (action === "time") await world.clock.advance(0);
        else if (action === "reconnect") world.reconnect(client);
        else if (action === "giveUp") world.giveUp(client);
        else if (action === "bringShared") world.bring(client, "shared");
        else if (action === "bringExclusive") world.bring(client, "exclusive");
        else world.deliver(client, action);
        world.check();
        await drain(20);
        world.check();
      }
      // In the end all messages arrive, and all who wait are served.
      for (let round = 0; round < 30; round++) {
        for (const client of world.clients) {
          while (world.deliverAll(client)) await drain(20);
          world.check();
        }
        await world.clock.advance(500);
      }
      assert.ok(
        world.clients.every((client) => client.wanted === undefined),
        "somebody waits for ever",
      );
    }),
    { numRuns: 200 },
  );
});

test("the table is what a plain list of leases would be", () => {
  const step = fc.record({
    session: fc.integer({ min: 1, max: 4 }),
    inode: fc.constantFrom(1, 2, 257, 258, 2 ** 40 + 1, 2 ** 52),
    exclusive: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), fc.integer({ min: 0, max: 600 }), (steps, others) => {
      const table = new LeaseTable(() => 0);
      // So many that the table grows.
      for (let at = 0; at < others; at++) table.add(9, 10_000 + at, 1, "shared");
      const list: { session: number; inode: number; grant: number; mode: LeaseMode }[] = [];
      for (const [grant, { session, inode, exclusive }] of steps.entries()) {
        const slot = table.find(session, inode);
        const at = list.findIndex((one) => one.session === session && one.inode === inode);
        assert.equal(slot === none, at < 0);
        const mode = exclusive ? "exclusive" : "shared";
        if (slot === none) {
          table.add(session, inode, grant, mode);
          list.push({ session, inode, grant, mode });
        } else {
          assert.deepEqual([table.grant(slot), table.mode(slot)], [list[at]!.grant, list[at]!.mode]);
          table.remove(slot);
          list.splice(at, 1);
        }
        for (const number of [1, 2, 3, 4]) {
          const own = list.filter((one) => one.session === number).map((one) => one.inode);
          assert.equal(table.count(number), own.length);
          assert.deepEqual(
            [...table.ofSession(number)].map((one) => table.inode(one)),
            own,
          );
        }
        const sessions: number[] = [];
        for (let one = table.first(inode); one !== none; one = table.next(one)) sessions.push(table.session(one));
        const expected = list.filter((one) => one.inode === inode).map((one) => one.session);
        assert.deepEqual(sessions.sort(), expected.sort());
      }
    }),
    { numRuns: 200 },
  );
});
