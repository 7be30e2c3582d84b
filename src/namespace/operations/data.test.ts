/** setAttributes, write and the chunk map. */
import { strict as assert } from "node:assert";
import { beforeEach, test } from "node:test";
import { chunkBytes, fileBytesMax } from "../model.ts";
import { mappedToEnd } from "../namespace.ts";
import { assertFails, change, type DrivenSession, Driver, writing } from "../testing/driver.ts";

let driver: Driver;
let session: DrivenSession;
let root: number;
let file: number;

beforeEach(() => {
  driver = new Driver();
  root = driver.makeVolume();
  session = driver.openSession();
  file = session.file(root, "file");
});

function mappings(inode = file) {
  return driver.namespace.mappings(1, inode, 0, 100).mappings;
}

test("write maps chunks, extends the file and sets mtime", () => {
  const before = session.get(file);
  const [first, third] = [session.chunk(), session.chunk()];
  const after = session.attributes(
    writing(file, 2 * chunkBytes + 5, [
      { index: 0, chunk: first },
      { index: 2, chunk: third },
    ]),
  );
  assert.deepEqual([after.size, after.chunkCount], [2 * chunkBytes + 5, 2]);
  assert.ok(after.mtimeNs === after.ctimeNs && after.mtimeNs > before.mtimeNs);
  assert.equal(after.atimeNs, before.atimeNs);
  assert.deepEqual(mappings(), [
    { index: 0, chunk: first },
    { index: 2, chunk: third },
  ]);
  assert.deepEqual(driver.namespace.chunkOwner(third), { volume: 1, inode: file, index: 2 });
  assert.equal(driver.namespace.volumes()[0]!.chunkCount, 2);
  assert.equal(session.attributes(writing(file, 5)).size, 2 * chunkBytes + 5);
});

test("mappings come in pages", () => {
  const chunks = [session.chunk(), session.chunk(), session.chunk()];
  session.attributes(writing(file, 10 * chunkBytes, [{ index: 1, chunk: chunks[0]! }]));
  session.attributes(writing(file, 0, [{ index: 4, chunk: chunks[1]! }]));
  session.attributes(writing(file, 0, [{ index: 9, chunk: chunks[2]! }]));
  const first = driver.namespace.mappings(1, file, 0, 2);
  assert.deepEqual([first.mappings.map(({ index }) => index), first.mappedBelow], [[1, 4], 5]);
  const rest = driver.namespace.mappings(1, file, first.mappedBelow, 2);
  assert.deepEqual([rest.mappings.map(({ index }) => index), rest.mappedBelow], [[9], mappedToEnd]);
});

test("a chunk that takes the place of another leaves that one to be deleted", () => {
  const [old, young] = [session.chunk(), session.chunk()];
  session.attributes(writing(file, 10, [{ index: 0, chunk: old }]));
  const after = session.attributes(writing(file, 10, [{ index: 0, chunk: young }]));
  assert.equal(after.chunkCount, 1);
  assert.deepEqual(driver.namespace.chunksToDelete(0, 10), [old]);
  assert.equal(driver.namespace.chunksToDeleteCount, 1);
  assert.equal(driver.namespace.chunkOwner(old), undefined);
  driver.leader({ kind: "chunksDeleted", chunks: [old, old, young, 77] });
  assert.deepEqual(driver.namespace.chunksToDelete(0, 10), []);
  assert.equal(driver.namespace.chunksToDeleteCount, 0);
});

test("mapping what is mapped there already changes nothing but the times", () => {
  const chunk = session.chunk();
  session.attributes(writing(file, 10, [{ index: 0, chunk }]));
  assert.equal(session.attributes(writing(file, 10, [{ index: 0, chunk }])).chunkCount, 1);
  assert.equal(driver.namespace.chunksToDeleteCount, 0);
});

test("write: errors", () => {
  const chunk = session.chunk();
  const other = driver.openSession("other");
  const otherChunk = other.chunk();
  const map = (index: number, number: number) => writing(file, 10, [{ index, chunk: number }]);
  assertFails(session.run(writing(999_999, 10)), "ENOENT");
  assertFails(session.run(writing(root, 10)), "EINVAL");
  assertFails(session.run(writing(session.make("symlink", root, "s").inode, 10)), "EINVAL");
  assertFails(session.run(writing(file, fileBytesMax + 1)), "EFBIG");
  assertFails(session.run(map(1, chunk)), "EINVAL");
  assertFails(session.run(map(0, otherChunk)), "EINVAL");
  assertFails(session.run(map(0, 12345)), "EINVAL");
  const twice = [
    { index: 0, chunk },
    { index: 0, chunk: session.chunk() },
  ];
  assertFails(session.run(writing(file, 10, twice)), "EINVAL");
  const sameChunk = [
    { index: 0, chunk },
    { index: 1, chunk },
  ];
  assertFails(session.run(writing(file, 2 * chunkBytes, sameChunk)), "EINVAL");
  assert.equal(session.get(file).size, 0);
  session.attributes(map(0, chunk));
  const second = session.file(root, "second");
  assertFails(session.run(writing(second, 10, [{ index: 0, chunk }])), "EINVAL");
  assert.equal(session.attributes(writing(file, fileBytesMax)).size, fileBytesMax);
});

