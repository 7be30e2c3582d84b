/** exchange: what the random model (testing/model.ts) doesn't look at. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { assertFails, Driver } from "../testing/driver.ts";

test("both inodes have a newer ctime and their new paths; each name keeps its place in the listing", () => {
  const driver = new Driver();
  const root = driver.makeVolume();
  const session = driver.openSession();
  const directory = session.directory(root, "directory");
  const [first, second] = [session.make("file", root, "first"), session.make("directory", directory, "second")];
  session.file(root, "last");
  session.removed({ kind: "exchange", parent: root, name: "first", newParent: directory, newName: "second" });
  for (const before of [first, second]) assert.ok(session.get(before.inode).ctimeNs > before.ctimeNs);
  assert.equal(driver.namespace.pathOf(1, first.inode), "/directory/second");
  assert.equal(driver.namespace.pathOf(1, second.inode), "/first");
  const listed = driver.namespace.readDirectory(1, root, 0, 100);
  assert.deepEqual(
    listed.map(({ name, type }) => [name, type]),
    [
      ["directory", "directory"],
      ["first", "directory"],
      ["last", "file"],
    ],
  );
  assert.deepEqual([session.get(root).linkCount, session.get(directory).linkCount], [4, 2]);
});

test("ENOENT if either is missing, and a failure changes nothing", () => {
  const driver = new Driver();
  const root = driver.makeVolume();
  const session = driver.openSession();
  session.file(root, "here");
  const exchange = (name: string, newName: string) =>
    session.run({ kind: "exchange", parent: root, name, newParent: root, newName });
  const before = session.get(root);
  assertFails(exchange("missing", "here"), "ENOENT");
  assertFails(exchange("here", "missing"), "ENOENT");
  assert.deepEqual(session.get(root), before);
});
