/** How attempts get what they lack, with a leader that answers when the test says so. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FileError } from "../errors/file-error.ts";
import { settle } from "../wire/testing/memory-network.ts";
import { Access } from "./access.ts";
import type { Node } from "./node.ts";
import { LackingQuota } from "./quota-grants.ts";
import { LeaseSetup, leased, recordOf } from "./testing/lease-setup.ts";
import type { Operation } from "./waits.ts";

const acquire = "leader.acquireLease";
const look = "leader.lookup";
const give = "leader.releaseLeases";
const entry = { inode: 20, type: "file", cookie: 7 } as const;

/** Starts an attempt that is expected to wait. */
function start<T>(setup: LeaseSetup, attempt: (access: Access) => T, operation: Operation = setup.operation()) {
  const running = { tries: 0, value: undefined as T | undefined, error: undefined as unknown, ended: false };
  const outcome = setup.fetcher.run(operation, (access) => {
    running.tries += 1;
    return attempt(access);
  });
  assert.ok(outcome instanceof Promise);
  outcome.then(
    (value) => Object.assign(running, { value, ended: true }),
    (error) => Object.assign(running, { error, ended: true }),
  );
  return running;
}

test("what is there is answered, or fails, at once", () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  assert.equal(
    setup.fetcher.run(setup.operation(), (access) => access.node(9, "shared")),
    node,
  );
  const fail = (access: Access) => {
    access.pin(node);
    throw new FileError("EPERM");
  };
  assert.throws(() => setup.fetcher.run(setup.operation(), fail), { code: "EPERM" });
  assert.equal(node.uses, 0);
});

test("what is missing is fetched and pinned, and the attempt is made again from the start", async () => {
  const setup = new LeaseSetup();
  const pinned: number[] = [];
  const running = start(setup, (access) => {
    const nodes = [5, 9].map((inode) => access.node(inode, "shared"));
    pinned.push(...nodes.map(({ uses }) => uses));
    return nodes;
  });
  await settle();
  await setup.next(acquire).answer(leased(5, "shared", 50));
  await setup.next(acquire).answer(leased(9, "shared", 90));
  assert.equal(running.tries, 3);
  assert.deepEqual(pinned, [1, 1]);
  assert.deepEqual(
    running.value!.map(({ uses }: Node) => uses),
    [0, 0],
    "let go at the end",
  );
});

test("who waits for an inode has only lower ones pinned", async () => {
  const setup = new LeaseSetup();
  const running = start(setup, (access) => [9, 7, 5].map((inode) => access.node(inode, "shared")));
  await settle();
  await setup.next(acquire).answer(leased(9, "shared", 90));
  const nine = setup.leases.get(9)!;
  assert.equal(nine.uses, 0, "it waits for 7");
  await setup.recall(9, 90, "exclusive");
  assert.deepEqual(
    setup.asked.map((one) => one.name),
    [acquire, give],
    "so it can go",
  );
  await setup.asked.pop()!.answer();
  await setup.next(acquire).answer(leased(7, "shared", 70));
  // 9 is gone: it is taken in its order, with 7 pinned.
  assert.deepEqual([setup.leases.get(7)!.uses, setup.asked[0]!.body.inode], [1, 9]);
  await setup.next(acquire).answer(leased(9, "shared", 91));
  assert.deepEqual([setup.leases.get(7)!.uses, setup.leases.get(9)!.uses, setup.asked[0]!.body.inode], [0, 0, 5]);
  await setup.next(acquire).answer(leased(5, "shared", 50));
  assert.ok(running.ended);
});

test("an inode that is wanted in a stronger mode isn't kept pinned in the weaker one", async () => {
  const setup = new LeaseSetup();
  start(setup, (access) => [access.node(9, "shared"), access.node(9, "exclusive")]);
  await settle();
  await setup.next(acquire).answer(leased(9, "shared", 90));
  assert.equal(setup.next(acquire).body.mode, "exclusive");
  assert.equal(setup.leases.get(9)!.uses, 0);
});

test("a pinned lease that leaves is good until the end, unless it is blocked or the session is in doubt", async () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  const access = new Access(setup.fetcher);
  access.pin(node);
  access.pin(node);
  assert.equal(node.uses, 1, "once");
  await setup.recall(9, 9, "exclusive");
  assert.equal(access.node(9, "exclusive"), node);
  setup.session.live = false;
  assert.throws(() => access.node(9, "exclusive"));
  setup.session.live = true;
  node.isBlocked = true;
  assert.throws(() => access.node(9, "exclusive"));
  node.isBlocked = false;
  assert.throws(() => access.node(9, "split"));
  assert.equal(Access.over(setup.fetcher, node).node(9, "exclusive"), node);
  access.release();
  assert.equal(node.uses, 0);
});

