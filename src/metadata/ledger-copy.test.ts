/** The copy's log and state after whatever has struck it: a beginning of the leader's, or the leader's state of one moment. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import type { Voter } from "../ledger/copies/voter.ts";
import type { LedgerEntry } from "../ledger/ledger.ts";
import { Namespace } from "../namespace/namespace.ts";
import type { Operation } from "../namespace/operation.ts";
import type { KeyValue } from "../platform/key-value.ts";
import { MemoryKeyValueEngine } from "../platform/memory-key-value.ts";
import { MemoryDisk } from "../store/testing/memory-disk.ts";
import { testPlatform } from "../wire/testing/memory-network.ts";
import { encodeBatch } from "./batch.ts";
import { copyFacts, LedgerCopy } from "./ledger-copy.ts";

const directory = "/copy";
const term = 3;
const sender = { term, leader: "leader", connection: {} };
const checkpointMs = 1_000;

/** The leader as the copy sees it: entries, and the state after each. */
class LeaderModel {
  readonly entries: LedgerEntry[] = [];
  readonly #state = new MemoryKeyValueEngine().database("state").open();
  readonly #namespace = new Namespace(this.#state);

  append(): LedgerEntry {
    const index = this.entries.length + 1;
    const operation = { kind: "registerStore" as const, serverId: `store ${index}`, address: `s:${index}`, labels: [] };
    return this.#append([operation]);
  }

  /** An entry of nearly a MiB. */
  appendLarge(): LedgerEntry {
    const value = Buffer.alloc(60_000);
    const name = "user.large";
    const operation = { kind: "setExtendedAttribute" as const, inode: 1, name, value, mode: "set" as const };
    return this.#append(Array.from({ length: 16 }, () => operation));
  }

  #append(operations: readonly Operation[]): LedgerEntry {
    const index = this.entries.length + 1;
    const common = { session: 0, sequence: 0, confirmed: 0, timeNs: BigInt(index), predicted: false };
    const transactions = operations.map((operation) => ({ ...common, operation }));
    const entry = { index, term, batch: Buffer.from(encodeBatch(transactions).batch) };
    this.#namespace.applyBatch(index, transactions);
    this.entries.push(entry);
    return entry;
  }

  rows(): { key: Buffer; value: Buffer }[] {
    return rowsOf(this.#state);
  }
}

function rowsOf(state: KeyValue): { key: Buffer; value: Buffer }[] {
  const end = Buffer.alloc(32, 0xff);
  return state
    .scan(Buffer.alloc(0), end, 10_000)
    .map(([key, value]) => ({ key: Buffer.from(key), value: Buffer.from(value) }));
}

/** How a process ends: asked to, by a kill that loses nothing that was written, or with the power. */
type Ending = "close" | "kill" | "power";

class Model {
  readonly leader = new LeaderModel();
  readonly engine = new MemoryKeyValueEngine();
  readonly disk = new MemoryDisk();
  readonly platform = {
    ...testPlatform(),
    disk: this.disk,
    keyValue: this.engine,
    random: { bytes: (length: number) => Buffer.alloc(length, 7), below: () => 0 },
  };
  copy!: LedgerCopy;
  /**
   * Of the last entry that the copy must have: it has acknowledged it, or the state that has it. A replacement takes that back with
   * its first part, since log and state are removed then; the copy must have nothing until it has acknowledged the last part.
   */
  acknowledged = 0;

  static async start(): Promise<Model> {
    const model = new Model();
    await model.open();
    return model;
  }

  async open(): Promise<void> {
    const voter = { check: () => {} } as unknown as Voter;
    this.copy = await LedgerCopy.open(this.platform, { directory, voter, checkpointMs });
  }

  /** Sends what the copy lacks, up to so many entries. */
  async feed(count: number): Promise<void> {
    const { lastIndex } = await this.copy.attach(sender);
    const entries = this.leader.entries.slice(lastIndex, lastIndex + count);
    if (lastIndex > this.leader.entries.length || entries.length === 0) return;
    await this.copy.append(sender, entries);
    this.acknowledged = entries.at(-1)!.index;
  }

