/** The copy's log and state after whatever has struck it: a beginning of the leader's, or the leader's state of one moment. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import type { Voter } from "../ledger/copies/voter.ts";
import type { LedgerEntry } from "../ledger/ledger.ts";
import { Namespace } from "../namespace/namespace.ts";
import type { KeyValue } from "../platform/key-value.ts";
import { MemoryKeyValueEngine } from "../platform/memory-key-value.ts";
import { MemoryDisk } from "../store/testing/memory-disk.ts";
import { testPlatform } from "../wire/testing/memory-network.ts";
import { encodeBatch } from "./batch.ts";
import { LedgerCopy } from "./ledger-copy.ts";

const directory = "/copy";
const [term, leader] = [3, "leader"];
const checkpointMs = 1_000;

/** The leader as the copy sees it: entries, and the state after each. */
class LeaderModel {
  readonly entries: LedgerEntry[] = [];
  readonly #state = new MemoryKeyValueEngine().database("state").open();
  readonly #namespace = new Namespace(this.#state);

  append(): LedgerEntry {
    const index = this.entries.length + 1;
    const operation = { kind: "registerStore" as const, serverId: `store ${index}`, address: `s:${index}`, labels: [] };
    const transaction = { session: 0, sequence: 0, confirmed: 0, timeNs: BigInt(index), predicted: false, operation };
    const entry = { index, term, batch: Buffer.from(encodeBatch([transaction]).batch) };
    this.#namespace.applyBatch(index, [transaction]);
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
  /** Of the last entry that the copy has acknowledged. */
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
    const { lastIndex } = await this.copy.attach(term, leader);
    const entries = this.leader.entries.slice(lastIndex, lastIndex + count);
    if (lastIndex > this.leader.entries.length || entries.length === 0) return;
    await this.copy.append(term, leader, entries);
    this.acknowledged = entries.at(-1)!.index;
  }

  /** The leader's state, in parts of which the last ones may never come. */
  async replace(isBrokenOff: boolean): Promise<void> {
    const last = this.leader.entries.at(-1);
    if (last === undefined) return;
    const rows = this.leader.rows();
    const half = rows.length >> 1;
    await this.copy.replace(term, leader, { first: true, rows: rows.slice(0, half), done: false, last: undefined });
    this.acknowledged = 0;
    if (isBrokenOff) return;
    await this.copy.replace(term, leader, { first: false, rows: rows.slice(half), done: true, last });
    this.acknowledged = last.index;
  }

  /** Power fails. */
  async crash(keeps: () => boolean): Promise<void> {
    this.disk.crash(keeps);
    const database = this.engine.database(`${directory}/state.sqlite`);
    database.crash(database.volatileCommits);
    await this.open();
    await this.check();
  }

  /** What the copy has is the leader's, and nothing that it has acknowledged is missing. */
  async check(): Promise<void> {
    const { lastIndex } = this.copy;
    if (!this.copy.isWhole) {
      assert.equal(this.acknowledged, 0, "acknowledged entries are there");
      return;
    }
    assert.ok(lastIndex >= this.acknowledged && lastIndex <= this.leader.entries.length);
    const found = await this.copy.entries(term, leader, lastIndex);
    assert.deepEqual(found.map(shown), this.leader.entries.slice(lastIndex - 1, lastIndex).map(shown));
  }
}

function shown({ index, batch }: LedgerEntry): string {
  return `${index} ${Buffer.from(batch).toString("hex")}`;
}

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("append" as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("feed" as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("replace" as const), count: fc.integer({ min: 0, max: 1 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("crash" as const), count: fc.nat(1_000) }) },
  { weight: 1, arbitrary: fc.constant({ kind: "checkpoint" as const, count: 0 }) },
  { weight: 1, arbitrary: fc.constant({ kind: "restart" as const, count: 0 }) },
);

test("after crashes, checkpoints and replacements that may break off: nothing acknowledged is missing, and fed to the end the state is the leader's", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 30 }), async (steps) => {
      const model = await Model.start();
      for (const { kind, count } of steps) {
        if (kind === "append") for (let left = count; left > 0; left--) model.leader.append();
        else if (kind === "feed") await model.feed(count);
        else if (kind === "replace") await model.replace(count === 1);
        else if (kind === "checkpoint") await model.platform.clock.advance(checkpointMs);
        else if (kind === "restart") {
          await model.copy.close();
          await model.open();
        } else {
          let turn = count;
          await model.crash(() => {
            turn = (turn * 31 + 7) % 1_009;
            return turn % 2 === 0;
          });
        }
        await model.check();
      }
      model.leader.append();
      if (!model.copy.isWhole && model.copy.lastIndex > 0) await model.replace(false);
      await model.feed(Number.POSITIVE_INFINITY);
      if (!model.copy.isWhole) await model.replace(false);
      await model.check();
      assert.equal(model.copy.lastIndex, model.leader.entries.length);
      await model.copy.close();
      assert.deepEqual(rowsOf(model.engine.database(`${directory}/state.sqlite`).open()), model.leader.rows());
    }),
    { numRuns: 80 },
  );
});

test("what is fed to a copy whose replacement was broken off by a restart is there after the next", async () => {
  const model = await Model.start();
  model.leader.append();
  await model.replace(true);
  await model.copy.close();
  await model.open();
  await model.feed(1);
  await model.crash(() => false);
  assert.equal(model.copy.lastIndex, 1);
});

test("a part of a state without its beginning, and entries that don't follow, are refused; the copy stays as it was", async () => {
  const model = await Model.start();
  for (let count = 0; count < 4; count++) model.leader.append();
  await model.feed(2);
  const part = { first: false, rows: [], done: false, last: undefined };
  await assert.rejects(model.copy.replace(term, leader, part), /without its beginning/);
  await assert.rejects(model.copy.append(term, leader, [model.leader.entries[3]!]), /can't go on with entry 4/);
  await model.feed(2);
  await model.check();
  assert.equal(model.copy.lastIndex, 4);
});
