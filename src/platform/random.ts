/** Randomness: ids, jitter, choices. The simulation's comes from the seed. */
export interface Random {
  /** `length` fresh random bytes. */
  bytes(length: number): Uint8Array;
  /** A whole number, 0 ≤ n < `limit`; `limit` is at most 2^32. */
  below(limit: number): number;
}

/** A random id of 16 bytes as 32 hex digits: cluster ids, server ids, session ids. */
export function randomId(random: Random): string {
  return Buffer.from(random.bytes(16)).toString("hex");
}
