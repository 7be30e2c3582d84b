/**
 * Buckets of a histogram, log-linear: exact up to 7, then eight equal ones for each power of two, up to 2^32. So a value is
 * known to within an eighth of itself, in 240 buckets, and finding the bucket takes a few instructions.
 *
 *     value   0 1 2 … 7 | 8 9 10 … 15 | 16,17  18,19 … | 32–35 36–39 … |  …
 *     bucket  0 1 2 … 7 | 8 9 10 … 15 | 16     17    … | 24    25    … |  … 239
 */

/** Buckets for each power of two: their width is 12.5 % of what they hold, which nobody can tell in a latency. */
const perPower = 8;
const perPowerBits = 3;
/** Larger values are counted here: 71 minutes in microseconds, 4 GiB in bytes. */
const valueMax = 0xffff_ffff;

export const bucketCount = (32 - perPowerBits + 1) * perPower;

/** The bucket of a value; negative ones count as 0. */
export function bucketOf(value: number): number {
  if (!(value >= 1)) return 0;
  const whole = value >= valueMax ? valueMax : Math.floor(value);
  if (whole < perPower) return whole;
  const power = 31 - Math.clz32(whole);
  return (power - perPowerBits) * perPower + (whole >>> (power - perPowerBits));
}

/** The lowest value of a bucket; that of the next is where it ends. */
export function bucketStart(bucket: number): number {
  if (bucket < perPower) return bucket;
  const power = Math.floor(bucket / perPower) + perPowerBits - 1;
  return 2 ** power + (bucket % perPower) * 2 ** (power - perPowerBits);
}

/** Some of a histogram's buckets, in order; what is missing is 0. */
export type SparseBuckets = readonly { readonly index: number; readonly count: number }[];

/**
 * The value below which the given part of all values lies (0.5: the median), from the middle of its bucket.
 * Undefined if there are none.
 */
export function quantile(buckets: SparseBuckets, part: number): number | undefined {
  let total = 0;
  for (const { count } of buckets) total += count;
  if (total === 0) return undefined;
  let left = Math.max(1, Math.ceil(total * part));
  for (const { index, count } of buckets) {
    left -= count;
    if (left <= 0) return index < perPower ? index : (bucketStart(index) + bucketStart(index + 1)) / 2;
  }
  return undefined;
}
