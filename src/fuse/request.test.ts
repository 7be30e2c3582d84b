/** Requests as Linux 6.18 sent them, byte by byte, and replies as linux/fuse.h lays them out. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Attributes } from "../client/file-system.ts";
import { FileError } from "../errors/file-error.ts";
import { putAttributes, putEntry, putStatx, sectorsOf, typeOfMode } from "./layout.ts";
import { attr, entryOut, setAttributesIn, statxOut } from "./protocol.ts";
import { MalformedRequest, Request } from "./request.ts";
import { attributeChange } from "./requests/attributes.ts";
import { ScratchBuffers } from "./scratch-buffers.ts";

/** A message recorded from the kernel: header with unique 20, node 101, uid and gid 0, task 9541; then the arguments. */
function recorded(opcode: string, hexArguments: string): Request {
  const body = Buffer.from(hexArguments, "hex");
  const head = `${opcode}00000014000000000000006500000000000000000000000000000045250000000000 00`.replace(" ", "");
  const header = Buffer.concat([Buffer.alloc(4), Buffer.from(head, "hex")]);
  const message = Buffer.concat([header, body]);
  message.writeUInt32LE(message.length, 0);
  return new Request(message);
}

test("a header", () => {
  const request = recorded("04", "");
  assert.deepEqual(
    [request.opcode, request.key, request.node, request.uid, request.gid, request.task],
    [4, 20, 101, 0, 0, 9541],
  );
});

test("a message with a wrong length is refused", () => {
  const whole = Buffer.from(recorded("03", "00000000000000000000000000000000").message);
  assert.throws(() => new Request(whole.subarray(0, 39)), MalformedRequest);
  assert.throws(() => new Request(whole.subarray(0, 50)), MalformedRequest);
  assert.throws(() => recorded("03", "00").expect(8), MalformedRequest);
});

test("a node id above 2^53 is none", () => {
  const message = Buffer.from(recorded("03", "").message);
  message.writeBigUInt64LE(2n ** 53n, 16);
  assert.ok(Number.isNaN(new Request(message).node));
  message.writeBigUInt64LE(2n ** 53n - 1n, 16);
  assert.equal(new Request(message).node, Number.MAX_SAFE_INTEGER);
});

test("names are bytes", () => {
  assert.deepEqual(recorded("01", "66ff00").name(0), "fÿ");
  assert.deepEqual(recorded("0c", "6600000000000000 66ff006700".replace(" ", "")).names(8), ["fÿ", "g"]);
  assert.throws(() => recorded("01", "66ff").name(0), MalformedRequest);
  assert.throws(() => recorded("06", "66ff00").names(0), MalformedRequest);
  assert.equal(recorded("01", `${"6e".repeat(255)}00`).name(0).length, 255);
  assert.throws(() => recorded("01", `${"6e".repeat(256)}00`).name(0), { code: "ENAMETOOLONG" });
  const symlink = recorded("06", `6100${"74".repeat(4095)}00`);
  assert.equal(symlink.names(0, 4095)[1].length, 4095);
  assert.throws(() => symlink.names(0), { code: "ENAMETOOLONG" });
});

test("SETATTR of times with nanoseconds before and after 1970", () => {
  const request = recorded(
    "04",
    "3000000000000000000000000000000000000000000000000000000000000000feffffffffffffff00f15365000000000000000000000000" +
      "ff64cd1d15cd5b07000000000000000000000000000000000000000000000000",
  );
  assert.equal(request.message.length, 40 + setAttributesIn.bytes);
  assert.deepEqual(attributeChange(request), {
    atime: { kind: "at", ns: -1_500_000_001n },
    mtime: { kind: "at", ns: 1_700_000_000_123_456_789n },
  });
});