test("a chunk that was mapped once can't be mapped again", () => {
  const chunk = session.chunk();
  session.attributes(writing(file, 10, [{ index: 0, chunk }]));
  session.attributes(change(file, { size: 0 }));
  assertFails(session.run(writing(file, 10, [{ index: 0, chunk }])), "EINVAL");
  driver.leader({ kind: "chunksDeleted", chunks: [chunk] });
  assertFails(session.run(writing(file, 10, [{ index: 0, chunk }])), "EINVAL");
});

test("an orphan can be written, changed and truncated", () => {
  assert.equal(session.removed({ kind: "unlink", parent: root, name: "file" }), file);
  const chunk = session.chunk();
  assert.equal(session.attributes(writing(file, 100, [{ index: 0, chunk }])).size, 100);
  assert.equal(session.attributes(change(file, { mode: 0o600 })).mode, 0o600);
  assert.equal(session.attributes(change(file, { size: 0 })).chunkCount, 0);
});

test("truncate unmaps what is beyond the new end and takes the clone of the last chunk", () => {
  const chunks = Array.from({ length: 4 }, () => session.chunk());
  session.attributes(
    writing(
      file,
      4 * chunkBytes,
      chunks.map((chunk, index) => ({ index, chunk })),
    ),
  );
  const clone = session.chunk();
  const after = session.attributes(change(file, { size: chunkBytes + 100, mappings: [{ index: 1, chunk: clone }] }));
  assert.deepEqual([after.size, after.chunkCount], [chunkBytes + 100, 2]);
  assert.equal(after.mtimeNs, after.ctimeNs);
  assert.deepEqual(mappings(), [
    { index: 0, chunk: chunks[0]! },
    { index: 1, chunk: clone },
  ]);
  assert.deepEqual(
    driver.namespace.chunksToDelete(0, 10),
    chunks.slice(1).sort((left, right) => left - right),
  );
  assert.equal(session.attributes(change(file, { size: 10 * chunkBytes })).chunkCount, 2);
  assert.equal(session.attributes(change(file, { size: 0 })).chunkCount, 0);
});

test("truncate: errors", () => {
  const chunk = session.chunk();
  assertFails(session.run(change(root, { size: 0 })), "EISDIR");
  assertFails(session.run(change(session.make("fifo", root, "fifo").inode, { size: 0 })), "EINVAL");
  assertFails(session.run(change(file, { size: fileBytesMax + 1 })), "EFBIG");
  assertFails(session.run(change(999_999, { size: 0 })), "ENOENT");
  assertFails(session.run(change(file, { mappings: [{ index: 0, chunk }] })), "EINVAL");
  assertFails(session.run(change(file, { size: chunkBytes, mappings: [{ index: 1, chunk }] })), "EINVAL");
  assert.equal(session.attributes(change(file, { size: fileBytesMax })).size, fileBytesMax);
});

test("chmod and chown change ctime only; only permission bits are taken", () => {
  const before = session.get(file);
  const after = session.attributes(change(file, { mode: 0o106755, uid: 5, gid: 6 }));
  assert.deepEqual([after.mode, after.uid, after.gid], [0o6755, 5, 6]);
  assert.ok(after.ctimeNs > before.ctimeNs);
  assert.deepEqual([after.mtimeNs, after.atimeNs], [before.mtimeNs, before.atimeNs]);
  assert.deepEqual(session.attributes(change(file, {})), after);
});

test("killPrivileges clears setuid, setgid with group execute, and leaves directories alone", () => {
  const kill = (mode: number, type: "file" | "directory" = "file") => {
    const { inode } = session.make(type, root, `${type}-${mode}`, { mode });
    return session.attributes(change(inode, { uid: 9, killPrivileges: true })).mode;
  };
  assert.equal(kill(0o6755), 0o755);
  assert.equal(kill(0o6745), 0o2745);
  assert.equal(kill(0o4644), 0o644);
  assert.equal(kill(0o6755, "directory"), 0o6755);
  const written = session.file(root, "written", { mode: 0o6777 });
  assert.equal(session.attributes(writing(written, 1, [], false)).mode, 0o6777);
  assert.equal(session.attributes(writing(written, 1, [], true)).mode, 0o777);
});

