/** Data of groups that have fewer members in sync than their volume wants. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { ContentHarness, pattern } from "./testing/content-harness.ts";

async function start() {
  const harness = await ContentHarness.start({ cacheBytesMax: 0, random: () => 1 });
  await harness.tellInSyncMin(2);
  return harness;
}

/** Long enough for news to be asked for. */
async function pause(harness: ContentHarness): Promise<void> {
  for (let round = 0; round < 50; round++) await harness.platform.clock.advance(50);
}

test("with fewer in sync than wanted data waits, by name, and reads go on; with the member back it goes out", async () => {
  const harness = await start();
  const old = harness.file();
  await harness.write(old, 0, pattern(50_000, 1));
  await harness.until(harness.journal.committed(1));
  harness.changeMember(2, "behind");
  const file = harness.file();
  await harness.write(file, 0, pattern(50_000, 2));
  let committed = false;
  const synced = harness.journal.committed(2).then(() => {
    committed = true;
  });
  await pause(harness);
  assert.equal(committed, false, "neither the data nor what shows it");
  const lack = /^volume home wants 2 in-sync copies, group \d has 1: store 2 at s:2 is away or behind$/;
  assert.match(harness.contents.lackOfCopies!, lack);
  assert.match(harness.contents.waits()[0]!.waitsFor, lack);
  assert.ok((await harness.until(harness.read(old, 0, 50_000))).equals(pattern(50_000, 1)));
  harness.changeMember(2, "catchingUp");
  await pause(harness);
  assert.equal(committed, false, "one that catches up is not in sync");
  harness.changeMember(2, "inSync");
  harness.contents.learnGroups(harness.views());
  await harness.until(synced);
  assert.equal(harness.contents.lackOfCopies, undefined);
  for (const store of harness.stores) assert.ok(harness.stored(store, file.inode).equals(pattern(50_000, 2)));
  await harness.stop();
});

test("a member that fails in the midst of a write: what one has is not done until another has it, too", async () => {
  const harness = await start();
  const file = harness.file();
  harness.stores[1]!.before = () => {
    harness.stores[1]!.before = () => {};
    harness.changeMember(2, "behind");
  };
  await harness.write(file, 0, pattern(50_000, 1));
  const synced = harness.journal.committed(1);
  await pause(harness);
  assert.equal(harness.journal.committedPosition, 0);
  harness.changeMember(2, "inSync");
  await harness.until(synced);
  for (const store of harness.stores) assert.ok(harness.stored(store, file.inode).equals(pattern(50_000, 1)));
  await harness.stop();
});

test("a minimum that is raised holds for what is under way; lowered, it lets go at once", async () => {
  const harness = await start();
  await harness.tellInSyncMin(1);
  harness.changeMember(2, "behind");
  const file = harness.file();
  harness.stores[0]!.before = () => {
    harness.stores[0]!.before = () => {};
    void harness.tellInSyncMin(2);
  };
  await harness.write(file, 0, pattern(50_000, 1));
  const synced = harness.journal.committed(1);
  await pause(harness);
  assert.equal(harness.journal.committedPosition, 0, "the one member in sync has acknowledged it");
  await harness.tellInSyncMin(1);
  await harness.until(synced);
  await harness.stop();
});

test("writes that have no grant of space, truncates and punches wait as well", async () => {
  const harness = await start();
  harness.grantable = 0;
  const [through, cut, punched] = [harness.file(), harness.file(), harness.file()];
  for (const file of [through, cut, punched]) await harness.until(harness.write(file, 0, pattern(50_000, 1)));
  harness.changeMember(2, "behind");
  let done = 0;
  const changes = [
    harness.write(through, 10_000, pattern(20_000, 2)),
    harness.setSize(cut, 5_000),
    harness.zero(punched, { from: 5_000, to: 15_000 }),
  ].map((change) => change.then(() => done++));
  await pause(harness);
  assert.equal(done, 0);
  harness.changeMember(2, "inSync");
  await harness.until(Promise.all(changes));
  await harness.stop();
});

test("the end of the session ends the wait", async () => {
  const harness = await start();
  harness.grantable = 0;
  harness.changeMember(2, "behind");
  const writing = harness.write(harness.file(), 0, pattern(50_000, 1));
  const outcome = assert.rejects(writing, /the session has ended/);
  await pause(harness);
  harness.session.ended = true;
  await harness.stop();
  await harness.until(outcome);
});
