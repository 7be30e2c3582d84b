/** setExtendedAttribute and removeExtendedAttribute. */
import { strict as assert } from "node:assert";
import { beforeEach, test } from "node:test";
import { extendedBytesMax } from "../model.ts";
import { assertFails, type DrivenSession, Driver } from "../testing/driver.ts";

let driver: Driver;
let session: DrivenSession;
let file: number;

beforeEach(() => {
  driver = new Driver();
  const root = driver.makeVolume();
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
  session.attributes(set("user.a", Buffer.alloc(extendedBytesMax - 12)));
  session.attributes(set("user.b", ""));
  assertFails(session.run(set("user.b", "1")), "ENOSPC");
  session.attributes(set("user.a", ""));
  session.attributes(set("user.b", "1"));
});
