/** Clock, random numbers and log lines of the real platform. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { sleep } from "./clock.ts";
import { randomId } from "./random.ts";
import { realClock } from "./real-clock.ts";
import { formatLine, realLogger } from "./real-logger.ts";
import { realRandom } from "./real-random.ts";

test("time goes on, and timers never fire early", async () => {
  let before = realClock.nowMs();
  for (let n = 0; n < 10_000; n++) {
    const now = realClock.nowMs();
    assert.ok(now >= before);
    before = now;
  }
  await Promise.all(
    [0, 0.4, 1, 1.5, 3.9, 20].map(async (delayMs) => {
      const start = realClock.nowMs();
      await sleep(realClock, delayMs);
      assert.ok(realClock.nowMs() - start >= delayMs, `${delayMs} ms`);
    }),
  );
  assert.ok(realClock.wallNs() > 1_700_000_000n * 1_000_000_000n);
});

test("timers can be cancelled, and a very long one doesn't fire at once", async () => {
  const fired: string[] = [];
  const cancelled = realClock.startTimer(1, () => fired.push("cancelled"));
  const atOnce = realClock.startTimer(0, () => fired.push("cancelled at once"));
  const long = realClock.startTimer(2 ** 40, () => fired.push("long"));
  cancelled.cancel();
  cancelled.cancel();
  atOnce.cancel();
  await sleep(realClock, 10);
  long.cancel();
  assert.deepEqual(fired, []);
  assert.throws(() => realClock.startTimer(-1, () => {}), RangeError);
  assert.throws(() => realClock.startTimer(Number.NaN, () => {}), RangeError);
});

test("random bytes and numbers", () => {
  assert.match(randomId(realRandom), /^[0-9a-f]{32}$/);
  assert.equal(new Set(Array.from({ length: 1000 }, () => randomId(realRandom))).size, 1000);
  for (const length of [0, 1, 1024, 5000]) assert.equal(realRandom.bytes(length).byteLength, length);
  const seen = new Set(Array.from({ length: 1000 }, () => realRandom.below(6)));
  assert.deepEqual([...seen].sort(), [0, 1, 2, 3, 4, 5]);
  assert.ok(realRandom.below(0x1_0000_0000) < 0x1_0000_0000);
  assert.throws(() => realRandom.below(0), RangeError);
});

test("one line an event, whatever the values are", () => {
  const fields = { group: 3, ok: true, gone: undefined, path: "/a/b", reason: "no route", empty: "", quote: 'a"b' };
  assert.equal(
    formatLine("2026-05-01T10:00:00.000Z", "warn", "store: member removed", fields),
    '2026-05-01T10:00:00.000Z warn  store: member removed group=3 ok=true path=/a/b reason="no route" empty="" quote="a\\"b"',
  );
  const nasty = formatLine("T", "error", "two\nlines", { a: "x\ny", b: "\u001b[2J", c: "\u2028", d: "k=v", e: "ä" });
  assert.equal(nasty, 'T error two\\u000alines a="x\\ny" b="\\u001b[2J" c="\\u2028" d="k=v" e=ä');
});

test("levels below the wanted one are left out, parts are named", () => {
  const lines: string[] = [];
  const logger = realLogger("warn", (line) => lines.push(line)).for("leader");
  logger.debug("a");
  logger.info("b");
  logger.warn("c", { n: 1 });
  logger.error("d");
  assert.equal(lines.length, 2);
  assert.match(lines[0]!, /^\d{4}-\d\d-\d\dT[\d:.]+Z warn {2}leader: c n=1$/);
});
