/** Where the time of operations goes. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { FileError } from "../errors/file-error.ts";
import { RequestMetrics } from "../wire/request-metrics.ts";
import { type ManualClock, testPlatform } from "../wire/testing/memory-network.ts";
import { kindOfWait, OperationMeter } from "./operation-meter.ts";
import { type Operation, Waits } from "./waits.ts";

function make() {
  const platform = testPlatform();
  const clock = platform.clock as ManualClock;
  const waits = new Waits(clock, platform.logger, undefined, new OperationMeter(platform));
  const requests = RequestMetrics.of(platform.metrics);
  const remote = { address: "a:1", peerId: "s", role: "server", description: "" };
  const answered = (method: string, roundTripMs: number, workMs: number, diskMs: number) =>
    requests.outgoing(method, remote).answered({ roundTripMs, workMs, diskMs });
  /** Milliseconds by part. */
  const spent = (operation: string) => {
    const found = platform.metrics
      .series()
      .filter(({ name, labels }) => name === "brine_operation_part_seconds" && labels.operation === operation);
    return Object.fromEntries(found.map(({ labels, value }) => [labels.part, Math.round(value * 1e6) / 1000]));
  };
  return { platform, clock, waits, answered, spent };
}

test("what operations say tells the kind of wait", () => {
  const kinds = [
    ["start", "client"],
    ["writes to the same bytes", "client"],
    ["lease (shared) on inode 5", "lease"],
    ["leader.acquireLeases", "lease"],
    ["advisory lock, held by host pid 3", "lease"],
    ["leader.lookup", "leader"],
    ["leader, for new ids", "leader"],
    ["connection to a:1", "leader"],
    ["the leader, to commit earlier changes", "commit"],
    ["the leader, to grant space", "leader"],
    ["earlier changes to be committed", "commit"],
    ["store 2 at a:1", "store"],
    ["stores of group 4", "store"],
  ];
  for (const [text, kind] of kinds) assert.equal(kindOfWait(text!), kind, text);
});

test("a wait for the leader is split as its requests were; the rest is the client's", async () => {
  const { clock, waits, answered, spent } = make();
  await waits.run("lookup", 1, undefined, async (operation) => {
    await clock.advance(5);
    operation.waitsFor = "leader.lookup";
    answered("leader.lookup", 10, 8, 6);
    await clock.advance(20);
    operation.waitsFor = "start";
    await clock.advance(5);
  });
  assert.deepEqual(spent("lookup"), { network: 4, leader: 4, ledger: 12, client: 10 });
});

test("a commit is data to the stores and a transaction to the leader", async () => {
  const { clock, waits, answered, spent } = make();
  await waits.run("sync", 1, undefined, async (operation) => {
    answered("store.write", 100, 100, 0); // before: doesn't count
    operation.waitsFor = "earlier changes to be committed";
    answered("store.write", 6, 5, 0);
    answered("leader.transact", 4, 4, 3);
    answered("leader.acquireLease", 1000, 1000, 0); // another's wait for a lease
    await clock.advance(20);
  });
  assert.deepEqual(spent("sync"), { network: 2, leader: 2, ledger: 6, store: 10, client: 0 });
});

test("waits for leases are those; what no request explains is whose the wait was", async () => {
  const { clock, waits, spent } = make();
  await waits.run("write", 1, undefined, async (operation) => {
    operation.waitsFor = "lease (exclusive) on inode 1";
    await clock.advance(7);
    operation.waitsFor = "store 2 at a:1";
    await clock.advance(3);
    operation.waitsFor = "connection to a:1";
    await clock.advance(2);
  });
  assert.deepEqual(spent("write"), { lease: 7, store: 3, leader: 2, client: 0 });
});

test("failures are counted, and have a latency like the others", async () => {
  const { platform, clock, waits } = make();
  const failing = async (_: Operation) => {
    await clock.advance(3);
    throw new FileError("EIO");
  };
  await assert.rejects(waits.run("read", 1, undefined, failing));
  const all = platform.metrics.series().filter(({ labels }) => labels.operation === "read");
  assert.equal(all.find(({ name }) => name === "brine_operation_failures_total")!.value, 1);
  assert.equal(all.find(({ name }) => name === "brine_operation_seconds")!.value, 0.003);
});
