/** Volumes, groups and stores. */
import { strict as assert } from "node:assert";
import { beforeEach, test } from "node:test";
import { decode, encode } from "../../codec/schema.ts";
import { hasCode } from "../../errors/brine-error.ts";
import { inodeKey, table, tableKey } from "../keys.ts";
import { chunkBytes, type GroupMember, groupMax, inodeRecord, type MemberState } from "../model.ts";
import { Namespace } from "../namespace.ts";
import { formatRow, formatVersion } from "../rows.ts";
import { assertFails, Driver, writing } from "../testing/driver.ts";

let driver: Driver;

beforeEach(() => {
  driver = new Driver();
});

function members(...states: MemberState[]): GroupMember[] {
  return states.map((state, at) => ({ store: at + 1, state }));
}

test("stores keep their number, whatever their address", () => {
  const register = (serverId: string, address: string) =>
    driver.leader({ kind: "registerStore", serverId, address, labels: [] });
  assert.deepEqual(register("one", "a:1"), { kind: "made", id: 1 });
  assert.deepEqual(register("two", "a:2"), { kind: "made", id: 2 });
  assert.deepEqual(register("one", "b:1"), { kind: "made", id: 1 });
  assertFails(register("", "b:1"), "EINVAL");
  driver.reopen();
  assert.deepEqual(driver.namespace.stores(), [
    { store: 1, serverId: "one", address: "b:1", status: "active", labels: [], startLabels: [], isCalledSlow: false },
    { store: 2, serverId: "two", address: "a:2", status: "active", labels: [], startLabels: [], isCalledSlow: false },
  ]);
});

test("numbers of groups that were skipped are not given", () => {
  driver.makeVolume();
  const skip = (below: number) => driver.leader({ kind: "skipGroups", below });
  const before = driver.namespace.groupsBelow;
  skip(before);
  skip(0);
  assert.equal(driver.namespace.groupsBelow, before);
  skip(500);
  driver.reopen();
  assert.equal(driver.namespace.groupsBelow, 500);
  skip(65_536);
  assert.equal(driver.namespace.groupsBelow, groupMax + 1);
});

test("groups: members must be different known stores, one of them in sync", () => {
  driver.makeVolume();
  const volume = {
    kind: "createVolume" as const,
    name: "other",
    replicas: 2,
    inSyncMin: 1,
    uid: 0,
    gid: 0,
    mode: 0o755,
  };
  const create = (...groups: GroupMember[][]) => driver.leader({ ...volume, groups });
  assertFails(create(members("inSync")), "EINVAL");
  assertFails(create(members("behind", "behind")), "EINVAL");
  assertFails(create([...members("inSync"), ...members("inSync")]), "EINVAL");
  assertFails(
    create([
      { store: 1, state: "inSync" },
      { store: 9, state: "inSync" },
    ]),
    "EINVAL",
  );
  assertFails(create(members("inSync", "inSync"), members("inSync")), "EINVAL");
  assert.equal(driver.namespace.groups().length, 2);
});

test("a group changes only from the generation that the leader knew", () => {
  driver.makeVolume();
  const next = (generation: number, ...states: MemberState[]) =>
    driver.leader({ kind: "changeGroup", group: 1, generation, members: members(...states) });
  assert.equal(next(1, "inSync", "behind").kind, "done");
  assertFails(next(1, "behind", "inSync"), "ESTALE");
  assertFails(next(2, "inSync", "inSync"), "EINVAL");
  assertFails(next(2, "behind", "behind"), "EINVAL");
  assert.equal(next(2, "inSync", "catchingUp").kind, "done");
  assert.equal(next(3, "inSync", "inSync").kind, "done");
  driver.reopen();
  assert.equal(driver.namespace.groups()[0]!.generation, 4);
  assert.deepEqual(driver.namespace.groups()[0]!.members, members("inSync", "inSync"));
  assertFails(driver.leader({ kind: "changeGroup", group: 9, generation: 1, members: members("inSync") }), "ENOENT");
});