test("SETATTR of times that 64 bits of nanoseconds do not hold: the nearest that are kept", () => {
  const body = Buffer.alloc(setAttributesIn.bytes);
  body.writeUInt32LE((1 << 4) | (1 << 5));
  const lastNs = BigInt(Date.UTC(2262, 0, 1) / 1000 - 1) * 1_000_000_000n;
  const kept = (seconds: bigint, nanoseconds: number) => {
    body.writeBigInt64LE(seconds, setAttributesIn.mtime);
    body.writeUInt32LE(nanoseconds, setAttributesIn.mtimeNs);
    const { mtime } = attributeChange(recorded("04", body.toString("hex")));
    return mtime?.kind === "at" ? mtime.ns : undefined;
  };
  assert.equal(kept(2n ** 34n - 1n, 999_999_999), lastNs);
  assert.equal(kept(2n ** 63n - 1n, 999_999_999), lastNs);
  assert.equal(kept(-(2n ** 63n), 1), -lastNs);
  assert.equal(kept(2n ** 33n, 1), 2n ** 33n * 1_000_000_000n + 1n);
});

test("SETATTR of a size through a handle", () => {
  const request = recorded(
    "04",
    "4802000000000000010000000000000003000000000000003c914d43dd70cfcf000000000000000000000000000000000000000000000000" +
      "0000000000000000000000000000000000000000000000000000000000000000",
  );
  assert.deepEqual(attributeChange(request), { size: 3 });
});

test("SETATTR of owner and group clears setuid, also where the kernel does not say so", () => {
  const request = recorded(
    "04",
    "0608000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000" +
      "0000000000000000000000000000000000000000050000000600000000000000",
  );
  assert.deepEqual(attributeChange(request), { uid: 5, gid: 6, killPrivileges: true });
  request.message.writeUInt32LE(0x6, 40);
  assert.equal(attributeChange(request).killPrivileges, true);
});

test("SETATTR of a mode keeps the permission bits", () => {
  const zeros = "00".repeat(setAttributesIn.mode - 4);
  const request = recorded("04", `01000000${zeros}c9890000${"00".repeat(16)}`);
  assert.deepEqual(attributeChange(request), { mode: 0o4711 });
});

test("SETATTR: the present time, and a size that no file has", () => {
  const body = Buffer.alloc(setAttributesIn.bytes);
  body.writeUInt32LE((1 << 4) | (1 << 5) | (1 << 7) | (1 << 8));
  assert.deepEqual(attributeChange(recorded("04", body.toString("hex"))), {
    atime: { kind: "now" },
    mtime: { kind: "now" },
  });
  body.writeUInt32LE(1 << 3);
  body.writeBigUInt64LE(2n ** 53n, setAttributesIn.size);
  assert.throws(() => attributeChange(recorded("04", body.toString("hex"))), FileError);
});

test("small data is copied, large data keeps its buffer", () => {
  const scratch = new ScratchBuffers();
  const small = recorded("10", "aabbcc");
  const copy = small.takeData(1, 2, scratch);
  small.message.fill(0);
  assert.deepEqual([...copy], [0xbb, 0xcc]);
  assert.equal(small.keepsMessage, false);
  const large = recorded("10", "ab".repeat(128 * 1024));
  const view = large.takeData(0, 128 * 1024, scratch);
  assert.equal(view.buffer, large.message.buffer);
  assert.equal(large.keepsMessage, true);
  assert.throws(() => small.takeData(1, 3, scratch), MalformedRequest);
});

const sample: Attributes = {
  inode: 2 ** 53 - 1,
  type: "file",
  mode: 0o4751,
  uid: 0xffff_fffe,
  gid: 7,
  linkCount: 3,
  size: 5_000_000_000,
  chunkCount: 2,
  hasHoles: false,
  device: 0,
  atimeNs: -1n,
  mtimeNs: 1_700_000_000_123_456_789n,
  ctimeNs: 0n,
  btimeNs: 1_600_000_000_000_000_001n,
};

