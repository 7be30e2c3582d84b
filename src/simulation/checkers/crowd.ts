/**
 * How much may happen at once for the checker to follow it. Each order of the operations under way that touch the same inode
 * is a possibility, times what may have become of each operation of a dead client, times what its session's end may have
 * left. So while fates are open, fewer operations are begun at once; never fewer than one.
 */

/** Less one for each operation or session whose fate is open. */
const atOnceMax = 8;
/** With so many configurations while fates are open one operation at a time is enough. */
const severalConfigurations = 300;
/** With so many at any time two are. */
const manyConfigurations = 2_000;

export interface Crowd {
  /** Operations under way that will return. */
  readonly atOnce: number;
  /** Operations that will never return, and sessions that may have ended. */
  readonly open: number;
  readonly configurations: number;
}

export function isCrowded({ atOnce, open, configurations }: Crowd): boolean {
  if (open === 0) return atOnce >= 2 && configurations > manyConfigurations;
  return atOnce >= (configurations > severalConfigurations ? 1 : Math.max(2, atOnceMax - open));
}
