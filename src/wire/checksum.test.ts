/** CRC32C against the published values and the native code; block checksums against their definition. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32c as nativeCrc32c } from "@node-rs/crc32";
import fc from "fast-check";
import { shiftBy } from "../codec/crc32c-shift.ts";
import { blockChecksum, blockChecksums, dataChecksum, verifyBlocks } from "./checksum.ts";
import { crc32c } from "./crc32c.ts";

test("CRC32C has the values of RFC 3720, appendix B.4", () => {
  assert.equal(crc32c(Buffer.from("123456789")), 0xe3069283);
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
});

test("CRC32C of parts is that of the native code over the whole", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(400), fc.nat(400), (bytes, one, other) => {
      const from = Math.min(one, other, bytes.length);
      const to = Math.min(Math.max(one, other), bytes.length);
      assert.equal(crc32c(bytes, from, to), nativeCrc32c(bytes.subarray(from, to)));
      assert.equal(crc32c(bytes, from, bytes.length, crc32c(bytes, 0, from)), nativeCrc32c(bytes));
    }),
  );
});

const version = { grant: 2 ** 40 + 5, sequence: 77 };
const data = Buffer.alloc(4 * 4096);
for (let index = 0; index < data.length; index++) data[index] = (index * 31 + (index >> 8)) & 0xff;

test("a block's checksum covers data, chunk, index and version", () => {
  const block = data.subarray(0, 4096);
  const identity = Buffer.alloc(32);
  identity.writeBigUInt64LE(2n ** 45n + 9n, 0);
  identity.writeBigUInt64LE(513n, 8);
  identity.writeBigUInt64LE(BigInt(version.grant), 16);
  identity.writeBigUInt64LE(BigInt(version.sequence), 24);
  const expected = nativeCrc32c(Buffer.concat([block, identity]));
  assert.equal(blockChecksum(block, 2 ** 45 + 9, 513, version), expected);
  const others = [
    blockChecksum(data.subarray(4096, 8192), 2 ** 45 + 9, 513, version),
    blockChecksum(block, 9, 513, version),
    blockChecksum(block, 2 ** 45 + 9, 512, version),
    blockChecksum(block, 2 ** 45 + 9, 513, { ...version, grant: 5 }),
    blockChecksum(block, 2 ** 45 + 9, 513, { ...version, sequence: 78 }),
  ];
  assert.ok(!others.includes(expected));
});

test("several blocks at once, made and verified", () => {
  const checksums = blockChecksums(data, 12, 1020, version);
  assert.deepEqual(
    checksums,
    [0, 1, 2, 3].map((at) => blockChecksum(data.subarray(at * 4096, (at + 1) * 4096), 12, 1020 + at, version)),
  );
  assert.equal(verifyBlocks(data, 12, 1020, version, checksums), -1);
  const damaged = Buffer.from(data);
  damaged[2 * 4096 + 17]! ^= 4;
  assert.equal(verifyBlocks(damaged, 12, 1020, version, checksums), 2);
  assert.equal(verifyBlocks(data, 12, 1019, version, checksums), 0);
  assert.throws(() => blockChecksums(data.subarray(1), 12, 0, version), RangeError);
  assert.throws(() => verifyBlocks(data, 12, 0, version, checksums.slice(1)), RangeError);
  assert.throws(() => blockChecksum(data, 12, 0, version), RangeError);
});

test("the checksum of joined bytes follows from those of the parts, and a part can be taken away again", () => {
  const bytes = fc.uint8Array({ maxLength: 300 });
  fc.assert(
    fc.property(bytes, bytes, (first, second) => {
      const shifted = shiftBy(second.length)(crc32c(first));
      assert.equal((shifted ^ crc32c(second)) >>> 0, crc32c(Buffer.concat([first, second])));
      assert.equal(shiftBy(-second.length)(shifted), crc32c(first));
    }),
    { numRuns: 30 },
  );
});

test("the checksum of data follows from those of its blocks", () => {
  for (let blocks = 0; blocks <= 4; blocks++) {
    const part = data.subarray(0, blocks * 4096);
    const checksums = blockChecksums(part, 2 ** 45 + 3, 1000, version);
    assert.equal(dataChecksum(2 ** 45 + 3, 1000, version, checksums), crc32c(part));
  }
});
