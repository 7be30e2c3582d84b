import { strict as assert } from "node:assert";
import { test } from "node:test";
import { ManualClock } from "./testing/manual-clock.ts";
import { TransactionClock } from "./transaction-clock.ts";

const hourNs = 3_600_000_000_000n;

test("a wall clock that is set back makes time slower until it has caught up: it neither falls nor stands", async () => {
  const clock = new ManualClock();
  const time = new TransactionClock(clock);
  const beganNs = time.nowNs();
  assert.equal(beganNs, clock.wallNs());
  clock.wallOffsetNs -= hourNs;
  assert.equal(time.nowNs(), beganNs);
  await clock.advance(1_000);
  assert.equal(time.nowNs(), beganNs + 500_000_000n);
  await clock.advance(2 * 3_600_000);
  assert.equal(time.nowNs(), clock.wallNs());
  clock.wallOffsetNs += hourNs;
  assert.equal(time.nowNs(), clock.wallNs());
  const laterNs = time.nowNs() + hourNs;
  time.mayNotFallBelow(laterNs);
  assert.equal(time.nowNs(), laterNs);
});
