/** Blocks of zeros, told quickly: nearly all other data is known by its first or last bytes. */

const zeros = Buffer.alloc(4096);

/** True if all of `bytes` from `from` on, `length` of them, are 0. `length`: 1–4096. */
export function isZeros(bytes: Uint8Array, from: number, length: number): boolean {
  if (bytes[from] !== 0 || bytes[from + (length >>> 1)] !== 0 || bytes[from + length - 1] !== 0) return false;
  return zeros.compare(bytes, from, from + length, 0, length) === 0;
}
