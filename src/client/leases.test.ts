/** Leases on inodes, with a leader that answers when the test says so. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FileError } from "../errors/file-error.ts";
import { chunkKey } from "../namespace/chunk-leases.ts";
import { settle } from "../wire/testing/memory-network.ts";
import { LeaseSetup, leased, recordOf } from "./testing/lease-setup.ts";

const acquire = "leader.acquireLease";
const give = "leader.releaseLeases";

test("a lease that is held and strong enough is used at once; the others wait for one request", async () => {
  const setup = new LeaseSetup();
  const { leases } = setup;
  const node = setup.hold(9, "shared");
  assert.equal(leases.use(9, "shared", setup.operation()), node);
  assert.equal(node.uses, 1);
  const [one, two] = [setup.use(9, "exclusive"), setup.use(9, "exclusive")];
  await settle();
  assert.ok(one.waits && two.waits);
  assert.equal(one.operation.waitsFor, "lease (exclusive) on inode 9");
  const asked = setup.next(acquire);
  assert.deepEqual(asked.body, { session: 1, inode: 9, mode: "exclusive", held: 9, forData: false });
  await asked.answer(leased(9, "exclusive", 10));
  assert.equal(one.node, node);
  assert.equal(two.node, node);
  assert.deepEqual([node.uses, node.grant, node.mode], [3, 10, "exclusive"]);
  assert.equal(setup.asked.length, 0);
});

test("the strongest is asked for that anybody waits for, and who comes later waits in line", async () => {
  const setup = new LeaseSetup();
  const first = setup.use(9, "shared");
  await settle();
  const asked = setup.next(acquire);
  assert.equal(asked.body.mode, "shared");
  const later = [setup.use(9, "shared"), setup.use(9, "exclusive"), setup.use(9, "shared")];
  await settle();
  assert.equal(setup.asked.length, 0, "one request at a time");
  await asked.answer(leased(9, "shared", 10));
  assert.ok(!first.waits);
  assert.deepEqual(
    later.map((one) => one.waits),
    [false, true, false],
    "those that the answer is enough for",
  );
  assert.equal(setup.next(acquire).body.mode, "exclusive");
});

test("of all who wait when the leader can be asked, the strongest counts", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  setup.leases.pin(node);
  await setup.recall(9, 9, "exclusive");
  setup.use(9, "shared");
  setup.use(9, "exclusive");
  await settle();
  setup.leases.done(node);
  await settle();
  assert.deepEqual([setup.asked[1]!.name, setup.asked[1]!.body.mode], [acquire, "exclusive"]);
});

test("who upgrades keeps the shared lease meanwhile, as long as it isn't recalled", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "shared");
  const upgrade = setup.use(9, "exclusive");
  await settle();
  assert.equal(setup.leases.held(9, "shared"), node);
  await setup.recall(9, 9, "shared");
  assert.equal(setup.leases.held(9, "shared"), node, "others that want it shared don't need it back");
  const asked = setup.next(acquire);
  await setup.recall(9, 9, "exclusive");
  assert.equal(setup.leases.held(9, "shared"), undefined);
  assert.equal(node.mode, undefined, "nobody used it");
  const given = setup.next(give);
  assert.deepEqual(given.body.leases, [{ inode: 9, grant: 9, keepShared: false, hold: false }]);
  await given.answer();
  assert.ok(upgrade.waits);
  assert.equal(setup.asked.length, 0, "the first question still counts");
  await asked.answer(leased(9, "exclusive", 10));
  assert.equal(upgrade.node?.mode, "exclusive");
});

test("after an upgrade the record is what was made of it here, but for the time of last access", () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "shared");
  const { attributes } = node.record;
  node.record = { ...node.record, attributes: { ...attributes, size: 77, atimeNs: 5n } };
  setup.hold(9, "exclusive", 10, { record: recordOf(9, "file", 8n) });
  assert.deepEqual([node.record.attributes.size, node.record.attributes.atimeNs], [77, 8n]);
});

test("a recall while an operation runs: it finishes, nobody new gets the lease, then it is given back", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  setup.leases.pin(node);
  await setup.recall(9, 9, "shared");
  assert.deepEqual([node.mode, node.leaving], ["exclusive", "toShared"]);
  const [reader, writer] = [setup.use(9, "shared"), setup.use(9, "exclusive")];
  await settle();
  assert.ok(reader.waits && writer.waits);
  assert.equal(setup.asked.length, 0, "neither given back nor asked for while it is used");
  setup.leases.done(node);
  await settle();
  const [given, asked] = setup.asked.splice(0);
  assert.deepEqual(given!.body.leases, [{ inode: 9, grant: 9, keepShared: true, hold: false }]);
  assert.equal(reader.node, node, "what is left is enough for it");
  assert.ok(writer.waits);
  assert.deepEqual([asked!.name, asked!.body.mode, asked!.body.held], [acquire, "exclusive", 9]);
});

test("what the others want may grow while the lease leaves, never shrink", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  setup.leases.pin(node);
  await setup.recall(9, 9, "shared");
  await setup.recall(9, 9, "exclusive");
  await setup.recall(9, 9, "shared");
  setup.leases.done(node);
  await settle();
  assert.equal(setup.next(give).body.leases[0].keepShared, false);
  assert.equal(setup.leases.get(9), undefined, "nothing is known any more");
});

test("a recall that overtakes the answer: who waited gets the lease once, before it goes", async () => {
  const setup = new LeaseSetup();
  const waiting = [setup.use(9, "exclusive"), setup.use(9, "shared")];
  await settle();
  await setup.recall(9, 10, "exclusive");
  await setup.next(acquire).answer(leased(9, "exclusive", 10, { record: recordOf(9, "directory") }));
  const node = waiting[0]!.node!;
  assert.deepEqual([waiting[1]!.node, node.uses, node.leaving], [node, 2, "entirely"]);
  const late = setup.use(9, "shared");
  await settle();
  assert.ok(late.waits, "it comes too late");
  for (const _ of waiting) setup.leases.done(node);
  await settle();
  assert.deepEqual(
    setup.asked.map((one) => one.name),
    [give, acquire],
    "it is asked for behind the release",
  );
});

test("a recall of another grant is none of this lease", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  await setup.recall(9, 8, "exclusive");
  assert.equal(setup.leases.held(9, "exclusive"), node);
});

test("a lease whose answer is lost is given back at the second recall, and an answer that comes later brings nothing", async () => {
  const setup = new LeaseSetup();
  const waiting = setup.use(9, "shared");
  await settle();
  const asked = setup.next(acquire);
  await setup.recall(9, 10, "exclusive");
  assert.equal(setup.asked.length, 0);
  await setup.recall(9, 10, "exclusive");
  await setup.platform.clock.advance(1);
  assert.deepEqual(setup.next(give).body.leases, [{ inode: 9, grant: 10, keepShared: false, hold: false }]);
  await asked.answer(leased(9, "shared", 10));
  assert.ok(waiting.waits);
  assert.equal(setup.leases.get(9), undefined);
  await setup.next(acquire).answer(leased(9, "shared", 11));
  assert.equal(waiting.node?.grant, 11);
});

test("a later grant that only the leader knows of: the earlier one goes first", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  for (let time = 0; time < 2; time++) await setup.recall(9, 10, "exclusive");
  assert.equal(node.mode, "exclusive");
  await setup.platform.clock.advance(1);
  assert.equal(setup.next(give).body.leases[0].grant, 9);
});

test("who wants only data is served under the split lease; for more it is given back, with its chunks before it", async () => {
  const setup = new LeaseSetup();
  const data = setup.use(9, "shared", "read", true);
  await settle();
  const asked = setup.next(acquire);
  assert.equal(asked.body.forData, true);
  await asked.answer(leased(9, "split", 10));
  const file = data.node!;
  assert.equal(file.mode, "split");
  assert.equal(setup.leases.use(9, "exclusive", setup.operation(), "write", true), file);
  assert.equal(setup.leases.held(9, "shared"), undefined);
  const key = chunkKey(9, 3);
  const chunk = setup.hold(key, "exclusive", 20, { within: 10 });
  assert.deepEqual(setup.leases.chunksOf(file), [chunk]);
  for (let uses = file.uses; uses > 0; uses--) setup.leases.done(file);
  const attributes = setup.use(9, "shared");
  await settle();
  const chunkGiven = setup.next(give);
  assert.deepEqual(
    chunkGiven.body.leases.map((one: { inode: number }) => one.inode),
    [key],
  );
  await chunkGiven.answer();
  const [fileGiven, askedMore] = setup.asked.splice(0);
  assert.equal(fileGiven!.body.leases[0].inode, 9);
  assert.deepEqual([askedMore!.body.mode, askedMore!.body.held, askedMore!.body.forData], ["shared", 0, false]);
  await askedMore!.answer(leased(9, "shared", 11));
  assert.equal(attributes.node?.mode, "shared");
});

test("one who needs more than data makes the question one for the whole file", async () => {
  const setup = new LeaseSetup();
  setup.hold(9, "shared");
  setup.use(9, "exclusive", "write", true);
  await settle();
  assert.equal(setup.next(acquire).body.forData, true);
  const other = new LeaseSetup();
  const blocked = other.hold(9, "shared");
  other.leases.pin(blocked);
  await other.recall(9, 9, "exclusive");
  other.use(9, "exclusive", "write", true);
  other.use(9, "exclusive");
  other.leases.done(blocked);
  await settle();
  assert.equal(other.asked.at(-1)!.body.forData, false);
});

test("a chunk's lease comes to nothing when the split one has gone", () => {
  const setup = new LeaseSetup();
  const key = chunkKey(9, 0);
  assert.equal(setup.leases.learn(leased(key, "shared", 20, { within: 10 })), undefined);
  setup.hold(9, "split", 11);
  assert.equal(setup.leases.learn(leased(key, "shared", 20, { within: 10 })), undefined);
  assert.equal(setup.leases.get(key), undefined);
});

test("while the session is in doubt nothing is answered from memory", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  setup.session.live = false;
  assert.equal(setup.leases.held(9, "shared"), undefined);
  const waiting = setup.use(9, "shared");
  await settle();
  assert.ok(waiting.waits);
  await setup.endDoubt();
  assert.equal(waiting.node, node);
});

test("an operation that is cancelled waits no more, and keeps nothing", async () => {
  const setup = new LeaseSetup();
  const [cancelled, other] = [setup.use(9, "exclusive"), setup.use(9, "shared")];
  await settle();
  cancelled.operation.cancel(new FileError("EINTR"));
  await settle();
  assert.equal((cancelled.error as FileError).code, "EINTR");
  await setup.next(acquire).answer(leased(9, "exclusive", 10));
  assert.equal(other.node?.uses, 1);
});

test("an operation that is cancelled while the session is in doubt lets go of what it was given", async () => {
  const setup = new LeaseSetup();
  const waiting = setup.use(9, "shared");
  await settle();
  setup.session.live = false;
  await setup.next(acquire).answer(leased(9, "shared", 10));
  assert.equal(setup.leases.get(9)!.uses, 1);
  waiting.operation.cancel(new FileError("EINTR"));
  await setup.endDoubt();
  assert.equal((waiting.error as FileError).code, "EINTR");
  assert.equal(setup.leases.get(9)!.uses, 0);
});

test("an error of the leader is everybody's who waits, and the next one asks anew", async () => {
  const setup = new LeaseSetup();
  const waiting = [setup.use(9, "shared"), setup.use(9, "exclusive")];
  await settle();
  await setup.next(acquire).fail(new FileError("ENOENT"));
  for (const one of waiting) assert.equal((one.error as FileError).code, "ENOENT");
  setup.use(9, "shared");
  await settle();
  setup.next(acquire);
});

test("a node that is blocked serves nobody, and asks for nothing, until its lease has gone and come again", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  node.handles = 1;
  setup.leases.pin(node);
  setup.leases.block(node);
  assert.equal(setup.leases.held(9, "shared"), undefined);
  const waiting = setup.use(9, "shared");
  await settle();
  assert.ok(waiting.waits);
  assert.equal(setup.asked.length, 0);
  setup.leases.letGo(node);
  setup.leases.done(node);
  await settle();
  const [given, asked] = setup.asked.splice(0);
  await given!.answer();
  await asked!.answer(leased(9, "shared", 10));
  assert.equal(waiting.node?.grant, 10);
});

test("a node that is blocked while it is asked for serves nobody with the answer", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "shared");
  setup.leases.pin(node);
  const waiting = setup.use(9, "exclusive");
  await settle();
  setup.leases.block(node);
  await setup.next(acquire).answer(leased(9, "exclusive", 10));
  assert.ok(waiting.waits);
});

test("many leases at once: those are asked for that are missing, and that nobody asks for yet", async () => {
  const setup = new LeaseSetup();
  setup.hold(1, "shared");
  setup.hold(2, "exclusive");
  const leaving = setup.hold(3, "shared");
  setup.leases.pin(leaving);
  await setup.recall(3, 3, "exclusive");
  setup.use(4, "shared");
  setup.hold(5, "split");
  await settle();
  setup.next(acquire);
  const many = setup.leases.batches.acquire([1, 2, 3, 4, 5, 6], "exclusive", setup.operation());
  const asked = setup.next("leader.acquireLeases");
  assert.deepEqual(asked.body.inodes, [1, 6]);
  await asked.answer({ leases: [leased(6, "exclusive", 60)] });
  assert.equal(await many, false, "one was not to be had");
  assert.ok(setup.leases.held(6, "exclusive") !== undefined);
  assert.equal(await setup.leases.batches.acquire([2, 6], "shared", setup.operation()), true);
});

test("who wants a lease that was wished for waits for that answer, and asks himself if it doesn't bring it", async () => {
  const setup = new LeaseSetup();
  setup.hold(1, "shared", 1);
  setup.hold(2, "shared", 2);
  const wish = setup.leases.batches.wish([1, 2]);
  const asked = setup.next("leader.acquireLeases");
  assert.deepEqual([asked.body.inodes, asked.body.mode, asked.body.recall], [[1, 2], "exclusive", false]);
  assert.ok(setup.leases.held(1, "shared") !== undefined, "it is of use meanwhile");
  const [first, second] = [setup.use(1, "exclusive"), setup.use(2, "exclusive")];
  await settle();
  assert.deepEqual(setup.asked, []);
  await asked.answer({ leases: [leased(1, "exclusive", 10)] });
  assert.deepEqual(await wish, { asked: 2, came: 1 });
  assert.equal(first.node?.grant, 10);
  assert.ok(second.waits);
  const own = setup.next(acquire);
  assert.deepEqual([own.body.inode, own.body.held], [2, 2]);
  await own.answer(leased(2, "exclusive", 20));
  assert.equal(second.node?.grant, 20);
});

test("if a wish fails, who waits for it asks himself", async () => {
  const setup = new LeaseSetup();
  const wish = setup.leases.batches.wish([1]);
  const waiting = setup.use(1, "exclusive");
  await setup.next("leader.acquireLeases").fail(new FileError("EIO"));
  assert.deepEqual(await wish, { asked: 1, came: 0 });
  await setup.next(acquire).answer(leased(1, "exclusive", 10));
  assert.equal(waiting.node?.grant, 10);
});

test("a recall that overtakes the answer to a wish is obeyed when that has come; who waits gets it once", async () => {
  const setup = new LeaseSetup();
  setup.hold(1, "shared", 1);
  const wish = setup.leases.batches.wish([1, 2]);
  const waiting = setup.use(1, "exclusive");
  await setup.recall(1, 10, "shared");
  await setup.recall(2, 10, "exclusive");
  const leases = [leased(1, "exclusive", 10), leased(2, "exclusive", 10)];
  await setup.next("leader.acquireLeases").answer({ leases });
  await wish;
  const release = setup.next("leader.releaseLeases");
  assert.deepEqual(release.body.leases, [{ inode: 2, grant: 10, keepShared: false, hold: false }]);
  await release.answer();
  assert.equal(waiting.node?.grant, 10);
  setup.leases.done(waiting.node!);
  await settle();
  const next = setup.next("leader.releaseLeases");
  assert.deepEqual(next.body.leases, [{ inode: 1, grant: 10, keepShared: true, hold: false }]);
});

test("what this client makes is its own from the start", () => {
  const setup = new LeaseSetup();
  const node = setup.leases.cover(recordOf(9));
  assert.equal(setup.leases.held(9, "exclusive"), node);
  assert.equal(node.grant, setup.session.coverGrant);
});

test("the versions that are written never fall back, whatever grant comes", () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive", 10);
  node.versionGrant = 50;
  setup.hold(9, "exclusive", 20);
  assert.deepEqual([node.grant, node.versionGrant], [20, 50]);
});

test("with the session all leases are gone, and who waits gets its error", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(8, "exclusive");
  const waiting = setup.use(9, "shared");
  await settle();
  setup.lose(new FileError("EIO"));
  await settle();
  assert.equal((waiting.error as FileError).code, "EIO");
  assert.equal(node.mode, undefined);
  await setup.next(acquire).answer(leased(9, "shared", 10));
  assert.equal(setup.leases.get(9), undefined, "an answer of before brings nothing");
  const late = setup.use(9, "shared");
  await settle();
  assert.equal((late.error as FileError).code, "EIO");
});

test("a lease that is let go more often than used is a defect", () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "shared");
  assert.throws(() => setup.leases.done(node), /inode 9: a lease was let go more often than used/);
});
