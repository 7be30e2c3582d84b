import assert from "node:assert/strict";
import { test } from "node:test";
import { EarlyRecalls } from "./early-recalls.ts";

function make() {
  const timers: (() => void)[] = [];
  const startTimer = (_delayMs: number, callback: () => void) => {
    timers.push(callback);
    return { cancel() {} };
  };
  const lost: string[] = [];
  const clock = { nowMs: () => 0, wallNs: () => 0n, startTimer };
  const recalls = new EarlyRecalls(clock, (inode, grant) => void lost.push(`${inode} ${grant}`));
  return { recalls, lost, turn: () => timers.splice(0).forEach((callback) => void callback()) };
}

test("a recall waits for the answer that grants the lease; one of another lease is forgotten", () => {
  const { recalls } = make();
  recalls.add(9, 5, "shared");
  assert.equal(recalls.take(9, 5), "shared");
  assert.equal(recalls.take(9, 5), undefined);
  recalls.add(9, 6, "exclusive");
  assert.equal(recalls.take(9, 7), undefined);
  assert.equal(recalls.take(9, 6), undefined);
});

test("at the second time the lease is lost, a turn later", () => {
  const { recalls, lost, turn } = make();
  recalls.add(9, 5, "shared");
  recalls.add(9, 6, "shared");
  turn();
  assert.deepEqual(lost, []);
  recalls.add(9, 6, "exclusive");
  assert.deepEqual(lost, []);
  turn();
  assert.deepEqual(lost, ["9 6"]);
});

test("the memory is bounded", () => {
  const { recalls } = make();
  for (let inode = 0; inode < 5_000; inode++) recalls.add(inode, 1, "shared");
  assert.equal(recalls.take(0, 1), undefined);
  assert.equal(recalls.take(4_999, 1), "shared");
});
