import { strict as assert } from "node:assert";
import { test } from "node:test";
import type { Attributes } from "../../client/file-system.ts";
import type { FileOperation, Outcome } from "../file-operation.ts";
import { Model } from "../model.ts";
import { owner } from "../model-operations.ts";
import { taggedBytes } from "../tagged-data.ts";
import { LinearizabilityChecker } from "./linearizability.ts";

const root = 1;

/** A checker with one file, inode 10, of 8 KiB from write 100, open at both clients. */
function checkerWithFile(): LinearizabilityChecker {
  const checker = new LinearizabilityChecker(Model.withRoot(root, 0o755, owner.uid, owner.gid));
  step(checker, 1, create("file", true), attributes(10, {}));
  step(checker, 2, write(100, 0, 8192), written(8192));
  checker.nothingUnsynced("one");
  return checker;
}

function create(name: string, open = false): FileOperation {
  return { kind: "create", parent: root, name, type: "file", mode: 0o644, target: "", open };
}

function write(tag: number, offset: number | undefined, length: number): FileOperation {
  return { kind: "write", inode: 10, offset, length, tag };
}

function read(offset: number, length: number): FileOperation {
  return { kind: "read", inode: 10, offset, length };
}

function attributes(inode: number, given: Partial<Attributes>): Outcome {
  const base = { type: "file", mode: 0o644, ...owner, linkCount: 1, size: 0 };
  return { kind: "attributes", attributes: { inode, ...base, ...given } as Attributes };
}

function written(length: number): Outcome {
  return { kind: "written", length };
}

function data(...bytes: Uint8Array[]): Outcome {
  return { kind: "data", bytes: Buffer.concat(bytes) };
}

function step(
  checker: LinearizabilityChecker,
  id: number,
  operation: FileOperation,
  outcome: Outcome,
  client = "one",
): void {
  checker.called(id, client, operation);
  checker.returned(id, outcome);
}

test("one after the other: the right outcome passes, every wrong one is found", () => {
  const checker = checkerWithFile();
  step(checker, 3, read(0, 16), data(taggedBytes(100, 0, 16)));
  step(checker, 4, { kind: "lookup", parent: root, name: "file" }, attributes(10, { size: 8192 }));
  step(checker, 5, { kind: "lookup", parent: root, name: "other" }, { kind: "absent" });
  step(checker, 6, create("file"), { kind: "failed", errno: "EEXIST" });
  step(checker, 7, { kind: "removeDirectory", parent: root, name: "file" }, { kind: "failed", errno: "ENOTDIR" });
  const wrong: [FileOperation, Outcome, RegExp][] = [
    [read(0, 16), data(Buffer.alloc(16)), /"tag":100.* got zeros/],
    [read(0, 16), data(taggedBytes(100, 8, 16)), /got write 100/],
    [read(0, 16), data(taggedBytes(100, 0, 8)), /expected 16 bytes/],
    [{ kind: "lookup", parent: root, name: "file" }, { kind: "absent" }, /expected attributes/],
    [{ kind: "lookup", parent: root, name: "file" }, attributes(11, { size: 8192 }), /expected inode 10/],
    [{ kind: "getAttributes", inode: 10 }, attributes(10, { size: 8191 }), /expected size 8192/],
    [create("file"), attributes(12, {}), /expected EEXIST/],
    [create("new"), attributes(10, {}), /got 10/],
    [{ kind: "readDirectory", inode: root }, { kind: "entries", entries: [] }, /expected entries file/],
  ];
  for (const [operation, outcome, expected] of wrong) {
    const fresh = checkerWithFile();
    assert.throws(() => step(fresh, 3, operation, outcome), expected);
  }
});

test("an overlapping write may be seen or not, but not unseen again", () => {
  for (const [first, second, possible] of [
    [100, 100, true],
    [100, 200, true],
    [200, 200, true],
    [200, 100, false],
  ] as const) {
    const checker = checkerWithFile();
    checker.called(3, "one", write(200, 0, 4096));
    step(checker, 4, read(0, 8), data(taggedBytes(first, 0, 8)));
    const again = () => step(checker, 5, read(0, 8), data(taggedBytes(second, 0, 8)));
    if (possible) again();
    else assert.throws(again, /not linearizable/);
  }
});

test("a write is seen whole or not at all", () => {
  const checker = checkerWithFile();
  checker.called(3, "one", write(200, 0, 8192));
  assert.throws(
    () => step(checker, 4, read(0, 8192), data(taggedBytes(200, 0, 4096), taggedBytes(100, 4096, 4096))),
    /not linearizable/,
  );
});

