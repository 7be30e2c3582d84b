/** The journal: what goes when, what is kept back for data, what joins, and who is told. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import fc from "fast-check";
import { FileError } from "../errors/file-error.ts";
import type { InodeRecord } from "../namespace/model.ts";
import { mappingsMax, type Operation as NamespaceOperation, type OperationOf } from "../namespace/operation.ts";
import { realPlatform } from "../platform/real.ts";
import { Journal } from "./journal.ts";
import type { EntryData } from "./journal-entry.ts";
import { Node } from "./node.ts";
import type { Outgoing } from "./transactions.ts";
import { Operation } from "./waits.ts";

const limits = { dirtyOperationsMax: 8, dirtyAgeMs: 60_000 };
const settle = () => new Promise((resolve) => setImmediate(resolve));

/** Data of one file, on the stores when the test says so. */
class Data {
  readonly #parts: { readonly mark: number; readonly after: number; state: "waiting" | "underWay" | "durable" }[] = [];
  readonly #committed: () => number;

  constructor(committed: () => number = () => 0) {
    this.#committed = committed;
  }

  /** Written, and may go out when the journal is committed up to `after`. */
  put(after = 0, effect: EntryData["effect"] = "adds"): EntryData {
    const mark = this.#parts.length + 1;
    this.#parts.push({ mark, after, state: "waiting" });
    return { content: this, mark, effect };
  }

  isDurable(mark: number): boolean {
    return this.#parts.slice(0, mark).every(({ state }) => state === "durable");
  }

  get isUnderWay(): boolean {
    return this.#parts.every(({ state }) => state !== "waiting");
  }

