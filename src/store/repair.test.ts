/** Bad blocks are replaced by good copies of others: of what is copied from a bad source, too. */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { realPlatform } from "../platform/real.ts";
import { catchUp, reportBad } from "../wire/catalogue/store.ts";
import type { StoredExtent } from "./extents.ts";
import { LateMembers } from "./late-members.ts";
import { Repair } from "./repair.ts";
import type { Store } from "./store.ts";
import { blocksOf } from "./testing/blocks.ts";
import {
  readFrom,
  spoil,
  TestCluster,
  type TestStore,
  testGroup,
  timeoutMs,
  until,
  writeTo,
} from "./testing/cluster.ts";

const chunk = testGroup * 2 ** 40 + 5;

/** Three stores; the first two have blocks 0 and 1 of the chunk, and are in sync. */
async function threeStores(context: TestContext, third: "inSync" | "catchingUp") {
  const cluster = new TestCluster();
  context.after(() => cluster.stop());
  const leader = await cluster.startLeader();
  const stores: TestStore[] = [];
  for (const number of [1, 2, 3]) stores.push(await cluster.startStore(number, [leader]));
  await cluster.registeredAll();
  await cluster.setViews(1, { 1: "inSync", 2: "inSync", 3: third });
  for (const store of third === "inSync" ? stores : stores.slice(0, 2)) {
    await writeTo(store, { generation: 1, chunk }, 0, blocksOf(4, 0, 2), { grant: 1, sequence: 1 });
  }
  return { cluster, stores: stores as [TestStore, TestStore, TestStore] };
}

/** The segment ends where a block that is full of this byte began: as a sector that can't be read. */
function endBefore(disk: TestStore["disk"], fill: number): void {
  for (const [path, file] of disk.files) {
    const page = [...file.pages].find(([, bytes]) => bytes[0] === fill && bytes[4095] === fill);
    if (path.endsWith(".segment") && page !== undefined) file.size = page[0] * 4096;
  }
}

test("a block that is bad on two of three members is repaired on both", async (context) => {
  const { stores } = await threeStores(context, "inSync");
  const [first, second] = stores;
  for (const store of [first, second]) spoil(store, 5);
  const body = { session: 1, group: testGroup, generation: 1, chunk, firstBlock: 0, blockCount: 2 };
  await first.client.request(reportBad, body, { timeoutMs });
  for (const store of [first, second]) {
    await until("repaired", () => store.lines.some((line) => line.includes("bad blocks repaired")));
    assert.deepEqual(await readFrom(store, { generation: 1, chunk }, 2), [4, 5]);
  }
});

test("a bad block is repaired on a store that is full", async (context) => {
  const { stores } = await threeStores(context, "inSync");
  const [first] = stores;
  const mebibyte = 1024 * 1024;
  first.disk.totalBytes = first.disk.usedBytes() + 8 * mebibyte;
  const target = { generation: 1, chunk };
  let sequence = 0;
  const isRefused = () =>
    writeTo(first, target, 8, blocksOf(9, 0, 1), { grant: 2, sequence: ++sequence }).then(
      () => false,
      (error) => hasCode(error, "noSpace"),
    );
  // Room is asked for once a second.
  for (const deadlineMs = performance.now() + timeoutMs; !(await isRefused()); ) {
    assert.ok(performance.now() < deadlineMs, "the store does not become full");
    await sleep(100);
  }
  spoil(first, 5);
  const body = { session: 1, group: testGroup, ...target, firstBlock: 0, blockCount: 2 };
  await first.client.request(reportBad, body, { timeoutMs });
  await until("repaired", () => first.lines.some((line) => line.includes("bad blocks repaired")));
  assert.deepEqual(await readFrom(first, target, 2), [4, 5]);
  assert.ok(await isRefused());
});

test("what is bad at the source of a catch-up is taken from another member before the copy counts", async (context) => {
  const { cluster, stores } = await threeStores(context, "catchingUp");
  const [first, , third] = stores;
  spoil(first, 5);
  await third.leader.request(catchUp, { group: testGroup, generation: 1, source: first.address }, { timeoutMs });
  await until("caught up", () => cluster.caughtUp.length > 0);
  await cluster.setViews(2, { 1: "inSync", 3: "inSync" });
  assert.deepEqual(await readFrom(third, { generation: 2, chunk }, 2), [4, 5]);
});

test("what is bad everywhere keeps no member from catching up", async (context) => {
  const { cluster, stores } = await threeStores(context, "catchingUp");
  const [first, second, third] = stores;
  for (const store of [first, second]) spoil(store, 5);
  await third.leader.request(catchUp, { group: testGroup, generation: 1, source: first.address }, { timeoutMs });
  await until("caught up", () => cluster.caughtUp.length > 0);
  await cluster.setViews(2, { 1: "inSync", 3: "inSync" });
  await assert.rejects(readFrom(third, { generation: 2, chunk }, 2), /block 1 has a wrong checksum/);
});

test("what no disk can read keeps no member from catching up, and is not made up", async (context) => {
  const { cluster, stores } = await threeStores(context, "catchingUp");
  const [first, second, third] = stores;
  for (const { disk } of [first, second]) endBefore(disk, 5);
  await third.leader.request(catchUp, { group: testGroup, generation: 1, source: first.address }, { timeoutMs });
  await until("caught up", () => cluster.caughtUp.length > 0);
  await cluster.setViews(2, { 1: "inSync", 3: "inSync" });
  assert.deepEqual(await readFrom(third, { generation: 2, chunk }, 1), [4]);
  await assert.rejects(readFrom(third, { generation: 2, chunk }, 2), /block 1 has a wrong checksum/);
});

test("a member that did not answer in time is asked last", async () => {
  let now = 0;
  const asked: string[] = [];
  const members = [1, 2, 3, 4].map((store) => ({ store, state: "inSync" as const, address: `store${store}:7000` }));
  const repair = new Repair({
    store: { groups: new Map([[testGroup, { group: testGroup, generation: 1, members }]]) } as unknown as Store,
    logger: realPlatform({ logTo: () => {} }).logger,
    storeNumber: () => 1,
    lateMembers: new LateMembers({ nowMs: () => now }),
    async connect(address) {
      asked.push(address);
      if (address === "store2:7000") now += 2_000;
      throw new BrineError("unreachable", "nobody is there");
    },
  });
  const bad = [{}] as StoredExtent[];
  for (let block = 0; block < 2; block++) {
    assert.equal(await repair.repair({ session: 0, group: testGroup, generation: 1, chunk }, bad), 0);
  }
  assert.deepEqual(
    asked,
    [2, 3, 4, 3, 4, 2].map((store) => `store${store}:7000`),
  );
});