test("who has seen to it that a lease stands uses it although the session is in doubt", () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "exclusive");
  setup.leases.pin(node);
  setup.session.live = false;
  node.isBlocked = true;
  const access = Access.over(setup.fetcher, node);
  assert.equal(access.node(9, "exclusive"), node);
  assert.throws(() => access.node(8, "shared"));
});

test("pins that were handed over are not let go", () => {
  const setup = new LeaseSetup();
  const node = setup.hold(9, "shared");
  const access = new Access(setup.fetcher);
  access.pin(node);
  assert.deepEqual(access.takePins(), [node]);
  access.release();
  assert.equal(node.uses, 1);
});

test("an inode that is gone is looked for once more; gone again, it is the error", async () => {
  const setup = new LeaseSetup();
  let target = 20;
  const running = start(setup, (access) => access.node(target, "shared"));
  await settle();
  target = 21;
  await setup.next(acquire).fail(new FileError("ENOENT"));
  await setup.next(acquire).answer(leased(21, "shared", 5));
  assert.equal(running.value?.inode, 21);
  const other = start(setup, (access) => access.node(30, "shared"));
  await settle();
  await setup.next(acquire).fail(new FileError("ENOENT"));
  assert.equal(setup.asked.length, 0);
  assert.equal((other.error as FileError).code, "ENOENT");
  assert.equal(other.tries, 2);
});

test("other errors, and those of lookups, are the operation's; what was pinned is let go", async () => {
  const setup = new LeaseSetup();
  const running = start(setup, (access) => [5, 9].map((inode) => access.node(inode, "shared")));
  await settle();
  await setup.next(acquire).answer(leased(5, "shared", 50));
  assert.equal(setup.leases.get(5)!.uses, 1);
  await setup.next(acquire).fail(new FileError("EIO"));
  assert.equal((running.error as FileError).code, "EIO");
  assert.equal(running.tries, 2);
  assert.equal(setup.leases.get(5)!.uses, 0);
  const looking = start(setup, (access) => access.entry(access.directory(3, "a"), "a"));
  await setup.next(look).fail(new FileError("ENOENT"));
  assert.equal((looking.error as FileError).code, "ENOENT");
});

test("an operation that nobody waits for makes no further attempt", async () => {
  const setup = new LeaseSetup();
  const operation = setup.operation();
  const running = start(setup, (access) => access.entry(access.directory(3, "a"), "a"), operation);
  operation.cancel(new FileError("EINTR"));
  await setup.next(look).answer({ parent: leased(3, "shared", 30, { record: recordOf(3, "directory") }) });
  assert.deepEqual([running.tries, (running.error as FileError).code], [1, "EINTR"]);
  assert.equal(setup.leases.get(3)!.uses, 0);
});

test("a name comes with the leases on its directory and its inode", async () => {
  const setup = new LeaseSetup();
  const running = start(setup, (access) => {
    const found = access.entry(access.directory(3, "a"), "a")!;
    return access.node(found.inode, "shared");
  });
  const asked = setup.next(look);
  assert.deepEqual(asked.body, { session: 1, parent: 3, held: 0, name: "a" });
  const parent = leased(3, "shared", 30, { record: recordOf(3, "directory") });
  await asked.answer({ parent, entry, child: leased(20, "shared", 200) });
  assert.deepEqual([running.tries, running.value?.inode], [2, 20]);
  assert.deepEqual([setup.leases.get(3)!.uses, setup.leases.get(20)!.uses], [0, 0]);
});

test("under the directory's lease only names are asked for, and one that isn't there is remembered", async () => {
  const setup = new LeaseSetup();
  const directory = setup.holdDirectory(3, "shared", 30);
  const find = (access: Access) => access.entry(access.directory(3, "a"), "a") ?? "absent";
  const running = start(setup, find);
  const asked = setup.next(look);
  assert.equal(asked.body.held, 30);
  await asked.answer({});
  assert.equal(running.value, "absent");
  assert.equal(directory.names!.knows("a"), true);
  assert.equal(setup.fetcher.run(setup.operation(), find), "absent");
});

test("several who want the same name share one request; an error is only the first one's", async () => {
  const setup = new LeaseSetup();
  setup.holdDirectory(3, "shared", 30);
  const find = (access: Access) => access.entry(access.directory(3, "a"), "a");
  const [one, two] = [start(setup, find), start(setup, find)];
  await setup.next(look).answer({ entry });
  assert.deepEqual([one.value, two.value], [entry, entry]);
  setup.leases.get(3)!.names!.setAbsent("b");
  const findOther = (access: Access) => access.entry(access.directory(3, "c"), "c");
  const [three, four] = [start(setup, findOther), start(setup, findOther)];
  await setup.next(look).fail(new FileError("EIO"));
  assert.ok(three.ended && !four.ended);
  await setup.next(look).answer({ entry });
  assert.deepEqual(four.value, entry);
});

