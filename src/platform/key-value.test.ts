/** Both KeyValue engines against a model; what a crash leaves; checkpoints; damage. */
import { strict as assert } from "node:assert";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import Database from "better-sqlite3";
import * as fc from "fast-check";
import type { KeyValue, KeyValueEngine } from "./key-value.ts";
import { MemoryKeyValueEngine } from "./memory-key-value.ts";
import { sqliteEngine } from "./sqlite.ts";

const directory = mkdtempSync(join(tmpdir(), "brinefs-key-value-"));
after(() => rmSync(directory, { recursive: true }));
let files = 0;
const freshPath = () => join(directory, `${files++}.sqlite`);

const key = fc.string({ unit: fc.constantFrom("\x00", "a", "b", "\x80", "\xff"), maxLength: 3 });
const range = fc.record({ from: key, to: key, limit: fc.integer({ min: 1, max: 12 }), reverse: fc.boolean() });
interface Range {
  from: string;
  to: string;
  limit: number;
  reverse: boolean;
}
const action = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ kind: fc.constant("put" as const), key, value: fc.uint8Array({ maxLength: 4 }) }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("delete" as const), key }) },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("scan" as const), range }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("get" as const), key }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("commit" as const) }) },
);
type Action = typeof action extends fc.Arbitrary<infer A> ? A : never;

const bytes = (text: string) => Buffer.from(text, "latin1");

function expectedScan(model: Map<string, Uint8Array>, { from, to, limit, reverse }: Range) {
  const keys = [...model.keys()].filter((key) => key >= from && key < to).sort();
  if (reverse) keys.reverse();
  return keys.slice(0, limit).map((key) => [key, Buffer.from(model.get(key)!).toString("hex")]);
}

function scanned(keyValue: KeyValue, { from, to, limit, reverse }: Range) {
  const entries = keyValue.scan(bytes(from), bytes(to), limit, reverse);
  return entries.map(([key, value]) => [Buffer.from(key).toString("latin1"), Buffer.from(value).toString("hex")]);
}

function run(keyValue: KeyValue, model: Map<string, Uint8Array>, actions: readonly Action[]): void {
  for (const step of actions) {
    if (step.kind === "put") {
      keyValue.put(bytes(step.key), step.value);
      model.set(step.key, step.value);
    } else if (step.kind === "delete") {
      keyValue.delete(bytes(step.key));
      model.delete(step.key);
    } else if (step.kind === "scan") assert.deepEqual(scanned(keyValue, step.range), expectedScan(model, step.range));
    else if (step.kind === "commit") keyValue.commit();
    else {
      const [found, expected] = [keyValue.get(bytes(step.key)), model.get(step.key)];
      assert.deepEqual(found && Buffer.from(found), expected && Buffer.from(expected));
    }
  }
}

const engines: Record<string, KeyValueEngine> = { memory: new MemoryKeyValueEngine(), sqlite: sqliteEngine };
for (const [name, engine] of Object.entries(engines)) {
  test(`${name}: reads and scans see every change at once, committed or not`, async () => {
    const keyValue = await engine.open(freshPath());
    const model = new Map<string, Uint8Array>();
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => run(keyValue, model, actions)),
      {
        numRuns: 150,
        endOnFailure: true, // the store lives on from run to run, so shrinking would mislead
      },
    );
    await keyValue.close();
  });

  test(`${name}: what was closed is there when it is opened again`, async () => {
    const path = freshPath();
    const first = await engine.open(path);
    first.put(bytes("a"), bytes("1"));
    first.put(bytes("b"), bytes("2"));
    first.commit();
    first.delete(bytes("a"));
    await first.close();
    const second = await engine.open(path);
    assert.equal(second.get(bytes("a")), undefined);
    assert.deepEqual(Buffer.from(second.get(bytes("b"))!), bytes("2"));
    assert.equal(second.uncommittedCount, 0);
    await second.close();
  });

  test(`${name}: a value may be changed by its owner after put`, async () => {
    const keyValue = await engine.open(freshPath());
    const [ownKey, value] = [bytes("key"), bytes("value")];
    keyValue.put(ownKey, value);
    ownKey.fill(0);
    value.fill(0);
    assert.deepEqual(Buffer.from(keyValue.get(bytes("key"))!), bytes("value"));
    await keyValue.close();
  });
}

