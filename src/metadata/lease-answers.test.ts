import assert from "node:assert/strict";
import { test } from "node:test";
import type { Operation } from "../namespace/operation.ts";
import { FakePeer } from "./testing/fake-peer.ts";
import { type Client, createFile, Harness } from "./testing/harness.ts";
import { drain } from "./testing/manual-clock.ts";

async function mounted(): Promise<{ harness: Harness; client: Client; other: Client }> {
  const harness = await Harness.start();
  await harness.addStore("a");
  await harness.addVolume("home", 1);
  const client = await harness.mount("client", "home");
  const other = await harness.mount("other", "home");
  return { harness, client, other };
}

/** Files in the root that nobody has a lease on; their inodes. */
async function files(client: Client, names: readonly string[]): Promise<number[]> {
  const inodes: number[] = [];
  for (const name of names) {
    inodes.push(await client.create(name));
    client.release(inodes.at(-1)!);
  }
  client.release(client.root);
  return inodes;
}

function lookup(harness: Harness, client: Client, name: string, held = 0) {
  return harness.parts.answers.lookup(client.session, { parent: client.root, held, name });
}

function list(harness: Harness, client: Client, { held = 0, after = 0, limit = 100, withLeases = true } = {}) {
  const request = { directory: client.root, held, after, limit, withLeases };
  return harness.parts.answers.readDirectory(client.session, request);
}

test("a lookup brings the lease of the directory and that of the child", async () => {
  const { harness, client, other } = await mounted();
  const [inode] = await files(client, ["a"]);
  const { parent, entry, child } = await lookup(harness, other, "a");
  assert.equal(parent!.record.attributes.inode, other.root);
  assert.deepEqual([parent!.mode, child!.mode], ["shared", "shared"]);
  assert.equal(entry!.inode, inode);
  assert.equal(child!.record.attributes.inode, inode);
  // The second time both are there already; a name that isn't there is known under the directory's lease.
  const again = await lookup(harness, other, "a", parent!.grant);
  assert.deepEqual([again.parent, again.entry!.inode, again.child], [undefined, inode, undefined]);
  const missing = await lookup(harness, other, "none", parent!.grant);
  assert.deepEqual([missing.entry, missing.child], [undefined, undefined]);
  // With a grant that the leader doesn't know, the lease is brought anew.
  assert.ok((await lookup(harness, other, "a", 77)).parent!.grant > parent!.grant);
});

test("a lookup waits for the directory, not for the child", async () => {
  const { harness, client, other } = await mounted();
  const inode = await client.create("a");
  client.isStubborn = true;
  const asked = Promise.resolve(lookup(harness, other, "a"));
  let answered = false;
  asked.then(() => {
    answered = true;
  });
  await harness.clock.advance(100);
  assert.ok(!answered);
  client.release(client.root);
  const { parent, entry, child } = await asked;
  assert.equal(parent!.mode, "shared");
  assert.deepEqual([entry!.inode, child], [inode, undefined]);
  // It was not even recalled.
  const recalled = client.peer.bodies<{ leases: { inode: number }[] }>("client.recallLeases");
  assert.ok(recalled.flatMap(({ leases }) => leases).every((lease) => lease.inode === client.root));
});

test("a lookup doesn't wait for others behind a lease that the client may not know of", async () => {
  const { harness, client, other } = await mounted();
  await files(client, ["a"]);
  // The client keeps the lease until its lookup is answered: it must not wait for those who want it.
  const unseen = await client.ask(client.root, "exclusive", 0);
  client.isStubborn = true;
  const wanted = other.ask(other.root, "exclusive", 0);
  const { parent } = await lookup(harness, client, "a");
  assert.equal(parent!.mode, "exclusive");
  assert.ok(parent!.grant > unseen.grant);
  const last = (await list(harness, client)).parent!;
  assert.equal(last.mode, "exclusive");
  client.held.set(client.root, { inode: client.root, mode: last.mode, grant: last.grant });
  client.release(client.root);
  assert.equal((await wanted).mode, "exclusive");
});

