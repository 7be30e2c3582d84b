/** create, link, unlink and rmdir: rules and error numbers. */
import { strict as assert } from "node:assert";
import { beforeEach, test } from "node:test";
import { encode } from "../../codec/schema.ts";
import { inodeKey } from "../keys.ts";
import { inodeRecord, linkCountMax } from "../model.ts";
import { assertFails, type DrivenSession, Driver } from "../testing/driver.ts";

let driver: Driver;
let session: DrivenSession;
let root: number;

beforeEach(() => {
  driver = new Driver();
  root = driver.makeVolume();
  session = driver.openSession();
});

/** Gives an inode this link count behind the rules' back. */
function forceLinkCount(inode: number, linkCount: number): void {
  const record = driver.namespace.inode(1, inode)!;
  const changed = { ...record, attributes: { ...record.attributes, linkCount } };
  driver.state.put(inodeKey(1, inode), encode(inodeRecord, changed));
  driver.reopen();
}

/** Applies without the invariants, which a forced link count breaks. */
function runUnchecked(operation: Parameters<DrivenSession["run"]>[0]) {
  driver.index += 1;
  return driver.namespace.applyBatch(driver.index, [session.transaction(operation)])[0]!;
}

test("create makes a file with one link and changes the parent's times and size", () => {
  const before = session.get(root);
  const file = session.make("file", root, "a", { mode: 0o4755, uid: 7, gid: 8 });
  assert.equal(file.type, "file");
  assert.equal(file.mode, 0o4755);
  assert.deepEqual([file.uid, file.gid, file.linkCount, file.size, file.chunkCount], [7, 8, 1, 0, 0]);
  assert.equal(file.btimeNs, driver.timeNs);
  assert.deepEqual([file.atimeNs, file.mtimeNs, file.ctimeNs], [driver.timeNs, driver.timeNs, driver.timeNs]);
  const after = session.get(root);
  assert.equal(after.size, before.size + 32);
  assert.equal(after.linkCount, 2);
  assert.ok(after.mtimeNs === after.ctimeNs && after.mtimeNs > before.mtimeNs);
  assert.equal(driver.namespace.lookup(1, root, "a")!.inode, file.inode);
  assert.deepEqual(session.get(file.inode), file);
  assert.equal(driver.namespace.volumes()[0]!.inodeCount, 2);
});

test("create of each kind of node", () => {
  const directory = session.make("directory", root, "directory", { mode: 0o1777 });
  assert.deepEqual([directory.linkCount, directory.mode, directory.size], [2, 0o1777, 0]);
  assert.equal(session.get(root).linkCount, 3);
  const symlink = session.make("symlink", root, "symlink", { target: "../\xe4\xff", mode: 0 });
  assert.deepEqual([symlink.mode, symlink.size], [0o777, 5]);
  assert.equal(driver.namespace.inode(1, symlink.inode)!.target, "../\xe4\xff");
  assert.equal(session.make("characterDevice", root, "null", { device: 0x103 }).device, 0x103);
  assert.equal(session.make("fifo", root, "fifo", { device: 5 }).device, 0);
  assert.equal(session.make("socket", root, "socket").type, "socket");
});

test("create in a setgid directory inherits the group, and a directory the bit", () => {
  const parent = session.directory(root, "shared", { mode: 0o2775, gid: 50 });
  const file = session.make("file", parent, "file", { gid: 1000 });
  assert.deepEqual([file.gid, file.mode], [50, 0o644]);
  const directory = session.make("directory", parent, "directory", { gid: 1000, mode: 0o755 });
  assert.deepEqual([directory.gid, directory.mode], [50, 0o2755]);
});