test("memory: a crash takes back what was not committed, a loss of power also late commits", async () => {
  const engine = new MemoryKeyValueEngine();
  const database = engine.database("x");
  const opened = await engine.open("x");
  const contents = () => [...database.snapshot()].map(([key, value]) => `${key}${Buffer.from(value)}`).sort();
  for (const n of [0, 1, 2, 3]) {
    opened.put(bytes("n"), bytes(`${n}`));
    opened.put(bytes(`k${n}`), bytes(""));
    if (n > 0) opened.delete(bytes(`k${n - 1}`));
    opened.commit();
    if (n === 1) await opened.checkpoint();
  }
  opened.put(bytes("n"), bytes("uncommitted"));
  assert.equal(database.volatileCommits, 2);
  assert.throws(() => database.crash(3), RangeError);
  database.crash(0);
  assert.deepEqual(contents(), ["k3", "n3"]);
  assert.throws(() => opened.put(bytes("zombie"), bytes("")), { code: "EBADF" });
  database.crash(1);
  assert.deepEqual(contents(), ["k2", "n2"]);
  const again = await engine.open("x");
  await assert.rejects(engine.open("x"), { code: "EBUSY" });
  assert.deepEqual(Buffer.from(again.get(bytes("n"))!), bytes("2"));
  database.crash(1);
  assert.deepEqual(contents(), ["k1", "n1"]);
});

test("sqlite: what is put and deleted between commits never reaches the file", async () => {
  const path = freshPath();
  const keyValue = await sqliteEngine.open(path);
  keyValue.put(bytes("stays"), bytes(""));
  for (let n = 0; n < 100; n++) {
    keyValue.put(bytes(`passing ${n}`), bytes("x"));
    keyValue.delete(bytes(`passing ${n}`));
  }
  assert.equal(keyValue.uncommittedCount, 1);
  keyValue.commit();
  const other = new Database(path);
  assert.equal(other.prepare("SELECT count(*) FROM kv").pluck().get(), 1);
  other.close();
  await keyValue.close();
});

test("sqlite: checkpoints keep the WAL short while commits go on", async () => {
  const path = freshPath();
  const keyValue = await sqliteEngine.open(path);
  let longest = 0;
  for (let round = 0; round < 6; round++) {
    for (let n = 0; n < 200; n++) keyValue.put(bytes(`${round}/${n}`), Buffer.alloc(100_000));
    keyValue.commit();
    let done = false;
    const checkpoint = keyValue.checkpoint().then(() => {
      done = true;
    });
    assert.throws(() => void keyValue.checkpoint(), /under way/);
    for (let n = 0; !done; n++) {
      keyValue.put(bytes(`during ${n}`), bytes("x"));
      keyValue.commit();
      await new Promise((resolve) => setImmediate(resolve));
    }
    await checkpoint;
    longest = Math.max(longest, statSync(`${path}-wal`).size);
  }
  assert.ok(longest < 100 * 1024 * 1024, `${longest} bytes of WAL after 120 MB of changes`);
  await keyValue.close();
});

test("sqlite: closing waits for a checkpoint under way", async () => {
  const path = freshPath();
  const keyValue = await sqliteEngine.open(path);
  for (let n = 0; n < 2000; n++) keyValue.put(bytes(`${n}`), Buffer.alloc(200));
  keyValue.commit();
  const checkpoint = keyValue.checkpoint();
  keyValue.put(bytes("late"), bytes("x"));
  await Promise.all([checkpoint, keyValue.close()]);
  const again = await sqliteEngine.open(path);
  assert.deepEqual(Buffer.from(again.get(bytes("late"))!), bytes("x"));
  await again.close();
});

test("sqlite: a file that is no database is EUCLEAN, a directory that cannot be is an error", async () => {
  const path = freshPath();
  writeFileSync(path, Buffer.alloc(10_000, "rubbish "));
  await assert.rejects(sqliteEngine.open(path), { name: "DiskError", code: "EUCLEAN" });
  await assert.rejects(sqliteEngine.open(`${path}/x/y.sqlite`), { name: "DiskError", code: "ENOTDIR" });
});

for (const [name, engine] of Object.entries(engines)) {
  test(`${name}: a copy is one moment of a database that is written to, and doesn't hinder checkpoints`, async () => {
    const [path, copyPath] = [freshPath(), freshPath()];
    const source = await engine.open(path);
    const numberKey = (number: number) => Buffer.from(String(number).padStart(6, "0"));
    for (let number = 0; number < 20_000; number++) source.put(numberKey(number), Buffer.alloc(100, 1));
    source.commit();
    const copying = engine.copy(source, copyPath);
    let isDone = false;
    void copying.then(() => (isDone = true));
    // Two rows that are always equal, far from each other.
    for (let round = 1; !isDone || round < 3; round++) {
      source.put(numberKey(0), Buffer.alloc(100, round % 256));
      source.put(numberKey(19_999), Buffer.alloc(100, round % 256));
      source.commit();
      if (round % 10 === 0) await source.checkpoint();
      else await new Promise((resolve) => setImmediate(resolve));
    }
    await copying;
    const copy = await engine.open(copyPath);
    assert.deepEqual(copy.get(numberKey(0)), copy.get(numberKey(19_999)));
    assert.equal(copy.scan(numberKey(0), numberKey(999_999), 1000).length, 1000);
    assert.ok(copy.get(numberKey(12_345)) !== undefined);
    await copy.close();
    await engine.remove(copyPath);
    const anew = await engine.open(copyPath);
    assert.equal(anew.get(numberKey(0)), undefined);
    await anew.close();
    await source.close();
  });
}
