/** When the leader acknowledges an entry: with its copy, or alone by the rules. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import type { BrineError } from "../../errors/brine-error.ts";
import { MemoryDisk } from "../../store/testing/memory-disk.ts";
import { appendEntries, attachCopy, type LedgerRule, replaceState } from "../../wire/catalogue/ledger.ts";
import { listenPeers } from "../../wire/listen.ts";
import { Service } from "../../wire/service.ts";
import { settle, testPlatform } from "../../wire/testing/memory-network.ts";
import { FileLedger } from "../file/file-ledger.ts";
import { CopiedLedger } from "./copied-ledger.ts";
import { defaultCopyTimeouts, graceMs } from "./copy-timeouts.ts";
import { FakeCopy, stateOf } from "./testing/fake-copy.ts";
import { Voter } from "./voter.ts";

const clusterId = "c".repeat(32);
const [own, other] = [
  { serverId: "first", address: "a:1" },
  { serverId: "second", address: "b:1" },
];

/** A leader that led alone, and a server that becomes its copy; no witness. */
class Pair {
  readonly platform = {
    ...testPlatform(),
    disk: new MemoryDisk(),
    random: { bytes: (length: number) => Buffer.alloc(length, 7), below: () => 0 },
  };
  readonly copy = new FakeCopy();
  ledger!: CopiedLedger;
  voter!: Voter;
  copyVoter!: Voter;
  lost: BrineError | undefined;
  /** Where the ledger was, each time that this was told. */
  readonly told: string[][] = [];
  /** The copy's disk doesn't answer. */
  hang: Promise<void> | undefined;
  #listener: { close(): Promise<void> } | undefined;

  static async start(rule: LedgerRule): Promise<Pair> {
    const pair = new Pair();
    const { platform } = pair;
    const file = await FileLedger.open(platform, "/first/ledger");
    await file.begin(2);
    pair.voter = await Voter.open(platform, { path: "/first/ballot", serverId: own.serverId });
    pair.copyVoter = await Voter.open(platform, { path: "/second/ballot", serverId: other.serverId });
    pair.ledger = new CopiedLedger({
      ...{ platform, file, voter: pair.voter, clusterId, own, configuration: undefined },
      onLost: (error) => {
        pair.lost = error;
      },
    });
    pair.ledger.onCopies = () => {
      pair.told.push(pair.ledger.configuration!.copies.map(({ address }) => address));
    };
    pair.ledger.source = stateOf(() => file.lastIndex, 2);
    await pair.ledger.start();
    await pair.up();
    await pair.ledger.join(other, rule);
    await pair.until(() => pair.ledger.copyState === "in step");
    return pair;
  }