test("a group whose last member in sync is gone for good goes on with one heir, and knows who was in sync until when", () => {
  driver.makeVolume();
  const next = (kind: "changeGroup" | "acceptLoss", generation: number, ...states: MemberState[]) =>
    driver.leader({ kind, group: 1, generation, members: members(...states) });
  const last = (store: number) => driver.namespace.lastInSync(1, store);
  assert.equal(next("changeGroup", 1, "behind", "inSync").kind, "done");
  assert.deepEqual([last(1), last(2)], [1, 0]);
  assert.equal(next("changeGroup", 2, "catchingUp", "inSync").kind, "done");
  driver.reopen();
  assert.deepEqual([last(1), last(2)], [1, 0]);

  assertFails(next("acceptLoss", 2, "catchingUp"), "ESTALE");
  assertFails(next("acceptLoss", 3, "behind"), "EINVAL");
  assertFails(next("acceptLoss", 3, "catchingUp", "catchingUp"), "EINVAL");
  assertFails(next("acceptLoss", 3, "catchingUp", "inSync"), "EINVAL");
  assertFails(next("acceptLoss", 3, "catchingUp", "behind", "behind"), "EINVAL");
  assert.equal(next("acceptLoss", 3, "catchingUp").kind, "done");
  assert.deepEqual(driver.namespace.groups()[0]!.members, members("catchingUp"));
  assert.equal(last(1), 1);
  assertFails(next("changeGroup", 4, "behind"), "EINVAL");
  assert.equal(next("changeGroup", 4, "inSync").kind, "done");
  assert.equal(last(1), 0);
});

test("volumes: names, the root, errors", () => {
  const root = driver.makeVolume();
  const create = (name: string, replicas = 2) =>
    driver.leader({ kind: "createVolume", name, replicas, inSyncMin: 1, uid: 5, gid: 6, mode: 0o1777, groups: [] });
  assertFails(create("home"), "EEXIST");
  assertFails(create("a/b"), "EINVAL");
  assertFails(create(""), "EINVAL");
  assertFails(create("zero", 0), "EINVAL");
  assertFails(create("many", 17), "EINVAL");
  assert.deepEqual(create("other"), { kind: "made", id: 2 });
  const { root: otherRoot } = driver.namespace.volumeByName("other")!;
  const { attributes, parent } = driver.namespace.inode(2, otherRoot)!;
  assert.deepEqual([attributes.mode, attributes.uid, attributes.gid, attributes.linkCount], [0o1777, 5, 6, 2]);
  assert.equal(parent, otherRoot);
  assert.notEqual(otherRoot, root);
  assert.equal(driver.namespace.pathOf(2, otherRoot), "/");
});

test("a volume is deleted step by step", () => {
  const root = driver.makeVolume();
  const session = driver.openSession();
  const directory = session.directory(root, "d");
  const file = session.file(directory, "a");
  session.attributes({ kind: "link", inode: file, parent: root, name: "b" });
  const chunks = [session.chunk(), session.chunk()];
  session.attributes(writing(file, 2 * chunkBytes, [{ index: 0, chunk: chunks[0]! }]));
  session.attributes(writing(file, 2 * chunkBytes, [{ index: 1, chunk: chunks[1]! }]));
  session.file(root, "gone");
  session.removed({ kind: "unlink", parent: root, name: "gone" });
  const remove = () => driver.leader({ kind: "removeVolumeInodes", volume: 1, limit: 3 });

  assertFails(driver.leader({ kind: "deleteVolume", volume: 1 }), "EBUSY");
  assertFails(remove(), "ENOENT");
  driver.leader({ kind: "closeSession", session: session.id });
  assert.equal(driver.leader({ kind: "deleteVolume", volume: 1 }).kind, "done");
  assertFails(driver.leader({ kind: "deleteVolume", volume: 1 }), "ENOENT");
  assertFails(driver.leader({ kind: "openSession", clientId: "x", volume: 1, host: "" }), "ENOENT");
  assert.equal(driver.namespace.volumeByName("home"), undefined);
  const other = driver.makeVolume("home");

  let steps = 0;
  for (;;) {
    const result = remove();
    assert.equal(result.kind, "reaped");
    steps += 1;
    if (result.kind === "reaped" && result.finished) break;
  }
  // 2 mappings, 3 entries by name and by cookie, 4 inodes: 12 rows, and one step to see that nothing is left.
  assert.equal(steps, 5);
  assert.deepEqual(
    driver.namespace.volumes().map(({ volume }) => volume),
    [2],
  );
  assert.deepEqual(driver.namespace.orphans(0, 10), []);
  assert.equal(driver.namespace.inode(1, file), undefined);
  assert.equal(driver.namespace.chunkOwner(chunks[0]!), undefined);
  assert.ok(driver.namespace.chunksToDelete(0, 100).includes(chunks[1]!));
  assert.notEqual(driver.namespace.inode(2, other), undefined);
  assertFails(remove(), "ENOENT");
  assertFails(driver.leader({ kind: "removeVolumeInodes", volume: 1, limit: 0 }), "EINVAL");
});