test("lookups in what is no directory, or gone", async () => {
  const { harness, client, other } = await mounted();
  const [inode] = await files(client, ["a"]);
  const find = (parent: number) => async () =>
    harness.parts.answers.lookup(other.session, { parent, held: 0, name: "a" });
  await assert.rejects(find(inode!), { code: "ENOTDIR" });
  await assert.rejects(find(9_999), { code: "ENOENT" });
  await assert.rejects(other.ask(9_999, "shared", 0), { code: "ENOENT" });
  assert.equal(other.leases.count(other.session.id), 0);
});

test("a directory is listed in pages, with the leases that can be had at once", async () => {
  const { harness, client, other } = await mounted();
  const inodes = await files(client, ["a", "b", "c"]);
  await client.acquire(inodes[1]!, "exclusive");
  const first = await list(harness, other, { limit: 2 });
  assert.deepEqual(
    first.entries.map(({ name, child }) => [name, child?.mode]),
    [
      ["a", "shared"],
      ["b", undefined],
    ],
  );
  const held = first.parent!.grant;
  const rest = await list(harness, other, { held, after: first.entries[1]!.entry.cookie });
  assert.deepEqual(
    rest.entries.map(({ name, child }) => [name, child?.record.attributes.inode]),
    [["c", inodes[2]]],
  );
  assert.equal(rest.parent, undefined);
  const plain = await list(harness, other, { held, withLeases: false });
  assert.deepEqual(
    plain.entries.map(({ entry, child }) => [entry.inode, child]),
    inodes.map((inode) => [inode, undefined]),
  );
});

test("a lease on a file brings its chunk map", async () => {
  const { client, other } = await mounted();
  const inode = await client.create("a");
  const chunk = await client.write(inode);
  client.release(inode);
  const leased = await other.ask(inode, "shared", 0);
  assert.deepEqual([leased.mappings, leased.mappedBelow], [[{ index: 0, chunk }], 2 ** 32 - 1]);
  assert.equal(leased.record.attributes.size, 10);
});

test("what is read under a lease is what its last holder has committed", async () => {
  const { harness, client, other } = await mounted();
  const inode = await client.create("a");
  client.isStubborn = true;
  const asked = other.ask(inode, "shared", 0);
  await harness.clock.advance(0);
  const write: Operation = { kind: "write", inode, mappings: [], end: 77, killPrivileges: false };
  await client.transact(write);
  client.release(inode, { keepShared: true });
  assert.equal((await asked).record.attributes.size, 77);
});

test("many leases at once: those held by others are recalled together", async () => {
  const { harness, client, other } = await mounted();
  const inodes = [await client.create("a"), await client.create("b"), await client.create("c")];
  const keep = inodes[2]!;
  const [{ grant }] = [client.held.get(keep)!];
  client.held.delete(keep);
  const asked = harness.parts.answers.acquireMany(other.session, {
    mode: "exclusive",
    inodes: [...inodes, 9_999],
    recall: true,
  });
  await harness.clock.advance(60);
  const { leases } = await asked;
  assert.deepEqual(
    leases.map(({ record, mode }) => [record.attributes.inode, mode]),
    inodes.slice(0, 2).map((inode) => [inode, "exclusive"]),
  );
  const recalled = client.peer.bodies<{ leases: { inode: number }[] }>("client.recallLeases");
  assert.deepEqual(
    recalled.map((message) => message.leases.map((lease) => lease.inode)),
    [inodes],
  );
  assert.ok(client.leases.release(client.session.id, keep, grant));
});

