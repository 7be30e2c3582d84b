import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../platform/clock.ts";
import { Pace } from "./pace.ts";

/** Copies pieces one after the other; returns the bytes a second. */
function rateOf(isBusy: boolean): number {
  let nowMs = 1_000;
  const clock = { nowMs: () => nowMs } as Clock;
  const pace = new Pace(
    clock,
    () => 1_000_000,
    () => isBusy,
  );
  for (let piece = 0; piece < 100; piece++) nowMs += pace.waitMs(100_000);
  return 10_000_000 / ((nowMs - 1_000) / 1_000);
}

test("copying goes at its rate, and at a quarter of it while clients are at work", () => {
  assert.ok(Math.abs(rateOf(false) - 1_000_000) < 20_000, `${rateOf(false)}`);
  assert.ok(Math.abs(rateOf(true) - 250_000) < 5_000, `${rateOf(true)}`);
});

test("a rest is no reason to go faster for long", () => {
  let nowMs = 1_000;
  const pace = new Pace(
    { nowMs: () => nowMs } as Clock,
    () => 1_000_000,
    () => false,
  );
  pace.waitMs(100_000);
  nowMs += 60_000;
  assert.equal(pace.waitMs(100_000), 0);
  assert.equal(pace.waitMs(1), 50);
});
