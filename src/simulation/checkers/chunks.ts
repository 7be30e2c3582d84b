/** What administrators may do at any time, they do: `brine check --repair`, in the midst of work and faults. */
import { BrineError } from "../../errors/brine-error.ts";
import type { SimulatedCluster } from "../cluster.ts";
import { Violation } from "./violation.ts";

const everyMs = 400;

/**
 * Looks again and again until `over`. That nothing is removed which is still needed, the other checkers see.
 * Throws Violation if a member in sync doesn't have a mapped chunk.
 */
export async function keepChecking(
  cluster: SimulatedCluster,
  wait: (ms: number) => Promise<void>,
  over: () => boolean,
): Promise<void> {
  while (!over()) {
    await wait(everyMs);
    const missing = await cluster.checkChunks().catch((error: unknown) => {
      // Servers come and go; the next look may be luckier.
      if (error instanceof BrineError && error.code !== "internal") return [];
      throw error;
    });
    if (missing.length === 0) continue;
    const { chunk, store } = missing[0]!;
    throw new Violation("a mapped chunk is on all members in sync", `store ${store} doesn't have chunk ${chunk}`);
  }
}
