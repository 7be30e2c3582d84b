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

test("an answer that took long is believed only if there was no quick one for a while", () => {
  let nowMs = 1_000;
  const clock = new LeaderClock({ nowMs: () => nowMs, wallNs: () => 0n, startTimer: () => ({ cancel: () => {} }) });
  const hears = (tookMs: number, leaderMs: number) => {
    nowMs += tookMs;
    clock.heard(nowMs - tookMs, BigInt(leaderMs * 1e6));
    return Number(clock.nowNs() / 1_000_000n) - nowMs;
  };
  assert.equal(hears(8_000, 100_000), 100_000 + 4_000 - nowMs, "the first one");
  assert.equal(hears(2, 200_000), 200_001 - nowMs);
  const offsetMs = 200_001 - nowMs;
  assert.equal(hears(8_000, 300_000), offsetMs, "a slow one");
  nowMs += 30_000;
  assert.equal(hears(1_000, 400_000), 400_500 - nowMs, "after a while");
});
