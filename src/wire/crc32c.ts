/**
 * CRC32C (Castagnoli, RFC 3720 appendix B.4) of short and long bytes.
 *
 * A call into native code costs about 100 ns whatever the length, a table lookup here about 1 ns a byte: headers and
 * small messages are summed in JavaScript (eight bytes a step, "slicing by 8"), everything longer natively.
 */
import { crc32c as nativeCrc32c } from "@node-rs/crc32";
import { polynomial } from "../codec/crc32c-shift.ts";

/** Up to here JavaScript is the faster one; measured with 24–512 bytes. */
const tableBytesMax = 96;

/** Table s holds, for each byte, its contribution when s more bytes follow it in the same step. */
const tables = makeTables();

/**
 * The checksum of `bytes` from `from` to `to` (exclusive). `initial` is the checksum of what comes before them:
 * crc32c(b, …, crc32c(a)) is the checksum of a ‖ b.
 */
export function crc32c(bytes: Uint8Array, from = 0, to = bytes.byteLength, initial = 0): number {
  if (to - from > tableBytesMax) {
    const whole = from === 0 && to === bytes.byteLength;
    return nativeCrc32c(whole ? bytes : bytes.subarray(from, to), initial);
  }
  return crc32cOfFew(bytes, from, to, initial);
}

function crc32cOfFew(bytes: Uint8Array, from: number, to: number, initial: number): number {
  let state = ~initial;
  let at = from;
  for (; at + 8 <= to; at += 8) {
    const first = state ^ (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24));
    state =
      tables[1792 + (first & 255)]! ^
      tables[1536 + ((first >>> 8) & 255)]! ^
      tables[1280 + ((first >>> 16) & 255)]! ^
      tables[1024 + (first >>> 24)]! ^
      tables[768 + bytes[at + 4]!]! ^
      tables[512 + bytes[at + 5]!]! ^
      tables[256 + bytes[at + 6]!]! ^
      tables[bytes[at + 7]!]!;
  }
  for (; at < to; at++) state = tables[(state ^ bytes[at]!) & 255]! ^ (state >>> 8);
  return ~state >>> 0;
}

function makeTables(): Uint32Array {
  const all = new Uint32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let state = byte;
    for (let bit = 0; bit < 8; bit++) state = (state >>> 1) ^ (state & 1 ? polynomial : 0);
    all[byte] = state;
  }
  for (let entry = 256; entry < all.length; entry++) {
    const previous = all[entry - 256]!;
    all[entry] = all[previous & 255]! ^ (previous >>> 8);
  }
  return all;
}
