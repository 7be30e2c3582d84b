/** setExtendedAttribute and removeExtendedAttribute. */
import { strict as assert } from "node:assert";
import { beforeEach, test } from "node:test";
import { encode } from "../../codec/schema.ts";
import { extendedBytesMax, extendedCountMax, inodeRecord } from "../model.ts";
import { assertFails, type DrivenSession, Driver, renaming } from "../testing/driver.ts";

let driver: Driver;
let session: DrivenSession;
let file: number;
let root: number;

beforeEach(() => {
  driver = new Driver();
  root = driver.makeVolume();
  session = driver.openSession();
  file = session.file(root, "file");
});

const set = (name: string, text: string | Uint8Array, mode: "set" | "create" | "replace" = "set") =>
  ({ kind: "setExtendedAttribute", inode: file, name, value: Buffer.from(text), mode }) as const;
const remove = (name: string) => ({ kind: "removeExtendedAttribute", inode: file, name }) as const;

function stored(): [string, string][] {
  const { extendedAttributes } = driver.namespace.inode(1, file)!;
  return extendedAttributes.map(({ name, value }) => [name, Buffer.from(value).toString()]);
}

test("attributes are set, replaced in their place and removed; each change sets ctime", () => {
  const before = session.get(file);
  session.attributes(set("user.a", "1"));
  session.attributes(set("user.b", ""));
  const after = session.attributes(set("user.a", "two", "replace"));
  assert.deepEqual(stored(), [
    ["user.a", "two"],
    ["user.b", ""],
  ]);
  assert.ok(after.ctimeNs > before.ctimeNs);
  assert.equal(after.mtimeNs, before.mtimeNs);
  session.attributes(remove("user.a"));
  assert.deepEqual(stored(), [["user.b", ""]]);
});

test("create and replace want it absent and there; what is gone can't be removed", () => {
  assertFails(session.run(set("user.a", "1", "replace")), "ENODATA");
  session.attributes(set("user.a", "1", "create"));
  assertFails(session.run(set("user.a", "2", "create")), "EEXIST");
  assertFails(session.run(remove("user.b")), "ENODATA");
  assertFails(session.run(set("", "2")), "ERANGE");
  assert.deepEqual(stored(), [["user.a", "1"]]);
});

test("all of an inode are bounded together", () => {
  session.attributes(set("user.a", Buffer.alloc(extendedBytesMax - 14)));
  session.attributes(set("user.b", ""));
  assertFails(session.run(set("user.b", "1")), "ENOSPC");
  session.attributes(set("user.a", ""));
  session.attributes(set("user.b", "1"));
});

test("there is a bound for their number, too, and what is within the bounds can be stored", () => {
  const all = Array.from({ length: extendedCountMax }, (_, number) => session.transaction(set(`user.${number}`, "")));
  driver.apply(...all);
  assert.equal(stored().length, extendedCountMax);
  assertFails(session.run(set("user.more", "")), "ENOSPC");
  session.attributes(remove("user.7"));
  session.attributes(set("user.more", ""));
  driver.reopen();
  assert.equal(stored().length, extendedCountMax);
});

test("they stay with the inode: over a rename, with a further name, without any", () => {
  session.attributes(set("user.a", "1"));
  session.attributes({ kind: "link", inode: file, parent: root, name: "second" });
  session.removed(renaming(root, "file", root, "third"));
  const other = session.file(root, "other");
  session.attributes({ ...set("user.b", "2"), inode: other });
  session.removed(renaming(root, "other", root, "third"));
  session.removed({ kind: "unlink", parent: root, name: "second" });
  assert.deepEqual(
    driver.namespace.orphans(0, 10).map(({ inode }) => inode),
    [file],
  );
  assert.deepEqual(stored(), [["user.a", "1"]]);
  session.attributes(set("user.a", "of an orphan"));
  assert.equal(driver.namespace.inode(1, other)!.extendedAttributes[0]!.name, "user.b");
});

test("a record without any is two bytes longer than it would be", () => {
  const record = driver.namespace.inode(1, file)!;
  const withOne = { ...record, extendedAttributes: [{ name: "a", value: Buffer.from("1") }] };
  assert.equal(encode(inodeRecord, withOne).byteLength - encode(inodeRecord, record).byteLength, 2 + 1 + 4 + 1);
});
