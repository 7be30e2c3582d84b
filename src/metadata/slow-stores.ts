/**
 * Which stores are slow: by the latency of their disks, as they say it in heartbeats, compared with that of the others. A disk
 * that is merely busy makes its neighbours wait as well: what counts is that one stands out. (Which ones operators call slow is in
 * the stores' records.)
 */

export interface DiskLatency {
  readonly store: number;
  /** Moving average; undefined while nothing is read or written. */
  readonly latencyMs: number | undefined;
}

/** Quicker than this no store is called slow: the noise of a busy machine. */
const slowMsMin = 100;
/** Times the others' median from which a store is slow. */
const slowFactor = 5;

/** The numbers of the slow ones. A single store is never slow: there is nothing to compare it with. */
export function slowStores(latencies: readonly DiskLatency[]): Set<number> {
  const slow = new Set<number>();
  for (const { store, latencyMs } of latencies) {
    if (latencyMs === undefined || latencyMs < slowMsMin) continue;
    const others = latencies.flatMap((one) => (one.store === store ? [] : (one.latencyMs ?? [])));
    if (others.length > 0 && latencyMs >= slowFactor * lowerMedian(others)) slow.add(store);
  }
  return slow;
}

function lowerMedian(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  return sorted[(sorted.length - 1) >> 1]!;
}