test("after its return a write must be seen", () => {
  const checker = checkerWithFile();
  checker.called(3, "one", write(200, 0, 4096));
  checker.called(4, "two", read(0, 8));
  checker.returned(3, written(4096));
  checker.called(5, "two", read(0, 8));
  checker.returned(4, data(taggedBytes(100, 0, 8))); // was under way before: may be older
  assert.throws(() => checker.returned(5, data(taggedBytes(100, 0, 8))), /not linearizable/);
});

test("two appends: both are there, once, in either order", () => {
  const appended = (first: number, second: number, more = 0) => {
    const checker = checkerWithFile();
    checker.called(3, "one", write(200, undefined, 100));
    checker.called(4, "two", write(300, undefined, 100));
    checker.returned(3, written(100));
    checker.returned(4, written(100));
    const bytes = [taggedBytes(first, 0, 100), taggedBytes(second, 0, 100), taggedBytes(second, 0, more)];
    step(checker, 5, read(8192, 1000), data(...bytes));
  };
  appended(200, 300);
  appended(300, 200);
  assert.throws(() => appended(200, 200));
  assert.throws(() => appended(200, 300, 100));
});

test("of two creates of one name only one succeeds, and lookups agree on which", () => {
  const checker = checkerWithFile();
  checker.called(3, "one", create("x"));
  checker.called(4, "two", create("x"));
  step(checker, 5, { kind: "lookup", parent: root, name: "x" }, attributes(20, {}));
  checker.returned(3, { kind: "failed", errno: "EEXIST" });
  assert.throws(() => checker.returned(4, attributes(21, {})), /expected inode 20, got 21/);
});

test("what a dead client had under way may happen late, torn at blocks, or never; but only one of it", () => {
  const seen = [
    [100, 100],
    [200, 100],
    [100, 200],
    [200, 200],
  ] as const;
  for (const [first, second] of seen) {
    const checker = checkerWithFile();
    checker.called(3, "one", write(200, 0, 8192));
    checker.abandon(3);
    checker.clientDied("one");
    if (first === 100) checker.sessionEnded("one"); // nothing was seen: until then it could still come
    const bytes = (tag: number, block: number) => taggedBytes(tag, block * 4096, 4096);
    step(checker, 4, read(0, 8192), data(bytes(first, 0), bytes(second, 1)), "two");
    step(checker, 5, read(4096, 4096), data(bytes(second, 1)), "two");
    const other = first === 100 ? 200 : 100;
    assert.throws(() => step(checker, 6, read(0, 4096), data(bytes(other, 0)), "two"), /not linearizable/);
  }
});

test("a torn write keeps to blocks", () => {
  const checker = checkerWithFile();
  checker.called(3, "one", write(200, 0, 8192));
  checker.abandon(3);
  checker.clientDied("one");
  const torn = [taggedBytes(200, 0, 2048), taggedBytes(100, 2048, 2048)];
  assert.throws(() => step(checker, 4, read(0, 4096), data(...torn), "two"), /not linearizable/);
});

test("an operation that failed somehow is settled at once", () => {
  const checker = checkerWithFile();
  checker.called(3, "one", write(200, 8192, 100));
  checker.failedSomehow(3);
  step(checker, 4, { kind: "getAttributes", inode: 10 }, attributes(10, { size: 8192 }));
  assert.throws(() => step(checker, 5, { kind: "getAttributes", inode: 10 }, attributes(10, { size: 8292 })));
});

test("rename: what POSIX says of targets, subtrees and two names of one file", () => {
  const checker = checkerWithFile();
  const directory = (name: string, parent: number): FileOperation => {
    return { kind: "create", parent, name, type: "directory", mode: 0o755, target: "", open: false };
  };
  const rename = (parent: number, name: string, newParent: number, newName: string): FileOperation => {
    return { kind: "rename", parent, name, newParent, newName, noReplace: false };
  };
  const made = { type: "directory", mode: 0o755, linkCount: 2 } as const;
  step(checker, 3, directory("d", root), attributes(30, made));
  step(checker, 4, directory("e", 30), attributes(31, made));
  step(checker, 5, rename(root, "d", 31, "d"), { kind: "failed", errno: "EINVAL" });
  step(checker, 6, rename(root, "file", root, "d"), { kind: "failed", errno: "EISDIR" });
  step(checker, 7, rename(30, "e", root, "file"), { kind: "failed", errno: "ENOTDIR" });
  step(checker, 8, { kind: "link", inode: 10, parent: 30, name: "l" }, attributes(10, { linkCount: 2, size: 8192 }));
  step(checker, 9, rename(root, "file", 30, "l"), { kind: "done" });
  step(checker, 10, { kind: "lookup", parent: root, name: "file" }, attributes(10, { linkCount: 2, size: 8192 }));
  step(checker, 11, rename(30, "e", root, "e"), { kind: "done" });
  step(checker, 12, { kind: "getAttributes", inode: root }, attributes(root, { ...made, linkCount: 4, size: 96 }));
});