test("create: errors", () => {
  const file = session.file(root, "file");
  assertFails(session.run(session.creation("file", 999_999, "a")), "ENOENT");
  assertFails(session.run(session.creation("file", file, "a")), "ENOTDIR");
  assertFails(session.run(session.creation("file", root, "file")), "EEXIST");
  assertFails(session.run(session.creation("directory", root, "file")), "EEXIST");
  for (const name of ["", ".", "..", "a/b", "a\0"]) {
    assertFails(session.run(session.creation("file", root, name)), "EINVAL");
  }
  assertFails(session.run(session.creation("symlink", root, "s", { target: "" })), "ENOENT");
  assertFails(session.run(session.creation("file", root, "s", { target: "x" })), "EINVAL");
  assert.equal(session.make("file", root, "n".repeat(255)).linkCount, 1);
});

test("create refuses a name that is too long, should one get past the decoder", () => {
  const operation = session.creation("file", root, "n".repeat(256));
  assertFails(runUnchecked(operation), "ENAMETOOLONG");
});

test("create takes each granted number once", () => {
  const inode = session.file(root, "a");
  assertFails(session.run(session.creation("file", root, "b", { inode })), "EINVAL");
  assertFails(session.run(session.creation("file", root, "b", { inode: 10_000 })), "EINVAL");
  assertFails(session.run(session.creation("file", root, "b", { inode: root })), "EINVAL");
  const orphan = session.removed({ kind: "unlink", parent: root, name: "a" });
  driver.leader({ kind: "reapOrphan", volume: 1, inode: orphan, limit: 10 });
  assertFails(session.run(session.creation("file", root, "b", { inode })), "EINVAL");
  const other = driver.openSession("other");
  assertFails(other.run(other.creation("file", root, "b", { inode: session.inode() })), "EINVAL");
});

test("a failed create leaves its number to be used again", () => {
  session.file(root, "a");
  const inode = session.inode();
  assertFails(session.run(session.creation("file", root, "a", { inode })), "EEXIST");
  assert.equal(session.file(root, "b", { inode }), inode);
});

test("a removed directory takes no entries: ENOENT", () => {
  const directory = session.directory(root, "d");
  const file = session.file(root, "f");
  assert.equal(session.removed({ kind: "rmdir", parent: root, name: "d" }), directory);
  assertFails(session.run(session.creation("file", directory, "a")), "ENOENT");
  assertFails(session.run({ kind: "link", inode: file, parent: directory, name: "a" }), "ENOENT");
  assertFails(session.run({ kind: "unlink", parent: directory, name: "a" }), "ENOENT");
  assertFails(session.run({ kind: "rmdir", parent: directory, name: "a" }), "ENOENT");
  assert.deepEqual(driver.namespace.readDirectory(1, directory, 0, 10), []);
  assert.equal(driver.namespace.lookup(1, directory, "a"), undefined);
});

test("link adds a name and changes ctime, not mtime", () => {
  const directory = session.directory(root, "d");
  const file = session.make("file", root, "a");
  const linked = session.attributes({ kind: "link", inode: file.inode, parent: directory, name: "b" });
  assert.equal(linked.linkCount, 2);
  assert.ok(linked.ctimeNs > file.ctimeNs);
  assert.equal(linked.mtimeNs, file.mtimeNs);
  assert.equal(driver.namespace.pathOf(1, file.inode), "/d/b");
  assert.equal(session.removed({ kind: "unlink", parent: root, name: "a" }), 0);
  assert.equal(session.get(file.inode).linkCount, 1);
});

test("link: errors", () => {
  const directory = session.directory(root, "d");
  const file = session.file(root, "a");
  assertFails(session.run({ kind: "link", inode: 999_999, parent: root, name: "b" }), "ENOENT");
  assertFails(session.run({ kind: "link", inode: file, parent: 999_999, name: "b" }), "ENOENT");
  assertFails(session.run({ kind: "link", inode: file, parent: file, name: "b" }), "ENOTDIR");
  assertFails(session.run({ kind: "link", inode: file, parent: root, name: "d" }), "EEXIST");
  assertFails(session.run({ kind: "link", inode: directory, parent: root, name: "a" }), "EEXIST");
  assertFails(session.run({ kind: "link", inode: directory, parent: root, name: "b" }), "EPERM");
  assert.equal(session.removed({ kind: "unlink", parent: root, name: "a" }), file);
  assertFails(session.run({ kind: "link", inode: file, parent: root, name: "a" }), "ENOENT");
});