test("struct fuse_attr", () => {
  const buffer = Buffer.alloc(attr.bytes, 0xcc);
  putAttributes(new DataView(buffer.buffer, buffer.byteOffset), 0, sample);
  const expected = Buffer.alloc(attr.bytes);
  expected.writeBigUInt64LE(2n ** 53n - 1n, 0); // ino
  expected.writeBigUInt64LE(5_000_000_000n, 8); // size
  expected.writeBigUInt64LE(16_384n, 16); // blocks: two chunks
  expected.writeBigInt64LE(-1n, 24); // atime
  expected.writeBigInt64LE(1_700_000_000n, 32); // mtime
  expected.writeBigInt64LE(0n, 40); // ctime
  expected.writeUInt32LE(999_999_999, 48); // atimensec
  expected.writeUInt32LE(123_456_789, 52); // mtimensec
  expected.writeUInt32LE(0, 56); // ctimensec
  expected.writeUInt32LE(0o104751, 60); // mode
  expected.writeUInt32LE(3, 64); // nlink
  expected.writeUInt32LE(0xffff_fffe, 68); // uid
  expected.writeUInt32LE(7, 72); // gid
  expected.writeUInt32LE(0, 76); // rdev
  expected.writeUInt32LE(262_144, 80); // blksize
  assert.deepEqual(buffer, expected);
});

test("struct fuse_entry_out with time-outs", () => {
  const buffer = Buffer.alloc(entryOut.bytes, 0xcc);
  putEntry(new DataView(buffer.buffer, buffer.byteOffset), 0, 77, sample, { nameMs: 1_500, attributesMs: 0.25 });
  assert.equal(buffer.readBigUInt64LE(0), 77n);
  assert.equal(buffer.readBigUInt64LE(8), 0n); // generation
  assert.deepEqual([buffer.readBigUInt64LE(16), buffer.readUInt32LE(32)], [1n, 500_000_000]);
  assert.deepEqual([buffer.readBigUInt64LE(24), buffer.readUInt32LE(36)], [0n, 250_000]);
  assert.equal(buffer.readBigUInt64LE(40), 2n ** 53n - 1n);
});

test("struct fuse_statx_out", () => {
  const buffer = Buffer.alloc(statxOut.bytes, 0xcc);
  const device = { ...sample, type: "blockDevice", device: 0x0010_082c } as const;
  putStatx(new DataView(buffer.buffer, buffer.byteOffset), 0, device, 60_000);
  assert.equal(buffer.readBigUInt64LE(0), 60n);
  assert.equal(buffer.readUInt16LE(32 + 28), 0o064751);
  assert.equal(buffer.readBigInt64LE(32 + 80), 1_600_000_000n); // btime
  assert.equal(buffer.readUInt32LE(32 + 88), 1);
  assert.equal(buffer.readBigInt64LE(32 + 64), -1n); // atime
  assert.deepEqual([buffer.readUInt32LE(32 + 128), buffer.readUInt32LE(32 + 132)], [8, 300]);
});

test("st_blocks counts what is mapped, up to the end of the file", () => {
  assert.equal(sectorsOf({ ...sample, size: 1, chunkCount: 1 }), 8);
  assert.equal(sectorsOf({ ...sample, size: 2 ** 40, chunkCount: 0 }), 0);
  assert.equal(sectorsOf({ ...sample, size: 2 ** 40, chunkCount: 1 }), 8192);
});

test("st_blocks is less than the size where there are holes, but never 0", () => {
  const sectors = (size: number, chunkCount = 1) => sectorsOf({ ...sample, size, chunkCount, hasHoles: true });
  assert.equal(sectors(1), 8);
  assert.equal(sectors(4097), 8);
  assert.equal(sectors(10 * 4096), 72);
  assert.equal(sectors(4 * 2 ** 20), 8192 - 8);
  assert.equal(sectors(2 ** 40), 8192);
});

test("types of st_mode", () => {
  assert.equal(typeOfMode(0o104711), "file");
  assert.equal(typeOfMode(0o010600), "fifo");
  assert.equal(typeOfMode(0o644), undefined);
});