  flush(mark: number): void {
    for (const part of this.#parts.slice(0, mark)) {
      if (part.state === "waiting" && part.after <= this.#committed()) part.state = "underWay";
    }
  }

  /** What was on its way has arrived. */
  arrive(): void {
    for (const part of this.#parts) if (part.state === "underWay") part.state = "durable";
  }

  /** It waits all the same, for ever. */
  stop(): void {
    for (const part of this.#parts)
      if (part.state === "underWay") Object.assign(part, { state: "waiting", after: 1e9 });
  }
}

class Setup {
  readonly lines: string[] = [];
  readonly journal: Journal;
  readonly sent: Outgoing[] = [];
  readonly mismatches: number[] = [];
  readonly timers = new Set<() => void>();
  #answered = 0;

  constructor() {
    const { logger } = realPlatform({ logTo: (line) => this.lines.push(line) });
    const startTimer = (delayMs: number, callback: () => void) => {
      if (delayMs === limits.dirtyAgeMs) return { cancel: () => {} }; // nobody waits for the age of a change here
      this.timers.add(callback);
      return { cancel: () => void this.timers.delete(callback) };
    };
    const clock = { nowMs: () => 0, wallNs: () => 0n, startTimer };
    this.journal = new Journal(clock, logger, limits);
    this.journal.onReady = () => this.pump();
    this.journal.onMismatch = (nodes) => this.mismatches.push(...nodes.map(({ inode }) => inode));
  }

  pump(): void {
    for (let next = this.journal.next(); next !== undefined; next = this.journal.next()) this.sent.push(next);
  }

  /** The kinds of what has gone. */
  get kinds(): string[] {
    return this.sent.map(({ operation }) => operation.kind);
  }

  /** The leader answers all that has gone and was not answered. */
  answer(failed = false): void {
    for (; this.#answered < this.sent.length; this.#answered++) {
      this.sent[this.#answered]!.answered(failed ? { kind: "failed", errno: 2 } : { kind: "done" });
    }
  }
}

function nodeOf(inode: number, type: "file" | "directory" = "file"): Node {
  return new Node(inode, { attributes: { inode, type, ctimeNs: 5n } } as InodeRecord);
}

function unlink(name: string): NamespaceOperation {
  return { kind: "unlink", parent: 1, name };
}

function write(inode: number, end: number): OperationOf<"write"> {
  return { kind: "write", inode, mappings: [], end, killPrivileges: false };
}

function chmod(inode: number, mode: number): OperationOf<"setAttributes"> {
  const nothing = { uid: undefined, gid: undefined, atime: undefined, mtime: undefined, ctime: undefined };
  return { kind: "setAttributes", inode, mode, size: undefined, mappings: [], killPrivileges: false, ...nothing };
}

const waiting = () => new Operation("test", 1, 0);

test("nothing goes before somebody waits; then everything up to there, in order", async () => {
  const { journal, sent, ...setup } = new Setup();
  const directory = nodeOf(1);
  for (const name of ["a", "b", "c"]) journal.append(unlink(name), 1n, [directory]);
  assert.equal(directory.lastPosition, 3);
  assert.equal(sent.length, 0);
  const committed = journal.committed(2, waiting());
  assert.deepEqual(
    sent.map(({ operation }) => (operation as OperationOf<"unlink">).name),
    ["a", "b"],
  );
  assert.equal(journal.committedPosition, 0);
  for (const one of sent) one.answered({ kind: "done" });
  await committed;
  assert.equal(journal.committedPosition, 2);
  assert.equal(journal.length, 1);
  assert.deepEqual(setup.mismatches, []);
});

test("entries that move or guard a directory are known, for what is written below it later", () => {
  const { journal } = new Setup();
  const [parent, inside, inner] = [nodeOf(1, "directory"), nodeOf(2), nodeOf(3, "directory")];
  const rename = { kind: "rename", parent: 1, name: "a", newParent: 1, newName: "b", noReplace: false } as const;
  const steps: [NamespaceOperation, Node[], boolean][] = [
    [chmod(2, 0o600), [inside], false],
    [unlink("x"), [parent, inside], false],
    [rename, [parent, inside], false],
    [chmod(1, 0o700), [parent], true],
    [unlink("y"), [parent, inner], false],
    [rename, [parent, inner], true],
    [{ kind: "exchange", parent: 1, name: "a", newParent: 1, newName: "b" }, [parent, inside, inner], true],
    [{ kind: "setExtendedAttribute", inode: 3 } as NamespaceOperation, [inner], true],
  ];
  for (const [operation, nodes, counts] of steps) {
    const before = journal.directoryPosition;
    const position = journal.append(operation, 1n, nodes);
    assert.equal(journal.directoryPosition, counts ? position : before, operation.kind);
  }
});

test("on which entries a change depends: an overwrite not on those before it, anything else on all", () => {
  const { journal } = new Setup();
  const [node, data] = [nodeOf(2), new Data()];
  const overwrites = () => data.put(0, "overwrites");
  const between = () => journal.append(unlink("x"), 1n, [nodeOf(1)]);
  journal.append(write(2, 10), 1n, [node], data.put());
  assert.equal(node.dependsOn, 0);
  for (const _ of [1, 2]) {
    between();
    journal.append(write(2, 10), 1n, [node], overwrites());
    assert.equal(node.dependsOn, 1);
  }
  const last = node.lastPosition;
  between();
  const cut = journal.append(chmod(2, 0o600), 1n, [node]);
  assert.equal(node.dependsOn, last);
  between();
  journal.append(write(2, 10), 1n, [node], overwrites());
  assert.equal(node.dependsOn, cut);
  journal.append({ ...write(2, 10), killPrivileges: true }, 1n, [node], overwrites());
  assert.equal(node.dependsOn, cut, "the same entry, which is one of all kinds now");
  assert.equal(node.dataSyncPosition, node.lastPosition);
});

test("an entry with data waits for it, and all behind it does; their data is flushed meanwhile", () => {
  const setup = new Setup();
  const { journal } = setup;
  const [first, second] = [new Data(), new Data()];
  journal.append(write(2, 100), 1n, [nodeOf(2)], first.put());
  journal.append(unlink("a"), 1n, [nodeOf(1)]);
  journal.append(write(3, 100), 1n, [nodeOf(3)], second.put());
  void journal.committed(3);
  assert.deepEqual(setup.kinds, []);
  assert.ok(first.isUnderWay && second.isUnderWay);
  second.arrive();
  journal.dataDurable();
  assert.deepEqual(setup.kinds, []);
  first.arrive();
  journal.dataDurable();
  assert.deepEqual(setup.kinds, ["write", "unlink", "write"]);
});

test("overwrites go beside their data and are committed with it; what comes behind waits for the data", async () => {
  const setup = new Setup();
  const { journal } = setup;
  const [data, other] = [new Data(() => journal.committedPosition), new Data()];
  journal.append(unlink("a"), 1n, [nodeOf(1)]);
  journal.append(write(2, 100), 1n, [nodeOf(2)], data.put(1, "overwrites"));
  journal.append(write(3, 100), 1n, [nodeOf(3)], other.put(0, "overwrites"));
  journal.append(unlink("b"), 1n, [nodeOf(1)]);
  let isThere = false;
  const committed = journal.committed(4).then(() => {
    isThere = true;
  });
  assert.deepEqual(setup.kinds, ["unlink", "write", "write"]);
  assert.ok(!data.isUnderWay && other.isUnderWay);
  other.arrive();
  journal.dataDurable();
  setup.answer();
  assert.equal(journal.committedPosition, 1);
  assert.ok(data.isUnderWay, "its data goes when that on which it depends is committed");
  assert.equal(setup.sent.length, 3);
  data.arrive();
  journal.dataDurable();
  assert.equal(journal.committedPosition, 3);
  assert.equal(setup.sent.length, 4);
  await settle();
  assert.equal(isThere, false);
  setup.answer();
  await committed;
});

test("an overwrite that takes away privileges waits for its data", () => {
  const setup = new Setup();
  const { journal } = setup;
  const data = new Data();
  journal.append({ ...write(2, 100), killPrivileges: true }, 1n, [nodeOf(2)], data.put(0, "overwrites"));
  void journal.committed(1);
  assert.deepEqual(setup.kinds, []);
  data.arrive();
  journal.dataDurable();
  assert.deepEqual(setup.kinds, ["write"]);
});

test("what stands before data that somebody waits for goes together with it", () => {
  const setup = new Setup();
  const { journal } = setup;
  const data = new Data();
  journal.append(unlink("a"), 1n, [nodeOf(1)]);
  journal.append(write(2, 100), 1n, [nodeOf(2)], data.put());
  void journal.committed(2);
  assert.deepEqual(setup.kinds, [], "kept back");
  assert.ok(data.isUnderWay);
  data.arrive();
  journal.dataDurable();
  assert.deepEqual(setup.kinds, ["unlink", "write"]);
  assert.equal(setup.timers.size, 0);
});

test("it goes at once if somebody waits for it alone, now or later, or if the data waits for it", () => {
  for (const how of ["before", "after", "room", "data", "data later", "time"] as const) {
    const setup = new Setup();
    const { journal } = setup;
    const data = new Data();
    journal.append(unlink("a"), 1n, [nodeOf(1)]);
    journal.append(write(2, 100), 1n, [nodeOf(2)], data.put(how === "data" ? 1 : 0));
    if (how === "before") void journal.committed(1);
    void journal.committed(2);
    if (how === "after") void journal.committed(1);
    if (how === "room") {
      for (let count = 2; count < limits.dirtyOperationsMax; count++) journal.append(unlink("x"), 1n, [nodeOf(1)]);
      void journal.room(waiting());
    }
    if (how === "data later") {
      assert.deepEqual(setup.kinds, []);
      data.stop();
      journal.dataWaits();
    }
    if (how === "time") {
      assert.deepEqual([setup.kinds.length, setup.timers.size], [0, 1]);
      for (const fire of setup.timers) fire();
    }
    assert.deepEqual(setup.kinds, ["unlink"], how);
  }
});

test("writes of one file join while they are not released, but not such that add with such that overwrite", () => {
  const setup = new Setup();
  const { journal } = setup;
  const data = new Data();
  const node = nodeOf(2);
  assert.equal(journal.append(write(2, 100), 1n, [node], data.put()), 1);
  assert.equal(journal.append(write(2, 300), 2n, [node], data.put()), 1);
  assert.equal(journal.append(write(2, 300), 3n, [node], { ...data.put(), effect: "overwrites" }), 2);
  assert.equal(journal.append(write(2, 400), 4n, [node], { ...data.put(), effect: "both" }), 3);
  assert.equal(journal.append(write(2, 500), 5n, [node], { ...data.put(), effect: "both" }), 4);
  assert.equal(journal.append(write(9, 500), 5n, [nodeOf(9)], data.put()), 5);
  data.flush(9);
  data.arrive();
  void journal.committed(5);
  const writes = setup.sent.map(({ operation }) => operation as OperationOf<"write">);
  assert.deepEqual(
    writes.map(({ inode, end }) => [inode, end]),
    [
      [2, 300],
      [2, 300],
      [2, 400],
      [2, 500],
      [9, 500],
    ],
  );
  assert.equal(setup.sent[0]!.timeNs, 5n, "the time of the last change");
  assert.equal(journal.append(write(9, 600), 6n, [nodeOf(9)], data.put()), 6, "it has gone");
});

test("attributes of one file join; what sets a time to now keeps its own", () => {
  const { journal } = new Setup();
  const node = nodeOf(2);
  assert.equal(journal.append(chmod(2, 0o600), 1n, [node]), 1);
  assert.equal(journal.append(chmod(2, 0o644), 2n, [node]), 1);
  assert.equal(journal.append({ ...chmod(2, 0o644), mtime: { kind: "now" } }, 3n, [node]), 1);
  assert.equal(journal.append(chmod(2, 0o640), 4n, [node]), 2);
  assert.equal(journal.append({ ...chmod(2, 0o640), size: 5 }, 5n, [node]), 3);
});

test("whoever needs room waits until there is some, and makes the journal hurry", async () => {
  const setup = new Setup();
  const { journal } = setup;
  for (let count = 0; count < limits.dirtyOperationsMax; count++) journal.append(unlink("a"), 1n, [nodeOf(1)]);
  assert.ok(!journal.hasRoom);
  const operation = waiting();
  let hasRoom = false;
  void journal.room(operation)!.then(() => {
    hasRoom = true;
  });
  assert.match(operation.waitsFor, /leader/);
  await settle();
  assert.ok(!hasRoom);
  setup.answer();
  await settle();
  assert.ok(hasRoom);
  assert.equal(journal.room(operation), undefined);
});

test("a result that was not predicted is told to fsync and close, and what is cached of it goes", async () => {
  const setup = new Setup();
  const { journal } = setup;
  const [directory, file] = [nodeOf(1), nodeOf(2)];
  journal.append(unlink("a"), 1n, [directory, file]);
  const committed = journal.committed(1);
  setup.answer(true);
  await committed;
  assert.deepEqual([directory.errorCount, file.errorCount], [1, 1]);
  assert.deepEqual(setup.mismatches, [1, 2]);
  assert.match(setup.lines.join("\n"), /differs from what was answered/);
});

test("the leader decides what it is asked to; a failure is the asker's, and nobody else's", async () => {
  const setup = new Setup();
  const { journal } = setup;
  const node = nodeOf(1);
  const deciding = journal.decide(unlink("a"), [node]);
  assert.deepEqual(setup.kinds, ["unlink"]);
  assert.equal(setup.sent[0]!.timeNs, undefined);
  setup.answer(true);
  assert.deepEqual(await deciding, { kind: "failed", errno: 2 });
  assert.equal(node.errorCount, 0);
  assert.equal(journal.committedPosition, 1);
});

test("with the session everybody who waits fails, and whoever comes later", async () => {
  const { journal } = new Setup();
  journal.append(unlink("a"), 1n, [nodeOf(1)]);
  const failing = [journal.committed(1), journal.decide(unlink("b"), [nodeOf(1)])];
  let isCalled = false;
  journal.whenCommitted(1, () => {
    isCalled = true;
  });
  journal.lost(new FileError("EIO", "gone"));
  failing.push(journal.committed(2), journal.decide(unlink("c"), [nodeOf(1)]));
  for (const one of failing) await assert.rejects(one, { code: "EIO" });
  assert.ok(!isCalled);
  assert.deepEqual(
    journal.uncommitted().map(({ kind }) => kind),
    ["unlink", "unlink"],
  );
});

test("whatever comes in whatever order: entries go in order, after their data, and all that is waited for goes", async () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("name" as const) }),
    fc.record({
      kind: fc.constant("write" as const),
      file: fc.nat(2),
      waits: fc.boolean(),
      effect: fc.constantFrom("adds" as const, "overwrites" as const, "both" as const),
    }),
    fc.record({ kind: fc.constant("wait" as const), back: fc.nat(3) }),
    fc.record({ kind: fc.constant("arrive" as const), file: fc.nat(2) }),
    fc.record({ kind: fc.constant("answer" as const) }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const setup = new Setup();
      const { journal } = setup;
      const files = [0, 1, 2].map((index) => ({
        data: new Data(() => journal.committedPosition),
        node: nodeOf(10 + index),
      }));
      const entries: (EntryData | undefined)[] = [];
      let waitedFor = 0;
      for (const one of steps) {
        if (one.kind === "name") {
          entries.push(undefined);
          journal.append(unlink("a"), 1n, [nodeOf(1)]);
        } else if (one.kind === "write") {
          const { data, node } = files[one.file]!;
          const entry = data.put(one.waits ? journal.position : 0, one.effect);
          // Another mapping each: none joins another.
          const mappings = Array.from({ length: mappingsMax }, (_, index) => ({ index, chunk: 1, group: 1 }));
          entries.push(entry);
          journal.append({ ...write(node.inode, entry.mark), mappings }, 1n, [node], entry);
        } else if (one.kind === "wait") {
          const position = Math.max(0, journal.position - one.back);
          void journal.committed(position);
          waitedFor = Math.max(waitedFor, position);
        } else if (one.kind === "arrive") {
          files[one.file]!.data.arrive();
          journal.dataDurable();
        } else setup.answer();
        const isDurable = (entry: EntryData | undefined) => entry?.content.isDurable(entry.mark) !== false;
        for (const [index, entry] of entries.slice(0, setup.sent.length).entries()) {
          const mayGo = entries.slice(index, setup.sent.length).every((later) => later?.effect === "overwrites");
          assert.ok(mayGo || isDurable(entry), `entry ${index + 1} or one behind it has gone before its data`);
        }
        assert.ok(entries.slice(0, journal.committedPosition).every(isDurable), "committed without its data");
      }
      for (let turn = 0; turn < 3 * entries.length; turn++) {
        setup.answer();
        for (const { data } of files) data.arrive();
        journal.dataDurable();
      }
      setup.answer();
      assert.ok(journal.committedPosition >= waitedFor, `${journal.committedPosition} of ${waitedFor}`);
      const kinds = entries.map((entry) => (entry === undefined ? "unlink" : "write"));
      assert.deepEqual(setup.kinds, kinds.slice(0, setup.sent.length));
    }),
    { numRuns: 500 },
  );
});