  /** The leader's state, in parts of which the last ones may never come. */
  async replace(isBrokenOff: boolean): Promise<void> {
    const last = this.leader.entries.at(-1);
    if (last === undefined) return;
    const rows = this.leader.rows();
    const half = rows.length >> 1;
    await this.copy.attach(sender);
    this.acknowledged = 0;
    await this.copy.replace(sender, { first: true, rows: rows.slice(0, half), done: false, last: undefined });
    if (isBrokenOff) return;
    await this.copy.replace(sender, { first: false, rows: rows.slice(half), done: true, last });
    this.acknowledged = last.index;
  }

  /**
   * Does something, or starts the process, as one that dies after so many operations of its disk, unless it is done before.
   * @returns whether it has died
   */
  async dying(operations: number, work: () => Promise<void>): Promise<boolean> {
    const died = Promise.withResolvers<void>();
    this.disk.operationsLeft = operations;
    this.disk.onDeath = died.resolve;
    const isDead = await Promise.race([work().then(() => false), died.promise.then(() => true)]);
    this.disk.operationsLeft = Number.POSITIVE_INFINITY;
    return isDead;
  }

  /** The process is gone; what it has not made durable may be, too. */
  async end(how: Ending, keeps: () => boolean): Promise<void> {
    if (how === "close") return this.copy.close();
    const database = this.engine.database(`${directory}/state.sqlite`);
    let lostCommits = 0;
    if (how === "power") {
      this.disk.crash(keeps);
      while (lostCommits < database.volatileCommits && !keeps()) lostCommits += 1;
    } else this.disk.kill();
    database.crash(lostCommits);
  }

  /** What the copy has is the leader's, and nothing that it has acknowledged is missing. */
  async check(): Promise<void> {
    const { lastIndex } = this.copy;
    if (this.copy.facts === undefined) {
      assert.equal(this.acknowledged, 0, "acknowledged entries are there");
      return;
    }
    assert.ok(lastIndex >= this.acknowledged, "acknowledged entries are there");
    assert.ok(lastIndex <= this.leader.entries.length, "nothing is there that the leader hasn't");
    const found = await this.copy.entries(sender, lastIndex);
    assert.deepEqual(found.map(shown), this.leader.entries.slice(lastIndex - 1, lastIndex).map(shown));
  }
}

function shown({ index, batch }: LedgerEntry): string {
  return `${index} ${Buffer.from(batch).toString("hex")}`;
}

/** Says at random, but always the same for a seed, what has got to the disk. */
function keeper(seed: number): () => boolean {
  let turn = seed;
  return () => {
    turn = (turn * 31 + 7) % 1_009;
    return turn % 2 === 0;
  };
}

const end = fc.record({
  kind: fc.constant("end" as const),
  how: fc.constantFrom<Ending>("close", "kill", "power"),
  seed: fc.nat(1_000),
  /** Of the starts that follow, the disk's operations after which each dies; the last one lives. */
  starts: fc.array(fc.nat(12), { maxLength: 2 }),
});

/** `operations`: after so many of the disk the process dies. */
const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("append" as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("feed" as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("replace" as const), count: fc.integer({ min: 0, max: 1 }) }) },
  { weight: 1, arbitrary: fc.constant({ kind: "checkpoint" as const, count: 0 }) },
  { weight: 3, arbitrary: end },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("doom" as const), operations: fc.nat(20), ending: end }) },
);

async function restart(model: Model, { how, seed, starts }: { how: Ending; seed: number; starts: readonly number[] }) {
  const keeps = keeper(seed);
  await model.end(how, keeps);
  for (const operations of starts) {
    const isDead = await model.dying(operations, () => model.open());
    await model.end(isDead && how === "close" ? "kill" : how, keeps);
  }
  await model.open();
}

