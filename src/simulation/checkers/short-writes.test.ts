import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { FileOperation, Outcome } from "../file-operation.ts";
import { Model } from "../model.ts";
import { owner } from "../model-operations.ts";
import { taggedBytes } from "../tagged-data.ts";
import { attributes, write } from "../testing/history.ts";
import { HindsightChecker } from "./hindsight.ts";
import type { Shortening } from "./short-writes.ts";

const root = 1;
const kibibyte = 1024;
const chunk = 4096 * kibibyte;
const byQuotas: Shortening = { byQuotas: true, byDisks: false };
const byDisks: Shortening = { byQuotas: false, byDisks: true };

/** A file, inode 10, of 5 KiB from write 100; operations from 3. */
function checkerWithFile(shortening: Shortening | undefined): HindsightChecker {
  const checker = new HindsightChecker(Model.withRoot(root, 0o755, owner.uid, owner.gid), shortening);
  const create = { kind: "create", parent: root, name: "file", type: "file", mode: 0o644, target: "", open: true };
  step(checker, 1, create as FileOperation, attributes(10, {}));
  step(checker, 2, write(10, 100, 0, 5 * kibibyte), written(5 * kibibyte));
  checker.nothingUnsynced("one");
  return checker;
}

function step(checker: HindsightChecker, id: number, operation: FileOperation, outcome: Outcome, client = "two") {
  checker.called(id, client, operation);
  checker.returned(id, outcome);
}

function written(length: number): Outcome {
  return { kind: "written", length };
}

/** 16 KiB at the end of the file. */
const append: FileOperation = { kind: "write", inode: 10, offset: undefined, length: 16 * kibibyte, tag: 200 };

/** The other client sees the size. */
function seesSize(checker: HindsightChecker, id: number, size: number): void {
  step(checker, id, { kind: "getAttributes", inode: 10 }, attributes(10, { size }));
}

/** The other client reads 1 KiB at the end of a file of this size, and sees what is left of the append. */
function seesEnd(checker: HindsightChecker, id: number, size: number): void {
  const offset = size - kibibyte;
  const bytes = taggedBytes(200, offset - 5 * kibibyte, kibibyte);
  step(checker, id, { kind: "read", inode: 10, offset, length: 4 * kibibyte }, { kind: "data", bytes });
}

function returnsShort(checker: HindsightChecker, id: number, length: number): void {
  checker.shortened(id, length);
  checker.returned(id, written(length));
}

test("what a quota leaves of a write may be seen before it returns", () => {
  const checker = checkerWithFile(byQuotas);
  checker.called(3, "one", append);
  seesSize(checker, 4, 5 * kibibyte);
  seesEnd(checker, 5, 12 * kibibyte);
  seesSize(checker, 6, 12 * kibibyte);
  returnsShort(checker, 3, 7 * kibibyte);
  seesEnd(checker, 7, 12 * kibibyte);
});

test("its length is decided once, for everybody", () => {
  for (const wrong of [5, 8, 16, 20, 21]) {
    const checker = checkerWithFile(byQuotas);
    checker.called(3, "one", append);
    seesEnd(checker, 4, 12 * kibibyte);
    assert.throws(() => seesSize(checker, 5, wrong * kibibyte), /not linearizable/);
  }
});

test("it returns what others have seen of it", () => {
  for (const seen of [8, 12, 16]) {
    for (const returned of [3, 7, 11]) {
      const checker = checkerWithFile(byQuotas);
      checker.called(3, "one", append);
      seesSize(checker, 4, seen * kibibyte);
      const returns = () => returnsShort(checker, 3, returned * kibibyte);
      if (seen === 5 + returned) returns();
      else assert.throws(returns, /not linearizable/);
    }
  }
  const whole = checkerWithFile(byQuotas);
  whole.called(3, "one", append);
  seesSize(whole, 4, 12 * kibibyte);
  assert.throws(() => whole.returned(3, written(16 * kibibyte)), /not linearizable/);
});

test("what was seen of a part that all lengths have in common says nothing", () => {
  for (const length of [3, 7, 11]) {
    const checker = checkerWithFile(byQuotas);
    checker.called(3, "one", append);
    const bytes = taggedBytes(200, 0, kibibyte);
    const read = { kind: "read", inode: 10, offset: 5 * kibibyte, length: kibibyte } as const;
    step(checker, 4, read, { kind: "data", bytes });
    if (length === 7) seesSize(checker, 5, 12 * kibibyte);
    returnsShort(checker, 3, length * kibibyte);
    seesSize(checker, 6, (5 + length) * kibibyte);
  }
});

