/** Randomness from the kernel, drawn in blocks because each draw costs about a microsecond. */
import { randomFillSync } from "node:crypto";
import type { Random } from "./random.ts";

const poolBytes = 4096;
const pool = Buffer.alloc(poolBytes);
let used = poolBytes;

export const realRandom: Random = {
  bytes(length) {
    if (length > poolBytes / 4) return randomFillSync(Buffer.alloc(length));
    const at = take(length);
    const bytes = Buffer.from(pool.subarray(at, at + length));
    pool.fill(0, at, at + length); // what was handed out is not kept
    return bytes;
  },
  below(limit) {
    if (!Number.isInteger(limit) || limit < 1 || limit > 0x1_0000_0000) throw new RangeError(`a number below ${limit}`);
    // Numbers from the last, incomplete multiple of `limit` on would favour small results.
    const unbiased = 0x1_0000_0000 - (0x1_0000_0000 % limit);
    for (;;) {
      const drawn = pool.readUInt32LE(take(4));
      if (drawn < unbiased) return drawn % limit;
    }
  },
};

function take(length: number): number {
  if (used + length > poolBytes) {
    randomFillSync(pool);
    used = 0;
  }
  const at = used;
  used += length;
  return at;
}
