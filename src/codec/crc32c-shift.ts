/**
 * CRC32C of joined bytes from those of their parts, without the bytes: what was summed once to be checked needs not be summed again
 * to be written.
 *
 * A CRC is the remainder of a polynomial whose coefficients are the bytes' bits, so a ‖ b has that of a, shifted by the length of b, plus
 * that of b (the same as zlib's crc32_combine):
 *
 *     crc(a ‖ b) = shift(crc(a), bytes of b) ⊕ crc(b)
 *
 * A shift is a multiplication by x^(8 · bytes) modulo the CRC's polynomial, here with a table for each byte of the other factor. It
 * can be undone: x has the order 2^31 − 1, so x^(order − n) is the inverse of x^n.
 */

/** Castagnoli's, RFC 3720 appendix B.4, with its bits reversed: the highest one is x^0. */
export const polynomial = 0x82f63b78;
const order = 2 ** 31 - 1;
const one = 0x8000_0000;
const x = 0x4000_0000;

/** @param byteCount whole, of bytes that follow; negative: of bytes that followed and are taken away. Its absolute value is below 2^28 */
export function shiftBy(byteCount: number): (checksum: number) => number {
  const bits = byteCount * 8;
  const factor = power(x, bits < 0 ? order + bits : bits);
  const tables = new Uint32Array(4 * 256);
  for (let at = 0; at < tables.length; at++) tables[at] = product(factor, ((at & 255) << ((at >>> 8) * 8)) >>> 0);
  return (checksum) =>
    (tables[checksum & 255]! ^
      tables[256 + ((checksum >>> 8) & 255)]! ^
      tables[512 + ((checksum >>> 16) & 255)]! ^
      tables[768 + (checksum >>> 24)]!) >>>
    0;
}

/** Modulo the polynomial. */
function product(left: number, right: number): number {
  let [sum, shifted] = [0, right];
  for (let bit = one; bit !== 0; bit >>>= 1) {
    if ((left & bit) !== 0) sum ^= shifted;
    shifted = (shifted >>> 1) ^ (shifted & 1 ? polynomial : 0);
  }
  return sum >>> 0;
}

function power(base: number, exponent: number): number {
  let [result, square] = [one, base];
  for (let left = exponent; left > 0; left = Math.floor(left / 2)) {
    if (left % 2 === 1) result = product(result, square);
    square = product(square, square);
  }
  return result;
}