test("many leases at once: shared ones are converted, and what others share with them is recalled", async () => {
  const { harness, client, other } = await mounted();
  const inodes = await files(client, ["a", "b", "c"]);
  const answers = harness.parts.answers;
  const shared = await answers.acquireMany(client.session, { mode: "shared", inodes, recall: true });
  const grants = shared.leases.map(({ grant }) => grant);
  await other.acquire(inodes[1]!, "shared");
  const asked = answers.acquireMany(client.session, { mode: "exclusive", inodes, recall: true });
  await harness.clock.advance(60);
  const { leases } = await asked;
  assert.deepEqual(
    leases.map(({ record, mode }) => [record.attributes.inode, mode]),
    inodes.map((inode) => [inode, "exclusive"]),
  );
  for (const [index, { grant }] of leases.entries()) assert.ok(grant > grants[index]!, "under another grant");
  assert.ok(!other.leases.has(other.session.id, inodes[1]!, "shared"));
  assert.deepEqual((await answers.acquireMany(client.session, { mode: "shared", inodes, recall: true })).leases, []);
});

test("many leases at once without a recall: what nobody else has or waits for, as it is now, and at once", async () => {
  const { harness, client, other } = await mounted();
  const inodes = await files(client, ["own", "free", "others", "shared", "waited for"]);
  const [own, free, others, shared, waitedFor] = inodes as [number, number, number, number, number];
  await client.acquire(own, "shared");
  await other.acquire(others, "exclusive");
  await other.acquire(shared, "shared");
  await client.acquire(shared, "shared");
  await client.acquire(waitedFor, "shared");
  client.isStubborn = true;
  const waiting = other.ask(waitedFor, "exclusive", 0);
  await harness.clock.advance(0);
  const recalls = [client, other].map(({ peer }) => peer.bodies("client.recallLeases").length);
  const asked = { mode: "exclusive", inodes: [...inodes, 9_999], recall: false } as const;
  const { leases } = await harness.parts.answers.acquireMany(client.session, asked);
  assert.deepEqual(
    leases.map(({ record, mode }) => [record.attributes.inode, mode]),
    [own, free].map((inode) => [inode, "exclusive"]),
  );
  assert.deepEqual(
    [client, other].map(({ peer }) => peer.bodies("client.recallLeases").length),
    recalls,
    "nobody is recalled",
  );
  assert.ok(other.leases.has(other.session.id, others, "exclusive"));
  client.isStubborn = false;
  client.release(waitedFor);
  assert.equal((await waiting).mode, "exclusive");
});

test("a lease that was replaced while others were waited for is not in the answer", async () => {
  const { harness, client, other } = await mounted();
  const inodes = await files(client, ["a", "b"]);
  await client.acquire(inodes[1]!, "exclusive");
  client.isStubborn = true;
  const asked = harness.parts.answers.acquireMany(other.session, { mode: "exclusive", inodes, recall: true });
  const single = await other.ask(inodes[0]!, "shared", 0);
  assert.equal(single.mode, "exclusive", "it is not taken away from one who may have it already");
  await harness.clock.advance(60);
  assert.deepEqual((await asked).leases, []);
  assert.ok(other.leases.has(other.session.id, inodes[0]!, "exclusive"));
});

test("a client that reconnects while it waits asks again there", async () => {
  const { harness, client, other } = await mounted();
  const [inode] = await files(client, ["a"]);
  await client.acquire(inode!, "exclusive");
  client.isStubborn = true;
  const lost = other.ask(inode!, "shared", 0);
  const many = harness.parts.answers.acquireMany(other.session, { mode: "shared", inodes: [inode!], recall: true });
  await drain();
  other.state(new FakePeer("client"));
  await assert.rejects(lost, { code: "closed" });
  assert.deepEqual((await many).leases, []);
  const again = other.ask(inode!, "shared", 0);
  client.release(inode!);
  assert.equal((await again).mode, "shared");
});

