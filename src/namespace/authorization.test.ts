/** What a session that is bound to a user may do, operation by operation; as Linux has it. */
import { strict as assert } from "node:assert";
import { beforeEach, test } from "node:test";
import { table } from "./keys.ts";
import type { Operation, OperationOf } from "./operation.ts";
import { assertFails, change, type DrivenSession, Driver, describe, writing } from "./testing/driver.ts";

const alice = { uid: 1000, gid: 1000, groups: [50] };
const at = { kind: "at", ns: 1n } as const;
const now = { kind: "now" } as const;

let driver: Driver;
let root: DrivenSession;
let user: DrivenSession;
let top: number;
/** Directories and files, by name. */
let made: Map<string, number>;

type New = Partial<Pick<OperationOf<"create">, "type" | "mode" | "uid" | "gid" | "device">>;

function creating(session: DrivenSession, parent: number, name: string, node: New): OperationOf<"create"> {
  const rest = { type: "file", mode: 0o644, uid: 0, gid: 0, device: 0, ...node } as const;
  return { kind: "create", parent, name, inode: session.inode(), umask: 0, target: "", ...rest };
}

function make(parent: number, name: string, node: New): number {
  const operation = creating(root, parent, name, node);
  root.attributes(operation);
  made.set(name, operation.inode);
  return operation.inode;
}

const of = (name: string) => made.get(name)!;
const directory = "directory" as const;
const theirs = { uid: alice.uid, gid: alice.gid };

beforeEach(() => {
  driver = new Driver();
  made = new Map();
  top = driver.makeVolume();
  root = driver.openSession("root");
  user = driver.openSession("user");
  assert.equal(driver.leader({ kind: "bindSession", session: user.id, user: alice }).kind, "done");
  make(top, "own", { type: directory, mode: 0o755, ...theirs });
  make(top, "open", { type: directory, mode: 0o777 });
  make(top, "sticky", { type: directory, mode: 0o1777 });
  make(top, "closed", { type: directory, mode: 0o755 });
  make(top, "group", { type: directory, mode: 0o2770, gid: 50 });
  for (const place of ["own", "open", "sticky", "closed"]) {
    make(of(place), `${place}-root's`, { mode: 0o644 });
    make(of(place), `${place}-hers`, { mode: 0o400, ...theirs });
    make(of(place), `${place}-all's`, { mode: 0o666 });
    make(of(place), `${place}-sub`, { type: directory, mode: 0o755 });
  }
  make(of("open"), "open-suid", { mode: 0o4777 });
  make(of("open"), "open-group's", { mode: 0o660, gid: 50 });
});

/** Volumes, inodes, names, chunk maps and orphans: not what sessions are told. */
function files(): [string, string][] {
  const isOfFiles = ([key]: [string, Uint8Array]) =>
    key.charCodeAt(0) >= table.volume && key.charCodeAt(0) <= table.orphan;
  return [...driver.database.snapshot()].filter(isOfFiles).map(([key, row]) => [key, Buffer.from(row).toString("hex")]);
}

/** Runs it for the user; nothing changes if it is refused. */
function tried(operation: Operation): string {
  const before = files();
  const outcome = describe(user.run(operation));
  if (outcome === "EACCES" || outcome === "EPERM") assert.deepEqual(files(), before);
  return outcome;
}

const outcomes = (operations: readonly Operation[]) => operations.map(tried);

test("names are made where one may write and search, for oneself", () => {
  const make = (place: string, name: string, node: New = theirs) => creating(user, of(place), name, node);
  assert.deepEqual(
    outcomes([
      make("own", "a"),
      make("open", "a"),
      make("closed", "a"),
      make("open", "b", { uid: 0, gid: 1000 }),
      make("open", "b", { uid: 1000, gid: 7 }),
      make("open", "b", { uid: 1000, gid: 50 }),
      make("group", "inherits", { uid: 1000, gid: 1000 }),
      make("open", "device", { ...theirs, type: "blockDevice", device: 259 }),
      make("open", "fifo", { ...theirs, type: "fifo" }),
      { kind: "createUnnamed", parent: of("closed"), inode: user.inode(), mode: 0o600, umask: 0, ...theirs },
      { kind: "createUnnamed", parent: of("own"), inode: user.inode(), mode: 0o600, umask: 0, ...theirs },
    ]),
    [
      ...["attributes", "attributes", "EACCES", "EPERM", "EPERM", "attributes"],
      ...["attributes", "EPERM", "attributes", "EACCES", "attributes"],
    ],
  );
});

test("hard links: to what is one's own, or may be read and written, and has no set-id bits", () => {
  const link = (name: string, place: string, as: string): Operation => {
    return { kind: "link", inode: of(name), parent: of(place), name: as };
  };
  assert.deepEqual(
    outcomes([
      link("own-hers", "open", "l1"),
      link("own-all's", "open", "l2"),
      link("own-root's", "open", "l3"),
      link("open-suid", "open", "l4"),
      link("own-hers", "closed", "l5"),
    ]),
    ["attributes", "attributes", "EPERM", "EPERM", "EACCES"],
  );
});

test("names are removed where one may write, in a sticky directory only one's own", () => {
  const unlink = (place: string, name: string): Operation => ({
    kind: "unlink",
    parent: of(place),
    name: `${place}-${name}`,
  });
  const rmdir = (place: string): Operation => ({ kind: "rmdir", parent: of(place), name: `${place}-sub` });
  assert.deepEqual(
    outcomes([
      unlink("own", "root's"),
      unlink("open", "root's"),
      unlink("sticky", "root's"),
      unlink("sticky", "hers"),
      unlink("closed", "hers"),
      rmdir("open"),
      rmdir("sticky"),
      rmdir("closed"),
    ]),
    ["removed", "removed", "EPERM", "removed", "EACCES", "removed", "EPERM", "EACCES"],
  );
});