test("times: given ones, now, and a ctime that doesn't go back", () => {
  const { ctimeNs } = session.get(file);
  const set = session.attributes(
    change(file, { atime: { kind: "at", ns: -5n }, mtime: { kind: "at", ns: 123_456_789n } }),
  );
  assert.deepEqual([set.atimeNs, set.mtimeNs], [-5n, 123_456_789n]);
  assert.ok(set.ctimeNs > ctimeNs);
  const now = session.attributes(change(file, { atime: { kind: "now" }, mtime: { kind: "now" } }));
  assert.deepEqual([now.atimeNs, now.mtimeNs, now.ctimeNs], [driver.timeNs, driver.timeNs, driver.timeNs]);
  const back = session.attributes(change(file, { ctime: { kind: "at", ns: 1n } }));
  assert.equal(back.ctimeNs, driver.timeNs);
  const laterNs = driver.timeNs * 2n;
  const future = session.attributes(change(file, { ctime: { kind: "at", ns: laterNs } }));
  assert.equal(future.ctimeNs, laterNs);
  assert.ok(session.attributes(change(file, { mode: 0 })).ctimeNs > future.ctimeNs);
});

test("reapOrphan removes mappings step by step, then the inode", () => {
  const chunks = Array.from({ length: 5 }, () => session.chunk());
  session.attributes(
    writing(
      file,
      5 * chunkBytes,
      chunks.map((chunk, index) => ({ index, chunk })),
    ),
  );
  const reap = () => driver.leader({ kind: "reapOrphan", volume: 1, inode: file, limit: 2 });
  assertFails(reap(), "ENOENT");
  session.removed({ kind: "unlink", parent: root, name: "file" });
  assert.deepEqual(reap(), { kind: "reaped", finished: false });
  assert.equal(session.get(file).chunkCount, 3);
  assert.deepEqual(reap(), { kind: "reaped", finished: false });
  assert.deepEqual(reap(), { kind: "reaped", finished: true });
  assert.equal(driver.namespace.inode(1, file), undefined);
  assert.equal(driver.namespace.chunksToDeleteCount, 5);
  assert.deepEqual(driver.namespace.orphans(0, 10), []);
  assert.equal(driver.namespace.volumes()[0]!.inodeCount, 1);
  assertFails(reap(), "ENOENT");
  assertFails(driver.leader({ kind: "reapOrphan", volume: 1, inode: file, limit: 0 }), "EINVAL");
});

test("readDirectory goes on behind a cookie, whatever comes and goes", () => {
  for (const name of ["a", "b", "c"]) session.file(root, name);
  const first = driver.namespace.readDirectory(1, root, 0, 2);
  assert.deepEqual(
    first.map(({ name, cookie }) => [name, cookie]),
    [
      ["file", 3],
      ["a", 4],
    ],
  );
  const { inode, type, cookie } = first[1]!;
  assert.deepEqual({ inode, type, cookie }, driver.namespace.lookup(1, root, "a"));
  session.removed({ kind: "unlink", parent: root, name: "a" });
  session.removed({ kind: "unlink", parent: root, name: "b" });
  session.file(root, "b");
  const rest = driver.namespace.readDirectory(1, root, first.at(-1)!.cookie, 10);
  assert.deepEqual(
    rest.map(({ name, cookie }) => [name, cookie]),
    [
      ["c", 6],
      ["b", 7],
    ],
  );
  assert.throws(() => driver.namespace.readDirectory(1, file, 0, 10), { code: "ENOTDIR" });
  assert.throws(() => driver.namespace.lookup(1, 999_999, "a"), { code: "ENOENT" });
});

test("holes within chunks are marked, and forgotten with the last chunk", () => {
  const marked = () => session.get(file).hasHoles;
  const setSize = (size: number) => session.attributes(change(file, { size }));
  session.run({ kind: "markHoles", inode: file });
  assert.equal(marked(), false, "nothing is mapped");
  session.attributes(writing(file, 5000, [{ index: 0, chunk: session.chunk() }]));
  setSize(8192);
  assert.equal(marked(), false, "the last block reached so far");
  setSize(8193);
  assert.equal(marked(), true);
  setSize(0);
  assert.equal(marked(), false);
  session.attributes(writing(file, chunkBytes, [{ index: 0, chunk: session.chunk() }]));
  setSize(9 * chunkBytes);
  assert.equal(marked(), false, "only whole chunks are missing");
  const before = session.get(file);
  session.run({ kind: "markHoles", inode: file });
  assert.deepEqual(session.get(file), { ...before, hasHoles: true });
  session.run({ kind: "unmap", inode: file, from: 0, below: 9 });
  assert.equal(marked(), false);
  assertFails(session.run({ kind: "markHoles", inode: root }), "EINVAL");
});
