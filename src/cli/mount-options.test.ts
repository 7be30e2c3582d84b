/** What `-o` takes, and what it says about what it doesn't. */
import { strict as assert } from "node:assert";
import { test } from "node:test";
import { dirtyOperationsLimit, writeBackLimits } from "../client/write-back-limits.ts";
import type { BrineError } from "../errors/brine-error.ts";
import { leaseBounds } from "../metadata/lease-limits.ts";
import { mountOptionsHelp, parseMountOptions, splitMountOptions } from "./mount-options.ts";

function refusal(option: string): string {
  try {
    parseMountOptions([option]);
  } catch (error) {
    return `${(error as BrineError).message}: ${(error as BrineError).advice}`;
  }
  return "";
}

test("without options a mount has the defaults", () => {
  assert.deepEqual(parseMountOptions([]), {
    readOnly: false,
    keepNames: true,
    kernelFlags: [],
    limits: writeBackLimits,
    accessTimes: "relative",
    allowOther: false,
  });
});

test("sizes, times and counts are read with their units, and only what is named is changed", () => {
  const { limits, softTimeoutMs, readOnly } = parseMountOptions(
    splitMountOptions("dirty-bytes=256M,dirty-age=500ms,soft=2m", ["ro", "dirty-operations=1000", "cache-bytes=1GiB"]),
  );
  assert.deepEqual(limits, {
    dirtyBytesMax: 256 * 1024 * 1024,
    dirtyOperationsMax: 1_000,
    dirtyAgeMs: 500,
    cacheBytesMax: 1024 ** 3,
  });
  assert.equal(softTimeoutMs, 120_000);
  assert.equal(readOnly, true);
  assert.equal(parseMountOptions(["soft=30"]).softTimeoutMs, 30_000);
  assert.equal(parseMountOptions(["cache-bytes=0"]).limits.cacheBytesMax, 0);
});

test("what /etc/fstab has for mount(8) is left aside; what is the kernel's goes to it", () => {
  const options = splitMountOptions("defaults,_netdev,nofail,x-systemd.automount,nosuid,nodev", []);
  assert.deepEqual(parseMountOptions(options).kernelFlags, ["nosuid", "nodev"]);
  assert.deepEqual(parseMountOptions(["noatime"]), {
    ...parseMountOptions([]),
    accessTimes: "none",
    kernelFlags: ["noatime"],
  });
  assert.match(refusal("sync"), /"sync" is not known/);
});

test("what is wrong is refused with what is allowed", () => {
  assert.match(refusal("dirty-bytes=1M"), /can't be "1M": allowed is 4M to 64G, for example dirty-bytes=128M/);
  assert.match(refusal("dirty-bytes=many"), /can't be "many"/);
  assert.match(refusal("dirty-bytes"), /can't be ""/);
  assert.match(refusal("dirty-bytes=-4M"), /can't be "-4M"/);
  assert.match(refusal("dirty-age=200"), /allowed is 10ms to 60s/);
  assert.match(refusal("dirty-operations=1.5"), /allowed is 256 to 262144/);
  assert.match(refusal("soft=0"), /allowed is 1s to 86400s/);
  assert.match(refusal("ro=1"), /has no value: write "ro"/);
  assert.match(refusal("as-kernel=5.4"), /allowed is 6.1/);
  assert.match(refusal("dirty"), /is not known: known are ro, rw, soft, dirty-bytes,/);
});

test("the help shows each option with its default", () => {
  for (const shown of [
    "dirty-bytes=128M",
    "dirty-operations=8192",
    "dirty-age=200ms",
    "cache-bytes=128M",
    "soft=30s",
  ]) {
    assert.ok(mountOptionsHelp().includes(`  ${shown} `), shown);
  }
});

test("no mount may have more changes under way than the leader's bound of leases counts on", () => {
  assert.ok(dirtyOperationsLimit <= leaseBounds.keptMax);
});