test("batches are applied in order, each once", () => {
  driver.makeVolume();
  assert.equal(driver.namespace.appliedIndex, driver.index);
  assert.throws(
    () => driver.namespace.applyBatch(driver.index, []),
    (error) => hasCode(error, "internal"),
  );
  assert.throws(
    () => driver.namespace.applyBatch(driver.index + 2, []),
    (error) => hasCode(error, "internal"),
  );
  driver.reopen();
  assert.equal(driver.namespace.appliedIndex, driver.index);
});

test("a state of a newer format is refused, with what to do", () => {
  driver.makeVolume();
  const key = tableKey(table.format);
  assert.equal(decode(formatRow, driver.state.get(key)!).version, formatVersion);
  driver.state.put(key, encode(formatRow, { version: formatVersion + 1 }));
  const isRefused = (error: unknown): boolean =>
    hasCode(error, "versionMismatch") &&
    error.message.includes(`knows version ${formatVersion}`) &&
    /newer/.test(error.advice ?? "");
  assert.throws(() => new Namespace(driver.state), isRefused);
  driver.state.delete(key);
  assert.throws(
    () => new Namespace(driver.state),
    (error) => hasCode(error, "internal"),
  );
});

test("a damaged row stops the namespace, and nothing after it is applied", () => {
  const root = driver.makeVolume();
  const row = encode(inodeRecord, driver.namespace.inode(1, root)!);
  driver.state.put(inodeKey(1, root), row.subarray(0, row.length - 1));
  driver.reopen();
  const session = { session: 0, sequence: 0, confirmed: 0, timeNs: 1n, predicted: false };
  driver.namespace.applyBatch(driver.index + 1, [
    { ...session, operation: { kind: "openSession", clientId: "c", volume: 1, host: "" } },
  ]);
  const creation = {
    ...{ session: 1, sequence: 1, confirmed: 0, timeNs: 2n, predicted: false },
    operation: { kind: "unlink", parent: root, name: "a" },
  } as const;
  const isDamage = (error: unknown): boolean => hasCode(error, "internal") && /key 110001/.test(error.message);
  assert.throws(() => driver.namespace.applyBatch(driver.index + 2, [creation]), isDamage);
  assert.throws(
    () => driver.namespace.applyBatch(driver.index + 2, []),
    (error) => hasCode(error, "internal") && /earlier batch/.test(error.message),
  );
});

test("a store that comes later is a spare until it is asked for, or taken into a group", () => {
  driver.makeVolume();
  const statusOf = (store: number) => driver.namespace.stores().find((one) => one.store === store)?.status;
  const register = (serverId: string) => driver.leader({ kind: "registerStore", serverId, address: "c:3", labels: [] });
  register("three");
  assert.equal(statusOf(3), "spare");
  const joined = [...members("inSync", "inSync"), { store: 3, state: "catchingUp" as const }];
  assert.equal(driver.leader({ kind: "changeGroup", group: 1, generation: 1, members: joined }).kind, "done");
  assert.equal(statusOf(3), "active");
});

