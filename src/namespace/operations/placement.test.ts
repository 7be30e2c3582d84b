/** Pools, placement rules, labels of stores, and files that are placed. */
import { strict as assert } from "node:assert";
import { beforeEach, test } from "node:test";
import { type GroupMember, groupOfChunk, type Label, poolsMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";
import { assertFails, type DrivenSession, Driver, writing } from "../testing/driver.ts";

type Rule = OperationOf<"setPlacement">["rules"][number];

const hdd: Label[] = [{ key: "disk", value: "hdd" }];
const jpg: Rule = { syntax: "glob", pattern: "*.jpg", replicas: 1, labels: hdd };

let driver: Driver;
let session: DrivenSession;
let root: number;

beforeEach(() => {
  driver = new Driver();
  root = driver.makeVolume();
  session = driver.openSession();
});

function place(rules: readonly Rule[], fields: Partial<OperationOf<"setPlacement">> = {}): Result {
  const members: GroupMember[] = [{ store: 1, state: "inSync" }];
  const pools = rules.map(({ replicas, labels }) => ({ replicas, labels, groups: [members, members] }));
  const { version } = driver.namespace.placement(1);
  const operation = { volume: 1, version, failureDomain: "host", rules: [...rules], pools };
  return driver.leader({ kind: "setPlacement", ...operation, ...fields });
}

function grantIn(pool: number): number {
  const result = session.run({ kind: "grantChunks", count: 4, pool });
  if (result.kind !== "granted") assert.fail(result.kind);
  return result.range.first;
}

test("rules that ask for the same share a pool; one that is removed keeps its pool", () => {
  const png = { ...jpg, pattern: "*.png" };
  const other = { ...jpg, pattern: "/x/**", replicas: 1, labels: [] };
  assert.equal(place([jpg, png, other]).kind, "done");
  assert.deepEqual(
    driver.namespace.placement(1).rules.map(({ pool }) => pool),
    [1, 1, 2],
  );
  assert.equal(place([other]).kind, "done");
  assert.equal(driver.namespace.placement(1).pools.length, 2);
  assert.equal(place([other, jpg], { pools: [] }).kind, "done", "its pool is still there");
  assert.equal(driver.namespace.groups().filter(({ pool }) => pool === 1).length, 2);
  driver.reopen();
  assert.deepEqual(driver.namespace.placement(1).rules.at(-1), { syntax: "glob", pattern: "*.jpg", pool: 1 });
});

test("setPlacement: errors", () => {
  assertFails(place([jpg], { volume: 7 }), "ENOENT");
  assertFails(place([jpg], { version: 3 }), "ESTALE");
  assertFails(place([jpg], { pools: [] }), "EINVAL");
  assertFails(place([{ ...jpg, labels: [{ key: "a b", value: "c" }] }]), "EINVAL");
  assertFails(place([], { failureDomain: "" }), "EINVAL");
  const wrong = { replicas: 2, labels: hdd, groups: [[{ store: 1, state: "inSync" as const }]] };
  assertFails(place([{ ...jpg, replicas: 2 }], { pools: [wrong] }), "EINVAL");
  for (let count = 1; count <= poolsMax; count++) {
    assert.equal(place([{ ...jpg, labels: [{ key: "n", value: `${count}` }] }]).kind, "done");
  }
  assertFails(place([jpg]), "ENOSPC");
});

test("a failure domain is of all groups of the volume, and of no other one's", () => {
  driver.makeVolume("other");
  place([jpg], { failureDomain: "rack" });
  const domains = driver.namespace.groups().map(({ volume, failureDomain }) => `${volume} ${failureDomain}`);
  assert.deepEqual(new Set(domains), new Set(["1 rack", "2 host"]));
});

test("chunk ids come from the pool that was asked for; the number of copies of a volume is not that of its rules", () => {
  place([jpg]);
  const poolOf = (chunk: number) => driver.namespace.groups().find(({ group }) => group === groupOfChunk(chunk))?.pool;
  assert.deepEqual([poolOf(grantIn(0)), poolOf(grantIn(1)), poolOf(grantIn(1))], [0, 1, 1]);
  assertFails(session.run({ kind: "grantChunks", count: 1, pool: 2 }), "ENOSPC");
  const group = groupOfChunk(grantIn(1));
  const granted = session.run({ kind: "grantChunksOf", count: 3, pool: 1, group });
  assert.ok(granted.kind === "granted" && granted.range.count === 3);
  assert.equal(groupOfChunk(granted.range.first), group);
  assertFails(session.run({ kind: "grantChunksOf", count: 3, pool: 0, group }), "EINVAL");
  assertFails(session.run({ kind: "grantChunksOf", count: 3, pool: 1, group: 4711 }), "EINVAL");
  assertFails(session.run({ kind: "grantChunksOf", count: 0, pool: 1, group }), "EINVAL");
  driver.leader({ kind: "setCopies", volume: 1, replicas: 3, inSyncMin: 1 });
  const replicas = driver.namespace.groups().map((group) => `${group.pool} ${group.replicas}`);
  assert.deepEqual(new Set(replicas), new Set(["0 3", "1 1"]));
});

test("a file is placed: its chunks are others, and nothing that is seen changes", () => {
  place([jpg]);
  const inode = session.file(root, "a");
  const old = session.chunk();
  session.run(writing(inode, 10, [{ index: 0, chunk: old }]));
  const before = session.get(inode);
  const chunk = grantIn(1);
  const moved = { kind: "place" as const, inode, pool: 1, mappings: [{ index: 0, chunk }] };
  assertFails(session.run({ ...moved, pool: 2 }), "EINVAL");
  assertFails(session.run({ ...moved, mappings: [{ index: 1, chunk }] }), "EINVAL");
  assertFails(session.run({ ...moved, inode: root, mappings: [] }), "EINVAL");
  assertFails(session.run({ ...moved, inode: 4711 }), "ENOENT");
  assert.equal(session.run(moved).kind, "attributes");
  assert.deepEqual(session.get(inode), before);
  assert.equal(driver.namespace.inode(1, inode)?.pool, 1);
  assert.equal(driver.namespace.chunkOwner(chunk)?.inode, inode);
  assert.deepEqual(driver.namespace.chunksToDelete(0, 9), [old]);

  const size = 5 * 1024 * 1024;
  session.run(writing(inode, size));
  assertFails(session.run({ ...moved, mappings: [{ index: 1, chunk: chunk + 1 }] }), "EINVAL");
});

test("a volume that is gone leaves groups without a pool, for whom they fit", () => {
  place([jpg], { failureDomain: "rack" });
  session.run({ kind: "grantChunks", count: 1, pool: 1 });
  driver.leader({ kind: "closeSession", session: session.id });
  driver.leader({ kind: "deleteVolume", volume: 1 });
  while (driver.namespace.volumes().length > 0) driver.leader({ kind: "removeVolumeInodes", volume: 1, limit: 100 });
  for (const group of driver.namespace.groups()) {
    assert.deepEqual([group.volume, group.pool, group.labels, group.failureDomain], [0, 0, [], "host"]);
  }
  driver.leader({ kind: "setStoreLabels", store: 1, labels: hdd });
  driver.makeVolume("next");
  const count = driver.namespace.groups().length;
  const rules = [jpg];
  const members: GroupMember[] = [{ store: 1, state: "inSync" }];
  const pools = [{ replicas: 1, labels: hdd, groups: [members, members] }];
  const placed = { kind: "setPlacement", volume: 2, version: 0, failureDomain: "host", rules, pools } as const;
  assert.equal(driver.leader(placed).kind, "done");
  assert.equal(driver.namespace.groups().length, count, "those with one copy, on a store with the label");
});

test("labels of a store: set while it runs, they stay until its server names others than before", () => {
  const register = (...labels: Label[]) =>
    driver.leader({ kind: "registerStore", serverId: "one", address: "127.0.0.1:1", labels });
  const labels = () =>
    driver.namespace
      .stores()[0]!
      .labels.map(({ key, value }) => `${key}=${value}`)
      .join(" ");
  const set = (key: string, value: string) =>
    driver.leader({ kind: "setStoreLabels", store: 1, labels: [{ key, value }] });
  register({ key: "disk", value: "hdd" }, { key: "rack", value: "r1" });
  set("disk", "ssd");
  set("zone", "z");
  register({ key: "disk", value: "hdd" }, { key: "rack", value: "r1" });
  assert.equal(labels(), "disk=ssd rack=r1 zone=z");
  register({ key: "disk", value: "hdd" }, { key: "rack", value: "r2" });
  assert.equal(labels(), "disk=ssd rack=r2 zone=z");
  register({ key: "rack", value: "r2" });
  assert.equal(labels(), "rack=r2 zone=z");
  set("zone", "");
  assert.equal(labels(), "rack=r2");
  assertFails(set("a b", "c"), "EINVAL");
  assertFails(driver.leader({ kind: "setStoreLabels", store: 9, labels: [] }), "ENOENT");
  const many = Array.from({ length: 32 }, (_, at) => ({ key: `k${at}`, value: "v" }));
  assertFails(driver.leader({ kind: "setStoreLabels", store: 1, labels: many }), "EINVAL");
});
