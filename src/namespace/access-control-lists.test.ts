/** POSIX ACLs: what is refused, what the mode says, what is inherited. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FileError } from "../errors/file-error.ts";
import {
  accessListName,
  defaultListName,
  isMinimal,
  listOf,
  parseList,
  permissionsOf,
} from "./access-control-lists.ts";
import { assertFails, type DrivenSession, Driver } from "./testing/driver.ts";

type Entry = readonly [tag: number, bits: number, id?: number];
const [owner, user, group, namedGroup, mask, other] = [1, 2, 4, 8, 16, 32];

function list(...entries: readonly Entry[]): Buffer {
  const buffer = Buffer.alloc(4 + entries.length * 8);
  buffer.writeUInt32LE(2, 0);
  for (const [index, [tag, bits, id = 0xffff_ffff]] of entries.entries()) {
    buffer.writeUInt16LE(tag, 4 + index * 8);
    buffer.writeUInt16LE(bits, 6 + index * 8);
    buffer.writeUInt32LE(id, 8 + index * 8);
  }
  return buffer;
}

const minimal = list([owner, 6], [group, 4], [other, 0]);
const named = list([owner, 7], [user, 7, 5], [group, 5], [namedGroup, 4, 6], [mask, 6], [other, 1]);

function setting(session: DrivenSession, inode: number, which: "access" | "default", value: Uint8Array) {
  return session.run({ kind: "setAccessControlList", inode, which, list: value, killSetGroupId: false });
}

test("the mode's group bits are the mask's, or without one the group's", () => {
  assert.equal(permissionsOf(parseList(minimal)), 0o640);
  assert.equal(permissionsOf(parseList(named)), 0o761);
  assert.deepEqual([isMinimal(parseList(minimal)), isMinimal(parseList(named))], [true, false]);
});

test("what is no list is refused", () => {
  const wrong = {
    "no version": Buffer.alloc(28),
    "cut off": named.subarray(0, -1),
    "no others": list([owner, 6], [group, 4], [mask, 4]),
    "a name without a mask": list([owner, 6], [user, 6, 5], [group, 4], [other, 0]),
    "not in order": list([group, 4], [owner, 6], [other, 0]),
    "two owners": list([owner, 6], [owner, 6], [group, 4], [other, 0]),
    "an unknown tag": list([owner, 6], [group, 4], [other, 0], [64, 0]),
    "unknown permissions": list([owner, 14], [group, 4], [other, 0]),
    "too many": list(...Array.from({ length: 8192 }, (): Entry => [owner, 6])),
  };
  for (const [what, value] of Object.entries(wrong)) {
    assert.throws(
      () => parseList(value),
      (error) => error instanceof FileError && error.code === "EINVAL",
      what,
    );
  }
});

test("a list and the mode follow each other", () => {
  const driver = new Driver();
  const root = driver.makeVolume();
  const session = driver.openSession();
  const file = session.file(root, "file", { mode: 0o2644 });
  const kept = () => listOf(driver.namespace.inode(1, file)!, accessListName);
  setting(session, file, "access", named);
  assert.equal(session.get(file).mode, 0o2761);
  session.run({
    kind: "setAttributes",
    inode: file,
    mode: 0o640,
    uid: undefined,
    gid: undefined,
    size: undefined,
    mappings: [],
    atime: undefined,
    mtime: undefined,
    ctime: undefined,
    killPrivileges: false,
  });
  const after = list([owner, 6], [user, 7, 5], [group, 5], [namedGroup, 4, 6], [mask, 4], [other, 0]);
  assert.deepEqual(Buffer.from(kept()!), after);
  setting(session, file, "access", minimal);
  assert.equal(kept(), undefined);
  assert.equal(setting(session, file, "access", Buffer.alloc(0)).kind, "attributes");
  assertFails(setting(session, file, "default", named), "EACCES");
});

test("what is made in a directory gets its default list, less the mode asked for, and the umask is left aside", () => {
  const driver = new Driver();
  const root = driver.makeVolume();
  const session = driver.openSession();
  const directory = session.directory(root, "directory");
  setting(session, directory, "default", named);
  const file = session.file(directory, "file", { mode: 0o660, umask: 0o077 });
  assert.equal(session.get(file).mode, 0o660);
  const expected = list([owner, 6], [user, 7, 5], [group, 5], [namedGroup, 4, 6], [mask, 6], [other, 0]);
  assert.deepEqual(Buffer.from(listOf(driver.namespace.inode(1, file)!, accessListName)!), expected);
  const below = session.directory(directory, "below", { umask: 0o077 });
  assert.deepEqual(Buffer.from(listOf(driver.namespace.inode(1, below)!, defaultListName)!), named);
  const symlink = session.make("symlink", directory, "symlink", { umask: 0o077 });
  assert.equal(symlink.mode, 0o777);
  const outside = session.make("file", root, "outside", { mode: 0o666, umask: 0o027 });
  assert.equal(outside.mode, 0o640);
});