test("a removed store never comes back, and one that is needed can't be removed", () => {
  driver.makeVolume();
  const remove = (store: number) => driver.leader({ kind: "setStoreStatus", store, status: "removed" });
  assertFails(remove(2), "EBUSY");
  for (const group of [1, 2])
    driver.leader({ kind: "changeGroup", group, generation: 1, members: members("inSync", "behind") });
  assert.equal(remove(2).kind, "done");
  assertFails(driver.leader({ kind: "registerStore", serverId: "two", address: "c:3", labels: [] }), "EPERM");
  assertFails(driver.leader({ kind: "setStoreStatus", store: 2, status: "active" }), "EPERM");
  const joined = [...members("inSync"), { store: 2, state: "behind" as const }];
  driver.leader({ kind: "changeGroup", group: 1, generation: 2, members: members("inSync") });
  assertFails(driver.leader({ kind: "changeGroup", group: 1, generation: 3, members: joined }), "EINVAL");
});

test("a store that is called slow stays so over its registrations, until it is taken back", () => {
  driver.makeVolume();
  const call = (store: number, isCalledSlow: boolean) => driver.leader({ kind: "callStoreSlow", store, isCalledSlow });
  const slow = () => driver.namespace.stores().flatMap(({ store, isCalledSlow }) => (isCalledSlow ? [store] : []));
  assertFails(call(9, true), "ENOENT");
  assert.equal(call(2, true).kind, "done");
  const { serverId } = driver.namespace.stores().find(({ store }) => store === 2)!;
  driver.leader({ kind: "registerStore", serverId, address: "elsewhere:1", labels: [] });
  driver.reopen();
  assert.deepEqual(slow(), [2]);
  assert.equal(call(2, false).kind, "done");
  assert.deepEqual(slow(), []);
});

test("a volume says how few copies in sync it takes writes with: at most as many as it or a rule of it makes", () => {
  driver.makeVolume();
  const set = (replicas: number, inSyncMin: number) =>
    driver.leader({ kind: "setCopies", volume: 1, replicas, inSyncMin });
  assertFails(set(2, 0), "EINVAL");
  assertFails(set(2, 3), "EINVAL");
  const { version } = driver.namespace.placement(1);
  assert.equal(set(2, 2).kind, "done");
  assert.equal(driver.namespace.volume(1)?.inSyncMin, 2);
  assert.equal(driver.namespace.placement(1).version, version + 1, "clients see which of two answers is the newer one");
  assertFails(set(1, 2), "EINVAL");
  const rule = { syntax: "glob" as const, pattern: "*.tmp", replicas: 1, labels: [] };
  const place = (rules: (typeof rule)[]) => {
    const { version: now } = driver.namespace.placement(1);
    const pools = [{ replicas: 1, labels: [], groups: [members("inSync")] }];
    return driver.leader({ kind: "setPlacement", volume: 1, version: now, failureDomain: "host", rules, pools });
  };
  assertFails(place([rule]), "EINVAL");
  assert.equal(set(2, 1).kind, "done");
  assert.equal(place([rule]).kind, "done");
  assertFails(set(2, 2), "EINVAL");
  assert.equal(place([]).kind, "done");
  assert.equal(set(2, 2).kind, "done", "the groups of a rule that is gone want all of their copies");
  driver.reopen();
  assert.equal(driver.namespace.volume(1)?.inSyncMin, 2);
});

test("a volume's groups follow its number of copies; those of a deleted volume go to the next one that they fit", () => {
  driver.makeVolume();
  assert.equal(driver.leader({ kind: "setCopies", volume: 1, replicas: 3, inSyncMin: 1 }).kind, "done");
  assert.deepEqual(
    driver.namespace.groups().map((group) => group.replicas),
    [3, 3],
  );
  assertFails(driver.leader({ kind: "setCopies", volume: 1, replicas: 0, inSyncMin: 1 }), "EINVAL");
  assertFails(driver.leader({ kind: "setCopies", volume: 9, replicas: 2, inSyncMin: 1 }), "ENOENT");
  driver.leader({ kind: "deleteVolume", volume: 1 });
  while (driver.namespace.volumes().length > 0) driver.leader({ kind: "removeVolumeInodes", volume: 1, limit: 100 });
  assert.deepEqual(
    driver.namespace.groups().map((group) => group.volume),
    [0, 0],
  );
  driver.makeVolume("next", 3);
  assert.deepEqual(
    driver.namespace.groups().map(({ group, volume, replicas }) => ({ group, volume, replicas })),
    [1, 2, 3].map((group) => ({ group, volume: 2, replicas: 2 })),
  );
});