test("renames need both directories, and a directory that moves must be writable itself", () => {
  const rename = (from: string, name: string, to: string): Operation => {
    const newName = `moved ${name}`;
    return { kind: "rename", parent: of(from), name: `${from}-${name}`, newParent: of(to), newName, noReplace: false };
  };
  const exchange = (one: string, two: string): Operation => {
    const [parent, newParent] = [of(one), of(two)];
    return { kind: "exchange", parent, name: `${one}-root's`, newParent, newName: `${two}-root's` };
  };
  assert.deepEqual(
    outcomes([
      exchange("own", "open"),
      exchange("own", "closed"),
      exchange("own", "sticky"),
      rename("own", "root's", "open"),
      rename("own", "hers", "closed"),
      rename("closed", "hers", "own"),
      rename("sticky", "root's", "own"),
      rename("own", "sub", "open"),
      rename("own", "sub", "own"),
    ]),
    ["removed", "EACCES", "EPERM", "removed", "EACCES", "EACCES", "EPERM", "EACCES", "removed"],
  );
});

test("attributes: mode and given times by the owner, owners by root, sizes by who may write", () => {
  const set = (name: string, fields: Parameters<typeof change>[1]) => change(of(name), fields);
  assert.deepEqual(
    outcomes([
      set("own-hers", { mode: 0o640 }),
      set("open-all's", { mode: 0o640 }),
      set("own-hers", { uid: 1001 }),
      set("own-hers", { gid: 50 }),
      set("own-hers", { gid: 51 }),
      set("own-hers", { mode: 0o2755, gid: 51 }),
      set("own-hers", { atime: at, mtime: at }),
      set("open-all's", { atime: at, mtime: at }),
      set("open-all's", { atime: now, mtime: now }),
      set("open-root's", { atime: now, mtime: now }),
      set("open-all's", { size: 0, killPrivileges: true }),
      set("open-root's", { size: 0, killPrivileges: true }),
      set("open-hers", { size: 0, killPrivileges: true }),
    ]),
    [
      ...["attributes", "EPERM", "EPERM", "attributes", "EPERM", "EPERM", "attributes", "EPERM"],
      ...["attributes", "EACCES", "attributes", "EACCES", "attributes"],
    ],
  );
});

test("data: who may write, by bits, group or list, and the owner; set-id bits go", () => {
  const write = (name: string, kills = true) => writing(of(name), 0, [], kills);
  const list = Buffer.from(
    "0200000001000600ffffffff02000600e803000004000000ffffffff10000600ffffffff20000000ffffffff",
    "hex",
  );
  root.attributes({
    kind: "setAccessControlList",
    inode: of("open-root's"),
    which: "access",
    list,
    killSetGroupId: false,
  });
  assert.deepEqual(
    outcomes([
      write("open-hers"),
      write("open-all's"),
      write("open-group's"),
      write("own-root's"),
      write("open-root's"),
      write("open-suid", false),
      write("open-suid"),
      { kind: "unmap", inode: of("own-root's"), from: 0, below: 1 },
      { kind: "markHoles", inode: of("own-root's") },
      { kind: "place", inode: of("own-root's"), pool: 0, mappings: [] },
    ]),
    [
      ...["attributes", "attributes", "attributes", "EACCES", "attributes"],
      ...["EPERM", "attributes", "EACCES", "EACCES", "EACCES"],
    ],
  );
});

test("extended attributes: the user's by who may write, all others by root, ACLs by the owner", () => {
  const set = (name: string, attribute: string): Operation => {
    return { kind: "setExtendedAttribute", inode: of(name), name: attribute, value: Buffer.from("x"), mode: "set" };
  };
  const acl = (name: string): Operation => {
    return {
      kind: "setAccessControlList",
      inode: of(name),
      which: "access",
      list: Buffer.alloc(0),
      killSetGroupId: true,
    };
  };
  assert.deepEqual(
    outcomes([
      set("open-all's", "user.a"),
      set("open-root's", "user.a"),
      set("open-all's", "trusted.a"),
      set("open-all's", "security.a"),
      { kind: "removeExtendedAttribute", inode: of("open-root's"), name: "user.a" },
      acl("open-all's"),
      acl("open-hers"),
      { kind: "access", inode: of("open-root's") },
      { kind: "access", inode: of("open-group's") },
    ]),
    ["attributes", "EACCES", "EPERM", "EPERM", "EACCES", "EPERM", "attributes", "done", "done"],
  );
});

test("who is bound stays bound to that user; root may do everything; a mount's session is not asked", () => {
  const bind = (session: DrivenSession, who: typeof alice) =>
    driver.leader({ kind: "bindSession", session: session.id, user: who });
  assertFails(bind(user, { ...alice, uid: 0 }), "EPERM");
  assert.equal(bind(user, alice).kind, "done");
  assertFails(driver.leader({ kind: "bindSession", session: 99, user: alice }), "ENOENT");
  assertFails(user.run({ kind: "bindSession", session: user.id, user: { uid: 0, gid: 0, groups: [] } }), "EPERM");
  const boss = driver.openSession("boss");
  bind(boss, { uid: 0, gid: 0, groups: [] });
  for (const session of [boss, root]) {
    assert.equal(describe(session.run(change(of("own-hers"), { mode: 0o600, uid: 5 }))), "attributes");
  }
});
