/** rename: rules and error numbers. */
import { strict as assert } from "node:assert";
import { beforeEach, test } from "node:test";
import { assertFails, type DrivenSession, Driver, renaming } from "../testing/driver.ts";

let driver: Driver;
let session: DrivenSession;
let root: number;

beforeEach(() => {
  driver = new Driver();
  root = driver.makeVolume();
  session = driver.openSession();
});

function names(directory: number): string[] {
  return driver.namespace.readDirectory(1, directory, 0, 100).map((entry) => entry.name);
}

test("within a directory", () => {
  const file = session.make("file", root, "a");
  const before = session.get(root);
  assert.equal(session.removed(renaming(root, "a", root, "b")), 0);
  assert.deepEqual(names(root), ["b"]);
  const after = session.get(root);
  assert.equal(after.size, before.size);
  assert.ok(after.mtimeNs > before.mtimeNs);
  assert.ok(session.get(file.inode).ctimeNs > file.ctimeNs);
  assert.equal(session.get(file.inode).mtimeNs, file.mtimeNs);
  assert.equal(driver.namespace.pathOf(1, file.inode), "/b");
});

test("a directory to another one: parents, link counts, paths", () => {
  const [from, to] = [session.directory(root, "from"), session.directory(root, "to")];
  const moved = session.directory(from, "moved");
  const inside = session.file(moved, "inside");
  assert.equal(session.removed(renaming(from, "moved", to, "there")), 0);
  assert.equal(session.get(from).linkCount, 2);
  assert.equal(session.get(to).linkCount, 3);
  assert.equal(driver.namespace.inode(1, moved)!.parent, to);
  assert.equal(driver.namespace.pathOf(1, inside), "/to/there/inside");
});

test("replaces a file, which becomes an orphan, and lists the name in the old place", () => {
  const target = session.file(root, "target");
  session.file(root, "between");
  const file = session.file(root, "new");
  assert.equal(session.removed(renaming(root, "new", root, "target")), target);
  assert.deepEqual(names(root), ["target", "between"]);
  assert.equal(driver.namespace.lookup(1, root, "target")!.inode, file);
  assert.equal(session.get(root).size, 64);
  assert.equal(session.get(target).linkCount, 0);
});

test("replaces one of several names of a file", () => {
  const target = session.file(root, "target");
  session.attributes({ kind: "link", inode: target, parent: root, name: "other" });
  session.file(root, "new");
  assert.equal(session.removed(renaming(root, "new", root, "target")), 0);
  assert.equal(session.get(target).linkCount, 1);
});

test("replaces an empty directory by a directory, within one and from another", () => {
  const [left, right] = [session.directory(root, "left"), session.directory(root, "right")];
  assert.equal(session.removed(renaming(root, "left", root, "right")), right);
  assert.equal(session.get(root).linkCount, 3);
  const below = session.directory(left, "below");
  const target = session.directory(root, "target");
  assert.equal(session.removed(renaming(left, "below", root, "target")), target);
  assert.equal(session.get(left).linkCount, 2);
  assert.equal(session.get(root).linkCount, 4);
  assert.equal(driver.namespace.pathOf(1, below), "/target");
});

test("onto another name of the same inode does nothing", () => {
  const file = session.file(root, "a");
  session.attributes({ kind: "link", inode: file, parent: root, name: "b" });
  const before = [session.get(root), session.get(file)];
  assert.equal(session.removed(renaming(root, "a", root, "b")), 0);
  assert.equal(session.removed(renaming(root, "a", root, "a")), 0);
  assert.deepEqual([session.get(root), session.get(file)], before);
  assert.deepEqual(names(root), ["a", "b"]);
});

test("noReplace", () => {
  session.file(root, "a");
  session.file(root, "b");
  assertFails(session.run(renaming(root, "a", root, "b", true)), "EEXIST");
  assertFails(session.run(renaming(root, "a", root, "a", true)), "EEXIST");
  assert.equal(session.removed(renaming(root, "a", root, "c", true)), 0);
});

test("errors of what is there", () => {
  const directory = session.directory(root, "d");
  const full = session.directory(root, "full");
  session.file(full, "inside");
  const file = session.file(root, "f");
  assertFails(session.run(renaming(root, "x", root, "y")), "ENOENT");
  assertFails(session.run(renaming(999_999, "x", root, "y")), "ENOENT");
  assertFails(session.run(renaming(root, "f", 999_999, "y")), "ENOENT");
  assertFails(session.run(renaming(root, "f", file, "y")), "ENOTDIR");
  assertFails(session.run(renaming(file, "f", root, "y")), "ENOTDIR");
  assertFails(session.run(renaming(root, "d", root, "f")), "ENOTDIR");
  assertFails(session.run(renaming(root, "f", root, "d")), "EISDIR");
  assertFails(session.run(renaming(root, "f", root, "full")), "EISDIR");
  assertFails(session.run(renaming(root, "d", root, "full")), "ENOTEMPTY");
  assertFails(session.run(renaming(root, "f", root, "a/b")), "EINVAL");
  assert.equal(session.removed({ kind: "rmdir", parent: root, name: "d" }), directory);
  assertFails(session.run(renaming(root, "f", directory, "y")), "ENOENT");
});

test("a directory can't be moved into itself, nor onto one that it is in", () => {
  const a = session.directory(root, "a");
  const b = session.directory(a, "b");
  const c = session.directory(b, "c");
  assertFails(session.run(renaming(root, "a", a, "x")), "EINVAL");
  assertFails(session.run(renaming(root, "a", c, "x")), "EINVAL");
  assertFails(session.run(renaming(root, "a", b, "c")), "EINVAL");
  assertFails(session.run(renaming(b, "c", root, "a")), "ENOTEMPTY");
  session.file(b, "f");
  assertFails(session.run(renaming(b, "f", root, "a")), "ENOTEMPTY");
  assertFails(session.run(renaming(b, "f", a, "b")), "ENOTEMPTY");
  assert.equal(session.removed(renaming(b, "c", root, "c")), 0);
  assert.equal(session.removed(renaming(root, "a", c, "a")), 0);
  assert.equal(driver.namespace.pathOf(1, b), "/c/a/b");
});