test("giving back what one doesn't have leaves the hold that was spoken of", async () => {
  const { harness, client } = await mounted();
  const inode = await client.create("a");
  const { holds } = harness.parts.holdings.of(1);
  const release = (grant: number, hold: boolean, of = inode) => {
    harness.parts.answers.releaseLeases(client.session, [{ inode: of, grant, keepShared: false, hold }]);
  };
  release(5, true);
  assert.ok(holds.isHeld(inode) && client.leases.has(client.session.id, inode, "exclusive"));
  release(5, false);
  assert.ok(holds.isHeld(inode));
  release(5, true, 9_999);
  assert.ok(!holds.isHeld(9_999));
});

test("100,000 leases are stated again in far less than a second, and grace ends with the last client", async () => {
  const harness = await Harness.start();
  await harness.addStore("a");
  await harness.addVolume("home", 1);
  const client = await harness.mount("client", "home");
  await harness.restart();
  const peer = new FakePeer("client");
  const count = 100_000;
  const startedMs = performance.now();
  for (let from = 0; from < count; from += 16_384) {
    const leases = [];
    for (let at = from; at < Math.min(count, from + 16_384); at++) {
      leases.push({ inode: 1_000 + at, mode: at % 2 === 0 ? "shared" : "exclusive", grant: 100 + at } as const);
    }
    const [first, last] = [from === 0, from + 16_384 >= count];
    harness.parts.sessions.state(
      { session: client.session.id, madeUs: 1, first, last, holds: [], leases, locks: [], quotas: [] },
      peer,
    );
  }
  const ms = performance.now() - startedMs;
  assert.equal(client.leases.count(client.session.id), count);
  assert.ok(!harness.parts.sessions.isInGrace(1));
  assert.ok(ms < 1_000, `it took ${ms} ms`);
});

test("the tree that a batch makes can be listed by another client", async () => {
  const { harness, client, other } = await mounted();
  await client.acquire(client.root, "exclusive");
  const granted = await client.transact({ kind: "grantInodes", count: 1_000 });
  assert.ok(granted.kind === "granted");
  const operations = Array.from({ length: 1_000 }, (_, at) =>
    createFile(client.root, `${at}`, granted.range.first + at),
  );
  const { results } = await client.batch(operations, { timeNs: 5n });
  assert.ok(results.every((result) => result.kind === "done"));
  for (const [at] of operations.entries()) {
    const inode = granted.range.first + at;
    client.held.set(inode, { inode, mode: "exclusive", grant: 1 });
  }
  const asked = Promise.resolve(list(harness, other, { limit: 1_000 }));
  await harness.clock.advance(0);
  const { entries } = await asked;
  assert.equal(entries.length, 1_000);
  assert.ok(entries.every(({ child }) => child === undefined));
  const inodes = entries.slice(0, 512).map(({ entry }) => entry.inode);
  const many = harness.parts.answers.acquireMany(other.session, { mode: "shared", inodes, recall: true });
  await harness.clock.advance(0);
  assert.equal((await many).leases.length, 512);
});

test("an answer brings no more leases than there is room for their extended attributes", async () => {
  const { harness, client, other } = await mounted();
  const names = Array.from({ length: 100 }, (_, number) => String(number));
  const inodes: number[] = [];
  for (const name of names) {
    const inode = await client.create(name);
    inodes.push(inode);
    // The largest there can be: it has to go through the ledger, too.
    const value = Buffer.alloc(65_536 - 7, 1);
    await client.transact({ kind: "setExtendedAttribute", inode, name: "user.a", value, mode: "set" });
    client.release(inode);
  }
  client.release(client.root);
  const { entries } = await list(harness, other);
  const brought = entries.filter(({ child }) => child !== undefined).length;
  assert.equal(entries.length, names.length);
  assert.ok(brought > 90 && brought < names.length, `${brought} leases`);
  const { leases } = await harness.parts.answers.acquireMany(client.session, { mode: "shared", inodes, recall: true });
  assert.equal(leases.length, brought);
});