test("a name that was changed here while it was asked for is newer than the answer", async () => {
  const setup = new LeaseSetup();
  const directory = setup.holdDirectory(3, "exclusive", 30);
  const running = start(setup, (access) => access.entry(access.directory(3, "a"), "a"));
  const made = { ...entry, inode: 99 };
  directory.names!.set("a", made);
  await setup.next(look).answer({ entry });
  assert.deepEqual(running.value, made);
});

test("an answer about names of a lease that has gone meanwhile says nothing", async () => {
  const setup = new LeaseSetup();
  const directory = setup.holdDirectory(3, "shared", 30);
  const running = start(setup, (access) => access.entry(access.directory(3, "a"), "a"));
  const asked = setup.next(look);
  await setup.recall(3, 30, "exclusive");
  await setup.next(give).answer();
  assert.equal(directory.mode, undefined);
  const again = setup.holdDirectory(3, "shared", 31);
  await asked.answer({ entry, child: leased(20, "shared", 200) });
  assert.ok(!again.names!.knows("a"));
  assert.equal(setup.leases.get(20)?.uses, 0, "the child's lease is good all the same");
  assert.ok(!running.ended);
  assert.equal(setup.next(look).body.held, 31);
});

test("a directory whose lease leaves is asked for only when that has gone", async () => {
  const setup = new LeaseSetup();
  const directory = setup.holdDirectory(3, "exclusive", 30);
  setup.leases.pin(directory);
  await setup.recall(3, 30, "exclusive");
  const running = start(setup, (access) => access.entry(access.directory(3, "a"), "a"));
  await settle();
  assert.equal(setup.asked.length, 0);
  setup.leases.done(directory);
  await settle();
  const [, asked] = setup.asked.splice(0);
  assert.equal(asked!.name, acquire);
  await asked!.answer(leased(3, "shared", 31, { record: recordOf(3, "directory") }));
  assert.equal(setup.asked[0]!.body.held, 31);
  await setup.next(look).answer({ entry });
  assert.deepEqual(running.value, entry);
});

test("names of a directory whose lease leaves, and that others use, are asked for under the next one", async () => {
  const setup = new LeaseSetup();
  const directory = setup.holdDirectory(3, "exclusive", 30);
  setup.leases.pin(directory);
  await setup.recall(3, 30, "exclusive");
  start(setup, (access) => access.entry(directory, "a"));
  await settle();
  assert.equal(setup.asked.length, 0);
  setup.leases.done(directory);
  await settle();
  assert.deepEqual(
    setup.asked.map((one) => one.name),
    [give, acquire],
  );
});

test("a directory's lease that was recalled before it came is good for who asked for the name", async () => {
  const setup = new LeaseSetup();
  const running = start(setup, (access) => access.entry(access.directory(3, "a"), "a"));
  await setup.recall(3, 30, "exclusive");
  await setup.next(look).answer({ parent: leased(3, "shared", 30, { record: recordOf(3, "directory") }), entry });
  assert.deepEqual(running.value, entry);
});

test("a pinned directory whose lease leaves is asked for its names all the same", async () => {
  const setup = new LeaseSetup();
  const running = start(setup, (access) => access.entry(access.node(3, "exclusive"), "a"));
  await settle();
  const asked = setup.next(acquire);
  await setup.recall(3, 30, "exclusive");
  await asked.answer(leased(3, "exclusive", 30, { record: recordOf(3, "directory") }));
  assert.equal(setup.leases.get(3)!.leaving, "entirely");
  await setup.next(look).answer({ entry });
  assert.deepEqual(running.value, entry);
  await settle();
  assert.equal(setup.next(give).body.leases[0].grant, 30);
});

test("quota is obtained with everything pinned that is, and kept until the attempt has been made", async () => {
  const setup = new LeaseSetup();
  let hasQuota = false;
  const running = start(setup, (access) => {
    const node = access.node(9, "exclusive");
    if (!hasQuota) throw new LackingQuota({ uid: 1, gid: 1, tree: 0 }, { bytes: 10, inodes: 0 });
    assert.equal(setup.quotasKept, 1);
    return node;
  });
  await settle();
  await setup.next(acquire).answer(leased(9, "exclusive", 90));
  assert.equal(setup.leases.get(9)!.uses, 1);
  assert.equal(setup.quotasAsked[0]!.lacking.amount.bytes, 10);
  hasQuota = true;
  setup.quotasAsked[0]!.done();
  await settle();
  assert.equal(running.value?.inode, 9);
  assert.equal(setup.leases.get(9)!.uses, 0);
  assert.equal(setup.quotasKept, 0);
});