test("EMLINK at the most links of a file and the most subdirectories", () => {
  const file = session.file(root, "a");
  const directory = session.directory(root, "d");
  forceLinkCount(file, linkCountMax);
  assertFails(runUnchecked({ kind: "link", inode: file, parent: root, name: "b" }), "EMLINK");
  forceLinkCount(directory, linkCountMax);
  assertFails(runUnchecked(session.creation("directory", directory, "e")), "EMLINK");
  const kind = "rename";
  const other = session.creation("directory", root, "other");
  runUnchecked(other);
  const into = { kind, parent: root, name: "other", newParent: directory, newName: "other", noReplace: false } as const;
  assertFails(runUnchecked(into), "EMLINK");
  assert.equal(runUnchecked(session.creation("file", directory, "file")).kind, "attributes");
});

test("unlink moves an inode without names to the orphans", () => {
  const file = session.make("file", root, "a");
  assert.equal(session.removed({ kind: "unlink", parent: root, name: "a" }), file.inode);
  assert.equal(session.get(file.inode).linkCount, 0);
  assert.ok(session.get(file.inode).ctimeNs > file.ctimeNs);
  assert.deepEqual(driver.namespace.orphans(0, 10), [{ volume: 1, inode: file.inode }]);
  assert.deepEqual(driver.namespace.orphans(file.inode, 10), []);
  assert.equal(driver.namespace.lookup(1, root, "a"), undefined);
  assert.equal(driver.namespace.pathOf(1, file.inode), undefined);
});

test("unlink and rmdir: errors", () => {
  const directory = session.directory(root, "d");
  const file = session.file(directory, "a");
  assertFails(session.run({ kind: "unlink", parent: root, name: "x" }), "ENOENT");
  assertFails(session.run({ kind: "unlink", parent: root, name: "d" }), "EISDIR");
  assertFails(session.run({ kind: "unlink", parent: file, name: "d" }), "ENOTDIR");
  assertFails(session.run({ kind: "unlink", parent: 999_999, name: "d" }), "ENOENT");
  assertFails(session.run({ kind: "rmdir", parent: root, name: "x" }), "ENOENT");
  assertFails(session.run({ kind: "rmdir", parent: directory, name: "a" }), "ENOTDIR");
  assertFails(session.run({ kind: "rmdir", parent: root, name: "d" }), "ENOTEMPTY");
  session.removed({ kind: "unlink", parent: directory, name: "a" });
  assert.equal(session.removed({ kind: "rmdir", parent: root, name: "d" }), directory);
  assert.equal(session.get(root).linkCount, 2);
  assert.equal(session.get(root).size, 0);
});

test("ctime never goes back, even if time does", () => {
  const file = session.file(root, "a");
  const { ctimeNs } = session.get(root);
  driver.timeNs = 5n;
  session.file(root, "b");
  session.file(root, "c");
  assert.equal(session.get(root).ctimeNs, ctimeNs + 2n);
  assert.equal(session.get(root).mtimeNs, ctimeNs + 2n);
  const { ctimeNs: fileNs } = session.get(file);
  assert.equal(session.attributes({ kind: "link", inode: file, parent: root, name: "d" }).ctimeNs, fileNs + 1n);
  session.removed({ kind: "unlink", parent: root, name: "d" });
  assert.equal(session.get(file).ctimeNs, fileNs + 2n);
});

test("an inode of another volume is not there", () => {
  const otherRoot = driver.makeVolume("other");
  const other = driver.openSession("other", 2);
  const file = session.file(root, "a");
  assertFails(other.run(other.creation("file", root, "x")), "ENOENT");
  assertFails(other.run({ kind: "link", inode: file, parent: otherRoot, name: "x" }), "ENOENT");
  assert.equal(driver.namespace.inode(2, file), undefined);
  assert.notEqual(otherRoot, root);
});
