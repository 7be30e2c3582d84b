import { strict as assert } from "node:assert";
import { test } from "node:test";
import { LeaderClock } from "./leader-clock.ts";

test("the leader's time goes on whatever becomes of the own wall clock", () => {
  let [nowMs, wallNs] = [1_000, 50_000_000_000n];
  const clock = new LeaderClock({ nowMs: () => nowMs, wallNs: () => wallNs, startTimer: () => ({ cancel: () => {} }) });
  assert.equal(clock.nowNs(), wallNs);
  nowMs += 10;
  clock.heard(1_000, 7_000_000_000n);
  assert.equal(clock.nowNs(), 7_005_000_000n);
  for (const jumpNs of [18_000_000_000_000n, -36_000_000_000_000n]) {
    wallNs += jumpNs;
    nowMs += 1;
    assert.ok(clock.nowNs() > 7_005_000_000n && clock.nowNs() < 7_008_000_000n, `${clock.nowNs()}`);
  }
});
