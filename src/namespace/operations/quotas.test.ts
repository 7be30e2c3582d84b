/** Quotas on directories, users and volumes: what is counted, what crosses borders, what can't be set. */
import { strict as assert } from "node:assert";
import { beforeEach, test } from "node:test";
import { chunkBytes, type QuotaKind } from "../model.ts";
import { assertFails, change, type DrivenSession, Driver, renaming, writing } from "../testing/driver.ts";

const noLimits = { bytes: undefined, inodes: undefined };

let driver: Driver;
let session: DrivenSession;
let root: number;

beforeEach(() => {
  driver = new Driver();
  root = driver.makeVolume();
  session = driver.openSession();
});

function set(kind: QuotaKind, id: number, limits: Partial<{ bytes: number; inodes: number }> = { inodes: 100 }) {
  const subject = { kind, id };
  return driver.leader({ kind: "setQuota", volume: 1, subject, limits: { ...noLimits, ...limits } });
}

function usage(kind: QuotaKind, id: number): readonly [bytes: number, inodes: number] | undefined {
  const quota = driver.namespace.quota(1, { kind, id });
  return quota && [quota.bytes, quota.inodes];
}

/** So many entries at a time, until nothing is left to count. */
function count(entriesAtOnce = 2): void {
  for (;;) {
    const [next] = driver.namespace.quotaCounting(1);
    if (next === undefined) return;
    const { volume, tree, directory, after } = next;
    const isThere = driver.namespace.inode(volume, directory) !== undefined;
    const entries = isThere ? driver.namespace.readDirectory(volume, directory, after, entriesAtOnce) : [];
    const upTo = entries.at(-1)?.cookie ?? after;
    const last = entries.length < entriesAtOnce;
    assert.equal(driver.leader({ kind: "countTree", volume, tree, directory, upTo, last }).kind, "done");
  }
}

test("a file counts up to its end, but no more than its chunks; an orphan until it is reaped", () => {
  const file = session.file(root, "f", { uid: 7, gid: 8 });
  assert.deepEqual(usage("user", 7), [0, 1]);
  session.run(writing(file, 5000, [{ index: 0, chunk: session.chunk() }]));
  assert.deepEqual(usage("group", 8), [8192, 1]);
  session.run(writing(file, 10 * chunkBytes));
  assert.deepEqual(usage("user", 7), [chunkBytes, 1]);
  session.run(change(file, { uid: 9 }));
  assert.equal(usage("user", 7), undefined);
  const orphan = session.removed({ kind: "unlink", parent: root, name: "f" });
  assert.deepEqual(usage("user", 9), [chunkBytes, 1]);
  driver.leader({ kind: "reapOrphan", volume: 1, inode: orphan, limit: 10 });
  assert.equal(usage("user", 9), undefined);
  assert.deepEqual(usage("volume", 0), [0, 1]);
});

test("a tree is counted while it changes, and taken back", () => {
  const top = session.directory(root, "d");
  let at = top;
  for (const name of ["a", "b", "c"]) {
    for (const file of ["1", "2", "3"]) session.file(at, file);
    at = session.directory(at, name);
  }
  set("tree", top);
  assert.deepEqual(usage("tree", top), [0, 1]);
  assert.equal(driver.namespace.isCountingQuota(1, top), true);
  session.file(top, "new");
  session.file(at, "deep");
  assert.deepEqual(usage("tree", top), [0, 2]);
  // Not counted yet: it is still outside, and stays so there.
  session.removed(renaming(top, "a", root, "a"));
  assertFails(session.run(renaming(root, "a", top, "a")), "EXDEV");
  count(1);
  assert.deepEqual(usage("tree", top), [0, 5]);
  set("tree", top, {});
  session.file(top, "newer");
  count();
  assert.equal(usage("tree", top), undefined);
  assert.equal(driver.namespace.isCountingQuota(1, top), false);
});

test("what can't be set: the root, files, directories within each other, two that are counted at once", () => {
  const [one, two] = [session.directory(root, "one"), session.directory(root, "two")];
  const inner = session.directory(one, "inner");
  session.file(one, "f");
  assertFails(set("tree", root), "EINVAL");
  assertFails(set("tree", session.file(root, "g")), "ENOTDIR");
  assertFails(set("tree", 999), "ENOENT");
  assertFails(set("tree", one, {}), "ENOENT");
  assert.equal(set("tree", one).kind, "done");
  assertFails(set("tree", two), "EBUSY");
  count(1);
  assertFails(set("tree", inner), "EINVAL");
  assert.equal(set("tree", two).kind, "done");
  count();
  assert.equal(set("tree", one, {}).kind, "done");
  count();
  assert.equal(usage("tree", one), undefined);
  assert.equal(set("tree", inner).kind, "done");
  count();
  assertFails(set("tree", one), "EINVAL");
});

test("a file moves over a border with its usage; a directory, a further name and a file with two don't", () => {
  const inside = session.directory(root, "in");
  set("tree", inside);
  count();
  const file = session.file(root, "f");
  session.run(writing(file, 4096, [{ index: 0, chunk: session.chunk() }]));
  session.directory(root, "d");
  session.removed(renaming(root, "f", inside, "f"));
  assert.deepEqual(usage("tree", inside), [4096, 2]);
  assertFails(session.run({ kind: "link", inode: file, parent: root, name: "g" }), "EXDEV");
  assertFails(session.run(renaming(root, "d", inside, "d")), "EXDEV");
  session.run({ kind: "link", inode: file, parent: inside, name: "g" });
  assertFails(session.run(renaming(inside, "f", root, "f")), "EXDEV");
  session.removed(renaming(inside, "f", inside, "h"));
  session.removed(renaming(root, "in", root, "renamed"));
  session.removed({ kind: "unlink", parent: inside, name: "g" });
  session.file(root, "other");
  session.run({ kind: "exchange", parent: inside, name: "h", newParent: root, newName: "other" });
  assert.deepEqual(usage("tree", inside), [0, 2]);
});

test("a directory with a quota that is removed takes the quota along; so does a volume", () => {
  const top = session.directory(root, "d");
  set("tree", top);
  const orphan = session.removed({ kind: "rmdir", parent: root, name: "d" });
  driver.leader({ kind: "reapOrphan", volume: 1, inode: orphan, limit: 10 });
  assert.equal(usage("tree", top), undefined);
  count();
  set("tree", session.directory(root, "e"));
  set("user", 5);
  driver.leader({ kind: "closeSession", session: session.id });
  driver.leader({ kind: "deleteVolume", volume: 1 });
  assertFails(set("user", 6), "ENOENT");
  while (driver.namespace.volumes().length > 0) driver.leader({ kind: "removeVolumeInodes", volume: 1, limit: 1 });
  assert.deepEqual(driver.namespace.quotas(1), []);
  assert.deepEqual(driver.namespace.quotaCounting(10), []);
});