  async up(): Promise<void> {
    if (this.#listener !== undefined) return;
    const service = new Service()
      .handle(attachCopy, () => this.copy.attach())
      .handle(appendEntries, async ({ entries }) => {
        await this.hang;
        this.copy.append(entries);
        return {};
      })
      .handle(replaceState, (body) => {
        this.copy.replace(body);
        return {};
      });
    this.copyVoter.register(service);
    const identity = () => ({ clusterId, serverId: other.serverId, term: 0 });
    this.#listener = await listenPeers(this.platform, other.address, { identity, service });
  }

  async down(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    await listener?.close();
    await settle();
  }

  async until(condition: () => boolean): Promise<void> {
    for (let round = 0; round < 400 && !condition(); round++) await this.platform.clock.advance(25);
    assert.ok(condition(), this.ledger.copyState);
  }

  /** @returns whether it has been acknowledged */
  append(text: string): { readonly isDone: () => boolean; readonly failure: () => unknown } {
    let done = false;
    let failure: unknown;
    this.ledger.append(Buffer.from(text)).then(
      () => {
        done = true;
      },
      (error: unknown) => {
        failure = error;
      },
    );
    return { isDone: () => done, failure: () => failure };
  }

  has(text: string): boolean {
    return this.copy.entries.some(({ batch }) => Buffer.from(batch).toString() === text);
  }
}

test("whoever wants to know is told of a copy that joins, and of one that is forgotten", async () => {
  const pair = await Pair.start("required");
  assert.deepEqual(pair.told, [["a:1", "b:1"]]);
  assert.deepEqual(pair.copyVoter.keepers, { term: 2, addresses: ["a:1", "b:1"] });
  await pair.down();
  await pair.until(() => !pair.ledger.isConnected(other.serverId));
  await pair.ledger.forget("b:1");
  assert.deepEqual(pair.told, [["a:1", "b:1"], ["a:1"]]);
  assert.deepEqual(pair.voter.keepers, { term: 2, addresses: ["a:1"] });
  // What the forgotten one hears when it asks a voter.
  pair.copyVoter.hears(pair.ledger.configuration!);
  assert.deepEqual(pair.copyVoter.keepers, pair.voter.keepers);
});

test("an entry is acknowledged when it is on both disks, and until then it says whose answer is missing", async () => {
  const pair = await Pair.start("preferred");
  const hang = Promise.withResolvers<void>();
  pair.hang = hang.promise;
  const appended = pair.append("one");
  await settle();
  assert.equal(appended.isDone(), false);
  assert.equal(pair.ledger.waitsFor, "the ledger's copy at b:1");
  hang.resolve();
  await pair.until(appended.isDone);
  assert.ok(pair.has("one"));
  assert.equal(pair.ledger.waitsFor, "the ledger's disk");
});

test("required: without the copy nothing is acknowledged, and it is named; back again, it gets what it missed first", async () => {
  const pair = await Pair.start("required");
  await pair.down();
  const appended = pair.append("one");
  await pair.platform.clock.advance(20_000);
  assert.equal(appended.isDone(), false);
  assert.equal(pair.ledger.waitsFor, "the ledger's copy at b:1 (away)");
  await pair.up();
  await pair.until(appended.isDone);
  assert.ok(pair.has("one"));
});

test("preferred: it goes on alone after a moment, has recorded that, and takes the copy in again when that has all", async () => {
  const pair = await Pair.start("preferred");
  await pair.down();
  const appended = pair.append("one");
  await settle();
  assert.equal(appended.isDone(), false, "not before it is recorded");
  await pair.until(appended.isDone);
  assert.deepEqual(pair.voter.ballot.configuration?.inStep, [own.serverId]);
  assert.equal(pair.ledger.copyState, "away");
  await pair.up();
  await pair.until(() => pair.ledger.copyState === "in step");
  assert.ok(pair.has("one"));
  assert.deepEqual(pair.copyVoter.ballot.configuration?.inStep, [own.serverId, other.serverId]);
});

test("what a copy in step goes on with stays while it is away: it is not replaced when it is back", async () => {
  const pair = await Pair.start("required");
  // As many as the first segment holds.
  for (let count = 1; count <= 15; count++) await pair.until(pair.append("x".repeat(1024 * 1024)).isDone);
  await pair.down();
  const appended = pair.append("y".repeat(1024 * 1024));
  await pair.platform.clock.advance(1_000);
  assert.equal(pair.ledger.lastIndex, 16, "on this server's disk, in the next segment");
  await pair.ledger.truncate(16);
  await pair.up();
  await pair.until(appended.isDone);
  assert.equal(pair.copy.replacements, 0);
});

/** It is back at once, so long after the leader has last asked it for leave: that decides how soon the leader notices. */
async function comesBackEmptied(rule: LedgerRule, afterMs: number): Promise<void> {
  const pair = await Pair.start(rule);
  for (let count = 1; count <= 3; count++) await pair.until(pair.append(`entry ${count}`).isDone);
  await pair.platform.clock.advance(afterMs);
  await pair.down();
  pair.copy.entries = [];
  const hang = Promise.withResolvers<void>();
  pair.hang = hang.promise;
  await pair.up();
  await pair.until(() => ["in step", "following"].includes(pair.ledger.copyState));
  assert.equal(pair.ledger.copyState, "following");
  assert.deepEqual(pair.voter.ballot.configuration?.inStep, [own.serverId]);
  assert.deepEqual(pair.copyVoter.ballot.configuration?.inStep, [own.serverId], "it can't be promoted");
  assert.equal(pair.copy.lastIndex, 0);
  await pair.until(pair.append("entry 4").isDone);
  hang.resolve();
  await pair.until(() => pair.ledger.copyState === "in step");
  for (let count = 1; count <= 4; count++) assert.ok(pair.has(`entry ${count}`));
  assert.deepEqual(pair.copyVoter.ballot.configuration?.inStep, [own.serverId, other.serverId]);
}

for (const rule of ["required", "preferred"] as const) {
  test(`a copy in step whose folder was emptied is recorded as behind before it gets anything (${rule})`, async () => {
    // By the rule preferred a copy that is missed is behind anyway: it must be back before that, at some of these times.
    const { renewMs } = defaultCopyTimeouts;
    for (let afterMs = 0; afterMs < renewMs; afterMs += graceMs / 5) await comesBackEmptied(rule, afterMs);
  });
}

test("a copy in step that has not got the last entry is in step all the same when it is back", async () => {
  const pair = await Pair.start("required");
  await pair.until(pair.append("entry 1").isDone);
  await pair.down();
  const appended = pair.append("entry 2");
  await pair.platform.clock.advance(5_000);
  await pair.up();
  await pair.until(appended.isDone);
  assert.equal(pair.voter.ballot.configuration?.inStep.length, 2);
  assert.equal(pair.copyVoter.ballot.configuration?.sequence, pair.voter.ballot.configuration?.sequence);
});

test("a copy that has promised a higher term to another one ends it: nothing is acknowledged any more", async () => {
  const pair = await Pair.start("preferred");
  await pair.down();
  await pair.platform.clock.advance(10_000);
  const { promised } = await pair.copyVoter.claim({ term: 9, leader: "third" });
  assert.ok(promised);
  await pair.up();
  await pair.until(() => pair.lost !== undefined);
  assert.equal(pair.lost!.code, "notLeader");
  assert.equal(pair.ledger.serving, false);
  const appended = pair.append("late");
  await settle();
  assert.equal((appended.failure() as BrineError).code, "notLeader");
});

test("whatever comes and goes: what is acknowledged is on the copy, unless it was recorded before that it is not in step", async () => {
  const step = fc.constantFrom("append", "append", "append", "down", "up", "pass", "blink");
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("required" as const, "preferred" as const),
      fc.array(step, { maxLength: 25 }),
      async (rule, steps) => {
        const pair = await Pair.start(rule);
        let [count, under] = [0, undefined as ReturnType<Pair["append"]> | undefined];
        const look = () => {
          if (under?.isDone() !== true) return;
          const isAlone = pair.voter.ballot.configuration?.inStep.length === 1;
          assert.ok(isAlone || pair.has(`entry ${count}`), `entry ${count}`);
          assert.ok(rule === "preferred" || !isAlone);
          under = undefined;
        };
        for (const kind of steps) {
          if (kind === "append" && under === undefined) {
            count += 1;
            under = pair.append(`entry ${count}`);
          } else if (kind === "down") await pair.down();
          else if (kind === "up") await pair.up();
          else if (kind === "pass") await pair.platform.clock.advance(400);
          else if (kind === "blink") {
            await pair.down();
            await pair.up();
          }
          await settle();
          look();
        }
        await pair.up();
        await pair.until(() => pair.ledger.copyState === "in step" && under?.isDone() !== false);
        look();
        for (let number = 1; number <= count; number++)
          assert.ok(pair.has(`entry ${number}`) || pair.copy.replacements > 0);
        await pair.ledger.close();
      },
    ),
    { numRuns: 25 },
  );
});
