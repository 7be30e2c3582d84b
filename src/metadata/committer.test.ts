import assert from "node:assert/strict";
import { test } from "node:test";
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { decodeBatch } from "./batch.ts";
import { createFile, Harness } from "./testing/harness.ts";
import { drain } from "./testing/manual-clock.ts";

async function mounted() {
  const harness = await Harness.start();
  await harness.addStore("a");
  await harness.addVolume("home", 1);
  const client = await harness.mount("client", "home");
  return { harness, client };
}

test("what waits shares one append, in order", async () => {
  const { harness, client } = await mounted();
  const range = await client.transact({ kind: "grantInodes", count: 10 });
  assert.ok(range.kind === "granted");
  const first = range.range.first;
  await client.acquire(client.root, "exclusive");
  harness.ledger.hold();
  const before = harness.ledger.lastIndex;
  const results = [client.transact(createFile(client.root, "0", first))];
  await drain();
  for (let at = 1; at < 10; at++) results.push(client.transact(createFile(client.root, `${at}`, first + at)));
  await drain();
  // Nothing is seen before it is durable.
  assert.equal(harness.leader.namespace.lookup(1, client.root, "0"), undefined);
  harness.ledger.letGo();
  for (const result of await Promise.all(results)) assert.equal(result.kind, "attributes");
  const sizes = harness.ledger.entries.slice(before).map((entry) => decodeBatch(entry.batch).length);
  assert.deepEqual(sizes, [1, 9]);
});

test("a wait says at each moment what of the ledger is waited for", async () => {
  const { harness, client } = await mounted();
  const names = () => harness.leader.waits.list().map(({ what }) => what);
  harness.ledger.hold();
  const creating = client.create("file");
  await drain();
  assert.deepEqual(names(), ["the ledger's disk"]);
  harness.ledger.waitsFor = "the ledger's copy at b:1 (away)";
  assert.deepEqual(names(), ["the ledger's copy at b:1 (away)"]);
  harness.ledger.letGo();
  await creating;
  assert.deepEqual(names(), []);
});

test("a batch stays below the ledger's bound", async () => {
  const harness = await Harness.start();
  harness.ledger.hold();
  const chunks = Array.from({ length: 4096 }, (_, at) => at);
  const submitted = Array.from({ length: 100 }, () =>
    harness.leader.committer.execute({ kind: "chunksDeleted", chunks }),
  );
  await drain();
  harness.ledger.letGo();
  await Promise.all(submitted);
  assert.ok(harness.ledger.entries.length > 3);
  for (const { batch } of harness.ledger.entries) assert.ok(batch.byteLength <= 1024 * 1024);
});

test("a full disk fails what waits, and nothing of it has happened; later ones work", async () => {
  const { harness, client } = await mounted();
  const inode = await client.inode();
  await client.acquire(client.root, "exclusive");
  harness.ledger.hold();
  harness.ledger.failure = new BrineError("noSpace", "full");
  const refused = [
    client.transact(createFile(client.root, "a", inode)),
    client.transact({ kind: "unlink", parent: client.root, name: "a" }),
  ];
  const settled = Promise.allSettled(refused);
  await drain();
  harness.ledger.letGo();
  for (const outcome of await settled) {
    assert.ok(outcome.status === "rejected" && hasCode(outcome.reason, "noSpace"));
  }
  assert.ok(!client.leases.isWanted(inode));
  harness.ledger.failure = undefined;
  // Their numbers are free again.
  const again = await client.transact(createFile(client.root, "a", inode), 2);
  assert.equal(again.kind, "attributes");
  assert.ok(client.leases.has(client.session.id, inode, "exclusive"));
});

test("below the reserve, deleting goes on and creating does not", async () => {
  const { harness, client } = await mounted();
  await client.create("a");
  harness.freeBytes = 1_000_000;
  await harness.clock.advance(1_100);
  const sequence = 3;
  await assert.rejects(client.transact(createFile(client.root, "b", 99), sequence), { code: "noSpace" });
  // What was sent behind it meets a gap.
  const behind = { kind: "unlink", parent: client.root, name: "a" } as const;
  await assert.rejects(client.transact(behind, sequence + 1), { code: "invalid" });
  const removed = await client.transact(behind, sequence);
  assert.equal(removed.kind, "removed");
  assert.ok(harness.parts.admin.status().problems.some((problem) => problem.includes("disk is full")));
});

test("a failed sync ends the server once, and fails everything", async () => {
  const { harness, client } = await mounted();
  harness.ledger.failure = new BrineError("diskFailed", "fdatasync: EIO");
  const results = await Promise.allSettled([1, 2, 3].map(() => client.transact({ kind: "grantInodes", count: 1 })));
  for (const result of results) assert.ok(result.status === "rejected" && hasCode(result.reason, "notServing"));
  assert.equal(harness.failures.length, 1);
  assert.match(harness.failures[0]!, /EIO/);
  harness.ledger.failure = undefined;
  await assert.rejects(client.transact({ kind: "grantInodes", count: 1 }, 1), { code: "notServing" });
});

test("after a crash the ledger brings back what the state had not committed, and times never fall", async () => {
  const { harness, client } = await mounted();
  const inode = await client.create("a");
  const before = harness.leader.namespace.inode(1, inode)!.attributes.mtimeNs;
  harness.clock.wallOffsetNs -= 3_600_000_000_000n;
  await harness.restart();
  assert.equal(harness.leader.namespace.lookup(1, client.root, "a")?.inode, inode);
  await harness.addVolume("second", 1).catch(() => {});
  const store = await harness.addStore("a");
  assert.equal(store.store, 1);
  await harness.addVolume("third", 1);
  const { createdNs } = harness.leader.namespace.volumeByName("third")!;
  assert.ok(createdNs >= before);
});

test("the ledger is cut below what a checkpoint has made durable", async () => {
  const { harness, client } = await mounted();
  await client.create("a");
  const index = harness.ledger.lastIndex;
  assert.equal(harness.ledger.truncatedBelow, 0);
  await harness.clock.advance(10_100);
  assert.equal(harness.ledger.truncatedBelow, index);
  assert.equal(harness.database.volatileCommits, 0);
});