test("a write is made shorter only at the end of a block, and where the next one needs more of a quota", () => {
  const checker = checkerWithFile(byQuotas);
  checker.called(3, "one", append);
  assert.throws(() => returnsShort(checker, 3, 6 * kibibyte), /not linearizable/);
  const within = checkerWithFile(byQuotas);
  // From byte 0 of 5 KiB: two blocks are there.
  within.called(3, "one", write(10, 200, 0, 16 * kibibyte));
  assert.throws(() => returnsShort(within, 3, 4 * kibibyte), /not linearizable/);
  const atEnd = checkerWithFile(byQuotas);
  atEnd.called(3, "one", write(10, 200, 0, 16 * kibibyte));
  seesSize(atEnd, 4, 8 * kibibyte);
  returnsShort(atEnd, 3, 8 * kibibyte);
});

test("where a hole was copied to the file may have none of the quota yet", () => {
  const checker = checkerWithFile(byQuotas);
  const create = { kind: "create", parent: root, name: "hole", type: "file", mode: 0o644, target: "", open: true };
  step(checker, 3, create as FileOperation, attributes(11, {}));
  const grow = { kind: "setAttributes", inode: 11, change: { size: chunk } } as const;
  step(checker, 4, grow, attributes(11, { size: chunk }));
  const copy = { kind: "copyRange", inode: 10, offset: chunk, source: 11, sourceOffset: 0, length: 8 * kibibyte };
  step(checker, 5, copy as FileOperation, written(8 * kibibyte));
  checker.called(6, "two", write(10, 200, chunk - 8 * kibibyte, 16 * kibibyte));
  returnsShort(checker, 6, 8 * kibibyte);
});

test("full disks make it shorter at the end of a chunk", () => {
  const over = write(10, 200, chunk - 8 * kibibyte, 16 * kibibyte);
  for (const seen of [chunk, chunk - 4 * kibibyte, chunk + 4 * kibibyte]) {
    const checker = checkerWithFile(byDisks);
    checker.called(3, "one", over);
    if (seen !== chunk) {
      assert.throws(() => seesSize(checker, 4, seen), /not linearizable/);
      continue;
    }
    seesSize(checker, 4, seen);
    returnsShort(checker, 3, 8 * kibibyte);
  }
});

test("where nothing makes writes shorter they are whole", () => {
  for (const shortening of [undefined, byDisks]) {
    const checker = checkerWithFile(shortening);
    checker.called(3, "one", append);
    assert.throws(() => seesSize(checker, 4, 12 * kibibyte), /not linearizable/);
  }
  // And one that nobody says is shorter for a reason.
  const checker = checkerWithFile(byQuotas);
  checker.called(3, "one", append);
  assert.throws(() => checker.returned(3, written(7 * kibibyte)), /not linearizable/);
});

test("of a write that returns no more, one length is left", () => {
  for (const [first, second, possible] of [
    [12, 12, true],
    [12, 16, false],
    [21, 21, true],
    [9, 9, false],
  ] as const) {
    const checker = checkerWithFile(byQuotas);
    checker.called(3, "one", append);
    checker.clientDied("one");
    checker.abandon(3);
    checker.sessionEnded("one");
    const looks = () => {
      seesSize(checker, 4, first * kibibyte);
      seesSize(checker, 5, second * kibibyte);
    };
    if (possible) looks();
    else assert.throws(looks, /not linearizable/);
  }
});

test("two writes at a time are each made shorter at their own place", () => {
  const checker = checkerWithFile(byQuotas);
  checker.called(3, "one", append);
  checker.called(4, "one", { ...append, tag: 300 } as FileOperation);
  seesEnd(checker, 5, 12 * kibibyte);
  seesSize(checker, 6, 20 * kibibyte);
  returnsShort(checker, 4, 8 * kibibyte);
  assert.throws(() => returnsShort(checker, 3, 3 * kibibyte), /not linearizable/);
});

test("a copy is made shorter as a write is", () => {
  for (const [seen, returned] of [
    [8, 4],
    [12, 8],
    [12, 4],
  ] as const) {
    const checker = checkerWithFile(byQuotas);
    const create = { kind: "create", parent: root, name: "copy", type: "file", mode: 0o644, target: "", open: true };
    step(checker, 3, create as FileOperation, attributes(11, {}));
    step(checker, 4, write(10, 200, 0, 16 * kibibyte), written(16 * kibibyte), "one");
    const copy = { kind: "copyRange", inode: 11, offset: 0, source: 10, sourceOffset: 0, length: 16 * kibibyte };
    checker.called(5, "one", copy as FileOperation);
    step(checker, 6, { kind: "getAttributes", inode: 11 }, attributes(11, { size: seen * kibibyte }));
    const returns = () => returnsShort(checker, 5, returned * kibibyte);
    if (seen === returned) returns();
    else assert.throws(returns, /not linearizable/);
  }
});
