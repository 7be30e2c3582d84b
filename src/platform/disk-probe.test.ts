import { strict as assert } from "node:assert";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { type DiskProbe, judgeDisk, probeDisk, shortProbe } from "./disk-probe.ts";

test("a disk is measured, and nothing is left on it", async (context) => {
  const directory = mkdtempSync(join(tmpdir(), "brine-probe-"));
  context.after(() => rmSync(directory, { recursive: true }));
  const probe = await probeDisk(directory, { ...shortProbe, atomicRounds: 20 });
  assert.deepEqual(readdirSync(directory), []);
  assert.ok(probe.syncMs.median > 0 && probe.syncMs.p99 >= probe.syncMs.median);
  const rates = [probe.sequentialWriteBytesPerSecond, probe.sequentialReadBytesPerSecond];
  for (const rate of [...rates, probe.randomReadsPerSecond, probe.randomWritesPerSecond]) assert.ok(rate > 0);
  assert.ok(probe.atomicWriteBytes! >= 0);
  await assert.rejects(probeDisk(join(directory, "missing"), shortProbe), { code: "ENOENT" });
});

test("what makes a disk unfit, and what is only worth knowing", () => {
  const good: DiskProbe = {
    fileSystem: "xfs",
    device: { rotational: false, cache: "none" },
    syncMs: { median: 0.1, p99: 2 },
    sequentialWriteBytesPerSecond: 1e9,
    sequentialReadBytesPerSecond: 1e9,
    randomWritesPerSecond: 1e5,
    randomReadsPerSecond: 1e5,
    direct: true,
    punch: "givesBack",
    atomicWriteBytes: 4096,
  };
  assert.deepEqual(judgeDisk(good), { fit: true, remarks: [] });
  for (const [change, fit, remark] of [
    [{ fileSystem: "tmpfs" }, false, /is memory/],
    [{ syncMs: { median: 30, p99: 2_000 } }, false, /more than a second/],
    [{ syncMs: { median: 30, p99: 50 } }, true, /syncs are slow/],
    [{ device: { rotational: true, cache: "none" } }, true, /syncs don't reach it/],
    [{ device: { rotational: false, cache: "volatile" } }, true, /volatile cache/],
    [{ punch: "unsupported" }, true, /no space back/],
    [{ direct: false }, true, /O_DIRECT/],
  ] as const) {
    const verdict = judgeDisk({ ...good, ...change });
    assert.equal(verdict.fit, fit);
    assert.ok(verdict.remarks.some((one) => remark.test(one)));
  }
});
