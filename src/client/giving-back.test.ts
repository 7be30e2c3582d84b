/** What happens, and in which order, before the leader hears that a lease is given back. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FileError } from "../errors/file-error.ts";
import { chunkKey } from "../namespace/chunk-leases.ts";
import { settle } from "../wire/testing/memory-network.ts";
import { DirectoryNames } from "./directory-names.ts";
import { LeaseSetup, leased } from "./testing/lease-setup.ts";

const acquire = "leader.acquireLease";
const give = "leader.releaseLeases";

test("changes are committed, pages given up, locks stated, what the kernel keeps is forgotten; then the leader is told", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  node.lastPosition = 5;
  node.kernelHasAttributes = true;
  setup.kernel.withPages.add(9);
  setup.locked.add(9);
  await setup.recall(9, 9, "exclusive");
  assert.deepEqual(setup.events.splice(0), ["commit up to 5"]);
  await setup.commit(5);
  assert.deepEqual(setup.events.splice(0), ["pages of 9 asked back"]);
  assert.equal(node.mode, "exclusive", "it is ours until the leader is told");
  await setup.pagesForgotten();
  assert.deepEqual(setup.events.splice(0), ["locks of 9 stated"]);
  await setup.locksStated();
  assert.deepEqual(setup.events, ["attributes of 9 forgotten", give]);
  assert.equal(node.mode, undefined);
});

test("what mapped memory writes meanwhile is served under the lease that leaves, and committed before it goes", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  setup.kernel.withPages.add(9);
  const early = setup.use(9, "exclusive", "write");
  await settle();
  setup.leases.done(early.node!);
  await setup.recall(9, 9, "exclusive");
  const [write, read, attributes] = [
    setup.use(9, "exclusive", "write"),
    setup.use(9, "shared", "read"),
    setup.use(9, "shared"),
  ];
  await settle();
  assert.deepEqual([write.waits, read.waits, attributes.waits], [false, false, true]);
  node.lastPosition = 6;
  setup.leases.done(write.node!);
  await setup.pagesForgotten();
  assert.ok(!setup.events.includes("commit up to 6"), "the read is not over");
  setup.leases.done(read.node!);
  await settle();
  assert.equal(setup.events.at(-1), "commit up to 6");
  await setup.commit(6);
  // The read may have brought the kernel new pages.
  assert.deepEqual(setup.events, ["pages of 9 asked back", "commit up to 6", "pages of 9 asked back"]);
  await setup.pagesForgotten();
  assert.equal(setup.events.at(-2), give);
  assert.equal(setup.events.at(-1), acquire, "for who wanted attributes");
});

test("who waited for data when the kernel began is served, who needs more than the lease is not", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "shared");
  setup.kernel.withPages.add(9);
  node.lastPosition = 5;
  await setup.recall(9, 9, "exclusive");
  const [read, change] = [setup.use(9, "shared", "read"), setup.use(9, "exclusive", "read")];
  await settle();
  assert.ok(read.waits && change.waits);
  await setup.commit(5);
  assert.deepEqual([read.waits, change.waits], [false, true]);
  const late = setup.use(9, "exclusive", "read");
  await settle();
  assert.ok(late.waits);
});

test("without pages nobody is served while the lease leaves", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  node.lastPosition = 5;
  await setup.recall(9, 9, "exclusive");
  const read = setup.use(9, "shared", "read");
  await setup.commit(5);
  assert.equal(setup.events.at(1), give);
  assert.ok(read.waits);
});

test("once the kernel has given up its pages nobody is served any more", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  setup.kernel.withPages.add(9);
  await setup.recall(9, 9, "exclusive");
  node.lastPosition = 5;
  await setup.pagesForgotten();
  assert.equal(setup.events.at(-1), "commit up to 5");
  const read = setup.use(9, "shared", "read");
  await settle();
  assert.ok(read.waits);
});

test("a lease goes only when the kernel has taken the answer that made the file", async () => {
  const setup = new LeaseSetup();
  setup.hold(9, "exclusive").kernelHasAttributes = true;
  setup.kernel.new.add(9);
  await setup.recall(9, 9, "exclusive");
  assert.deepEqual(setup.events, ["9 has to settle"]);
  await setup.settled();
  assert.deepEqual(setup.events, ["9 has to settle", "attributes of 9 forgotten", give]);
});

test("directories, chunks and files that are split have no pages", async () => {
  const setup = new LeaseSetup();
  setup.holdDirectory(3);
  setup.hold(9, "split");
  const key = chunkKey(9, 0);
  setup.hold(key, "shared", 20, { within: 9 });
  for (const inode of [3, 9, key]) setup.kernel.withPages.add(inode);
  await setup.recall(3, 3, "exclusive");
  await setup.recall(9, 9, "exclusive");
  for (const asked of setup.asked) await asked.answer();
  assert.deepEqual(
    setup.events.filter((event) => event !== give),
    [],
  );
});

test("a lease that goes down to shared keeps names, attributes and the hold, but no pages", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  node.kernelHasAttributes = true;
  node.handles = 1;
  setup.kernel.withPages.add(9);
  await setup.recall(9, 9, "shared");
  await setup.pagesForgotten();
  assert.deepEqual(setup.events, ["pages of 9 asked back", give]);
  assert.deepEqual(setup.next(give).body.leases, [{ inode: 9, grant: 9, keepShared: true, hold: false }]);
  assert.deepEqual([node.mode, node.grant, node.isHeldAtLeader], ["shared", 9, false]);
  assert.equal(setup.leases.held(9, "shared"), node);
});

test("with a directory's lease its names go, here and in the kernel", async () => {
  const setup = new LeaseSetup();
  const node = setup.holdDirectory(3, "exclusive");
  const { names } = node;
  assert.ok(names instanceof DirectoryNames);
  node.kernelHasNames = true;
  await setup.recall(3, 3, "shared");
  assert.equal(node.names, names);
  assert.deepEqual(setup.events, [give]);
  await setup.next(give).answer();
  await setup.recall(3, 3, "exclusive");
  assert.equal(node.names, undefined);
  assert.deepEqual(setup.events, [give, "names forgotten", give]);
});

test("with an inode's lease the names go that lead to it, in one call for all", async () => {
  const setup = new LeaseSetup();
  const directory = setup.holdDirectory(1);
  const nodes = [8, 9].map((inode) => setup.hold(inode, "exclusive"));
  setup.leases.letGo(setup.hold(7, "shared"));
  await settle();
  assert.deepEqual(setup.events.splice(0), [give], "the kernel has no names in the directory");
  directory.kernelHasNames = true;
  for (const node of nodes) {
    node.kernelHasAttributes = true;
    setup.leases.letGo(node);
  }
  await settle();
  await setup.next(give).answer();
  assert.deepEqual(setup.events.splice(0), [
    "names forgotten",
    "attributes of 8 forgotten",
    "attributes of 9 forgotten",
    give,
  ]);
  await setup.next(give).answer();
  const shared = setup.hold(10, "exclusive");
  await setup.recall(10, 10, "shared");
  assert.equal(shared.mode, "shared");
  assert.deepEqual(setup.events, [give], "nobody changes its owner meanwhile");
});

test("of an inode without links no name is left: the kernel keeps all others", async () => {
  const setup = new LeaseSetup();
  setup.holdDirectory(1).kernelHasNames = true;
  const file = setup.hold(8, "exclusive");
  const directory = setup.holdDirectory(9, "exclusive");
  directory.kernelHasNames = true;
  for (const node of [file, directory]) {
    node.record = { ...node.record, attributes: { ...node.record.attributes, linkCount: 0 } };
    node.kernelHasAttributes = true;
    setup.leases.letGo(node);
  }
  await settle();
  await setup.next(give).answer();
  assert.ok(!setup.events.includes("names forgotten"), String(setup.events));
  for (const inode of [8, 9]) assert.ok(setup.events.includes(`attributes of ${inode} forgotten`), `${inode}`);
});

test("a file with several names may have one in any directory", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "shared");
  node.record = { ...node.record, attributes: { ...node.record.attributes, linkCount: 2 } };
  setup.leases.letGo(node);
  await settle();
  assert.deepEqual(setup.events, ["names forgotten", give]);
});

test("an open file's size goes with the lease, also if the kernel was told to keep nothing", async () => {
  const setup = new LeaseSetup();
  const file = setup.hold(9, "shared");
  const directory = setup.holdDirectory(3);
  for (const node of [file, directory]) node.handles = 1;
  setup.hold(10, "shared");
  for (const inode of [3, 9, 10]) {
    setup.leases.letGo(setup.leases.get(inode)!);
    await settle();
    await setup.next(give).answer();
  }
  assert.deepEqual(
    setup.events.filter((event) => event !== give),
    ["attributes of 9 forgotten"],
  );
});

test("an open file stays at the leader when its lease goes, until its last handle is closed", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "shared");
  node.handles = 1;
  setup.leases.letGo(node);
  await settle();
  const first = setup.next(give);
  assert.equal(first.body.leases[0].hold, true);
  assert.ok(node.isHeldAtLeader);
  assert.equal(setup.leases.get(9), node);
  setup.givingBack.releaseHold(9);
  await settle();
  assert.equal(setup.asked.length, 0, "one request at a time");
  await first.answer();
  const released = setup.next("leader.release");
  assert.deepEqual(released.body, { session: 1, inodes: [9] });
});

test("a hold that is left to be released, and needed again, stays", async () => {
  const setup = new LeaseSetup();
  setup.leases.letGo(setup.hold(8, "shared"));
  await settle();
  const first = setup.next(give);
  setup.givingBack.releaseHold(9);
  const node = setup.hold(9, "shared");
  node.handles = 1;
  setup.leases.letGo(node);
  await settle();
  await first.answer();
  const second = setup.next(give);
  assert.equal(second.body.leases[0].hold, true);
  await second.answer();
  assert.equal(setup.asked.length, 0, "the hold is not released behind it");
});

test("leases that are ready while a request is under way share the next one", async () => {
  const setup = new LeaseSetup();
  const nodes = [7, 8, 9].map((inode) => setup.hold(inode, "shared"));
  for (const node of nodes) setup.leases.letGo(node);
  await settle();
  const first = setup.next(give);
  assert.deepEqual(
    nodes.map(({ mode }) => mode),
    [undefined, "shared", "shared"],
    "those that wait are ours still",
  );
  const waiting = setup.use(8, "shared");
  await settle();
  assert.equal(setup.asked.length, 0, "it isn't asked for before it is given back");
  await first.answer();
  const [second, asked] = setup.asked.splice(0);
  assert.deepEqual(
    second!.body.leases.map(({ inode }: { inode: number }) => inode),
    [8, 9],
  );
  assert.equal(asked!.name, acquire);
  assert.ok(waiting.waits);
});

test("a lease that is used once more after it was ready goes its whole way again", async () => {
  const setup = new LeaseSetup();
  setup.leases.letGo(setup.hold(8, "shared"));
  const node = setup.hold(9, "exclusive");
  setup.kernel.withPages.add(9);
  setup.leases.letGo(node);
  await settle();
  await setup.pagesForgotten();
  const first = setup.next(give);
  setup.events.splice(0);
  // An answer that comes late brings it once more, for somebody who waited.
  setup.leases.learn(leased(9, "exclusive", 9), []);
  node.lastPosition = 4;
  setup.leases.done(node);
  await settle();
  assert.deepEqual(setup.events, ["commit up to 4"]);
  await first.answer();
  assert.equal(setup.asked.length, 0);
  await setup.commit(4);
  assert.deepEqual(setup.events, ["commit up to 4", "pages of 9 asked back"]);
  await setup.pagesForgotten();
  assert.equal(setup.next(give).body.leases[0].inode, 9);
});

test("a lease that is in use again when the request is made is not in it", async () => {
  const setup = new LeaseSetup();
  setup.leases.letGo(setup.hold(8, "shared"));
  const node = setup.hold(9, "exclusive");
  setup.leases.letGo(node);
  await settle();
  const first = setup.next(give);
  setup.leases.learn(leased(9, "exclusive", 9), []);
  await first.answer();
  assert.equal(setup.asked.length, 0);
  assert.equal(node.mode, "exclusive");
  setup.leases.done(node);
  await settle();
  assert.equal(setup.next(give).body.leases[0].inode, 9);
});

test("a change that comes after a lease was ready, and is over, is committed before it goes", async () => {
  const setup = new LeaseSetup();
  setup.leases.letGo(setup.hold(8, "shared"));
  const node = setup.hold(9, "exclusive");
  setup.leases.letGo(node);
  await settle();
  const first = setup.next(give);
  node.lastPosition = 3;
  await first.answer();
  assert.equal(setup.asked.length, 0);
  await setup.commit(3);
  assert.equal(setup.next(give).body.leases[0].inode, 9);
});

test("a lease that only the leader knows of is given back, with a hold if the inode is open here", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "shared");
  node.handles = 1;
  setup.givingBack.giveBackUnknown(9, 30);
  setup.givingBack.giveBackUnknown(10, 31);
  const first = setup.next(give);
  assert.deepEqual(first.body.leases, [{ inode: 9, grant: 30, keepShared: false, hold: true }]);
  assert.ok(node.isHeldAtLeader);
  await first.answer();
  assert.deepEqual(setup.next(give).body.leases, [{ inode: 10, grant: 31, keepShared: false, hold: false }]);
});

test("chunks go before the split lease that they stand under, and commit what was done to them", async () => {
  const setup = new LeaseSetup();
  const file = setup.hold(9, "split");
  const keys = [chunkKey(9, 0), chunkKey(9, 1)];
  const chunks = keys.map((key, index) => setup.hold(key, "exclusive", 20 + index, { within: 9 }));
  chunks[1]!.lastPosition = 3;
  await setup.recall(9, 9, "exclusive");
  const first = setup.next(give);
  assert.equal(first.body.leases[0].inode, keys[0]);
  assert.equal(setup.events.at(-1), "commit up to 3");
  await first.answer();
  assert.equal(setup.asked.length, 0, "the other chunk isn't committed");
  assert.equal(file.mode, "split");
  await setup.commit(3);
  const second = setup.next(give);
  assert.equal(second.body.leases[0].inode, keys[1]);
  await second.answer();
  assert.equal(setup.next(give).body.leases[0].inode, 9);
});

test("quiet is when nothing leaves and the leader has answered", async () => {
  const setup = new LeaseSetup();
  await setup.givingBack.quiet();
  const node = setup.hold(9, "shared");
  node.lastPosition = 1;
  setup.leases.letGo(node);
  setup.leases.letGo(setup.hold(8, "shared"));
  let isQuiet = false;
  void setup.givingBack.quiet().then(() => {
    isQuiet = true;
  });
  await settle();
  assert.equal(setup.givingBack.count, 1);
  await setup.next(give).answer();
  assert.ok(!isQuiet, "the other one still leaves");
  await setup.commit(1);
  assert.ok(!isQuiet);
  await setup.next(give).answer();
  assert.ok(isQuiet);
  assert.equal(setup.givingBack.count, 0);
});

test("with the session nothing is on its way any more", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  node.lastPosition = 1;
  setup.leases.letGo(node);
  const quiet = setup.givingBack.quiet();
  setup.lose(new FileError("EIO"));
  await quiet;
  await setup.commit(1);
  assert.equal(setup.asked.length, 0, "the leader is told nothing");
});