/** Does all steps; after a "doom" step the process dies in the middle of one of those that follow. */
async function play(model: Model, steps: readonly (typeof step extends fc.Arbitrary<infer Step> ? Step : never)[]) {
  let doom: { operations: number; ending: { how: Ending; seed: number; starts: readonly number[] } } | undefined;
  for (const one of steps) {
    const work = async () => {
      if (one.kind === "append") for (let left = one.count; left > 0; left--) model.leader.append();
      else if (one.kind === "feed") await model.feed(one.count);
      else if (one.kind === "replace") await model.replace(one.count === 1);
      else if (one.kind === "checkpoint") await model.platform.clock.advance(checkpointMs);
      else if (one.kind === "end") await restart(model, one);
      await model.check();
    };
    if (one.kind === "doom") doom = one;
    else if (doom === undefined || one.kind === "end") await work();
    else if (await model.dying(doom.operations, work)) {
      await restart(model, { ...doom.ending, how: doom.ending.how === "close" ? "kill" : doom.ending.how });
      await model.check();
      doom = undefined;
    }
  }
}

test("whatever ends it and when, and though replacements break off: nothing acknowledged is missing, and fed to the end the state is the leader's", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const model = await Model.start();
      await play(model, steps);
      model.leader.append();
      if (model.copy.facts === undefined && model.copy.lastIndex > 0) await model.replace(false);
      await model.feed(Number.POSITIVE_INFINITY);
      if (model.copy.facts === undefined) await model.replace(false);
      await model.check();
      assert.equal(model.copy.lastIndex, model.leader.entries.length);
      await model.copy.close();
      assert.deepEqual(rowsOf(model.engine.database(`${directory}/state.sqlite`).open()), model.leader.rows());
    }),
    { numRuns: 150 },
  );
});

test("a replacement that was broken off is over when the copy has started anew: what it acknowledges then stays", async () => {
  const model = await Model.start();
  for (let count = 0; count < 3; count++) model.leader.append();
  await model.replace(true);
  await restart(model, { how: "power", seed: 0, starts: [] });
  await model.feed(3);
  await restart(model, { how: "close", seed: 0, starts: [] });
  await model.check();
  assert.equal(model.copy.lastIndex, 3);
});

test("a part of a state without its beginning, and entries that don't follow, are refused; the copy stays as it was", async () => {
  const model = await Model.start();
  for (let count = 0; count < 4; count++) model.leader.append();
  await model.feed(2);
  const part = { first: false, rows: [], done: false, last: undefined };
  await assert.rejects(model.copy.replace(sender, part), /without its beginning/);
  await assert.rejects(model.copy.append(sender, [model.leader.entries[3]!]), /can't go on with entry 4/);
  await model.feed(2);
  await model.check();
  assert.equal(model.copy.lastIndex, 4);
});

test("what comes late of an earlier connection is refused; the copy stays as it was", async () => {
  const model = await Model.start();
  for (let count = 0; count < 3; count++) model.leader.append();
  await model.feed(2);
  const later = { ...sender, connection: {} };
  await model.copy.attach(later);
  const part = { first: true, rows: [], done: false, last: undefined };
  await assert.rejects(model.copy.replace(sender, part), { code: "closed" });
  await assert.rejects(model.copy.append(sender, [model.leader.entries[2]!]), { code: "closed" });
  assert.equal(model.copy.facts?.lastIndex, 2);
  await model.copy.append(later, [model.leader.entries[2]!]);
  assert.equal(model.copy.facts?.lastIndex, 3);
});

test("the last entry but one stays: a leader that lacks the last one goes on from there", async () => {
  const model = await Model.start();
  const segments = async () => (await model.disk.list(`${directory}/ledger`)).length;
  while ((await segments()) < 2) {
    model.leader.appendLarge();
    await model.feed(1);
  }
  await model.platform.clock.advance(checkpointMs);
  const { lastIndex } = model.copy;
  const entries = await model.copy.entries(sender, lastIndex - 1);
  assert.deepEqual(
    entries.map(({ index }) => index),
    [lastIndex - 1, lastIndex],
  );
});

test("what a broken-off replacement has left, or an empty folder, is no copy that could lead", async () => {
  const model = await Model.start();
  await model.copy.close();
  assert.equal(await copyFacts(model.platform, directory), undefined);
  await model.open();
  model.leader.append();
  await model.feed(1);
  await model.copy.close();
  assert.equal((await copyFacts(model.platform, directory))?.lastIndex, model.leader.entries.length);
  await model.open();
  await model.replace(true);
  await model.copy.close();
  assert.equal(await copyFacts(model.platform, directory), undefined);
});
