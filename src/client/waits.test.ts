import { strict as assert } from "node:assert";
import { test } from "node:test";
import { BrineError } from "../errors/brine-error.ts";
import { FileError } from "../errors/file-error.ts";
import { realLogger } from "../platform/real-logger.ts";
import { ManualClock } from "../wire/testing/memory-network.ts";
import { type Operation, Waits } from "./waits.ts";

function make(softTimeoutMs?: number) {
  const lines: string[] = [];
  const clock = new ManualClock();
  const waits = new Waits(
    clock,
    realLogger("debug", (line) => lines.push(line)),
    softTimeoutMs,
  );
  return { lines, clock, waits };
}

const settle = () => new Promise((resolve) => setImmediate(resolve));

test("a long wait is reported once, with what it waits for, and goes on", async () => {
  const { lines, clock, waits } = make();
  const gate = Promise.withResolvers<number>();
  const running = waits.run("write", 7, undefined, (operation) => {
    operation.waitsFor = "store 2 at 127.0.0.1:1";
    return gate.promise;
  });
  for (let second = 0; second < 30; second++) await clock.advance(1000);
  assert.equal(lines.filter((line) => line.includes("operation waits")).length, 1);
  assert.match(lines[0]!, /warn .*operation=write inode=7 waitsFor="store 2 at 127.0.0.1:1" sinceMs=10000/);
  assert.deepEqual(waits.list(), [
    { operation: "write", inode: 7, waitsFor: "store 2 at 127.0.0.1:1", sinceMs: 30_000 },
  ]);
  gate.resolve(5);
  assert.equal(await running, 5);
  assert.match(lines.at(-1)!, /info .*operation goes on/);
  assert.deepEqual(waits.list(), []);
  assert.equal(await waits.idle(0), true);
});

test("who waits for data that can't go to the stores is told why", async () => {
  const { waits } = make();
  waits.lackOfCopies = () => "volume home wants 2 in-sync copies, group 3 has 1: store 2 at b:1 is away or behind";
  const gate = Promise.withResolvers<void>();
  const waitFor = (name: string, waitsFor: string) =>
    waits.run(name, 7, undefined, (operation) => {
      operation.waitsFor = waitsFor;
      return gate.promise;
    });
  const running = [
    waitFor("fsync", "the leader, to commit earlier changes"),
    waitFor("read", "lease (shared) on inode 7"),
  ];
  const [fsync, read] = waits.list();
  assert.match(fsync!.waitsFor, /^the leader, to commit earlier changes; volume home wants 2 in-sync copies/);
  assert.equal(read!.waitsFor, "lease (shared) on inode 7");
  gate.resolve();
  await Promise.all(running);
});

test("who waits for a leader that doesn't answer is told which, and for how long it has been silent", async () => {
  const { lines, clock, waits } = make();
  waits.silentLeader = () => "the leader at 10.0.0.1:7411 has not answered for 9.8 s";
  const gate = Promise.withResolvers<void>();
  const waitFor = (name: string, waitsFor: string) =>
    waits.run(name, 7, undefined, (operation) => {
      operation.waitsFor = waitsFor;
      return gate.promise;
    });
  const running = [waitFor("read", "lease (shared) on inode 7"), waitFor("write", "store 2 at 10.0.0.2:7411")];
  assert.deepEqual(
    waits.list().map(({ waitsFor }) => waitsFor),
    ["lease (shared) on inode 7; the leader at 10.0.0.1:7411 has not answered for 9.8 s", "store 2 at 10.0.0.2:7411"],
  );
  for (let second = 0; second < 12; second++) await clock.advance(1000);
  assert.match(lines[0]!, /operation=read .*the leader at 10.0.0.1:7411 has not answered/);
  gate.resolve();
  await Promise.all(running);
});

test("a soft wait ends with EIO, an aborted one with EINTR; the body is told, and counted until it ends", async () => {
  const { clock, waits } = make(2000);
  const gate = Promise.withResolvers<void>();
  let seen: Operation | undefined;
  const body = async (operation: Operation) => {
    seen = operation;
    await gate.promise;
    operation.check();
  };
  const soft = waits.run("read", 1, undefined, body);
  const failed = assert.rejects(soft, { code: "EIO" });
  for (let step = 0; step < 6; step++) await clock.advance(500);
  await failed;
  assert.equal(seen?.cancelled, true);
  const abort = new AbortController();
  const aborted = waits.run("read", 1, abort.signal, body);
  abort.abort();
  await assert.rejects(aborted, { code: "EINTR" });
  let idle = false;
  const waiting = waits.idle(1e6).then((done) => {
    idle = done;
  });
  await settle();
  assert.equal(idle, false);
  gate.resolve();
  await waiting;
  assert.equal(idle, true);
});

test("errors become errnos; what is none is a defect and passes through", async () => {
  const { waits, lines } = make();
  const fail = (error: unknown) => waits.run("x", 1, undefined, () => Promise.reject(error));
  await assert.rejects(fail(new FileError("ENOENT")), { code: "ENOENT" });
  await assert.rejects(fail(new BrineError("noSpace", "full")), { code: "ENOSPC" });
  await assert.rejects(fail(new BrineError("superseded", "block 3")), { code: "EIO" });
  assert.match(lines.at(-1)!, /operation failed .*code=superseded reason="block 3"/);
  await assert.rejects(fail(new TypeError("a defect")), TypeError);
});
