/**
 * Bounds of leases: of what a client has cached, and of what the leader remembers, there is never more than both sides
 * have been told to keep.
 *
 * - A client: leases that are not on their way back, at most `leasesMax`, or the most that one look had to leave because they
 *   were in use or had been used since the look before, and `evictedAtOnce` on top: so many come before the next look
 *   (client/unused-leases.ts). Those that are on their way back wait for the journal and the leader, and are bounded by those.
 * - The leader: leases of a session that it wasn't told to give back, always fewer than `keptMax`, without any slack
 *   (metadata/lease-limits.ts). Those that it was told to are as many as it takes the client to give back.
 *
 * To be called at every step: what is above a bound for a moment only is above it.
 */
import { type UnusedLeaseLimits, unusedLeaseLimits } from "../../client/unused-leases.ts";
import { writeBackLimits } from "../../client/write-back-limits.ts";
import { type LeaseBounds, leaseBounds } from "../../metadata/lease-limits.ts";
import type { MetadataServer } from "../../metadata/metadata-server.ts";
import type { SimulatedRandom } from "../simulated-random.ts";
import type { Holding } from "./leases.ts";
import { Violation } from "./violation.ts";

export interface LeaseLimits {
  readonly client: UnusedLeaseLimits;
  readonly leader: LeaseBounds;
  /** The leader's bound counts on it. */
  readonly dirtyOperationsMax: number;
}

export const usualLeaseLimits: LeaseLimits = {
  client: unusedLeaseLimits,
  leader: leaseBounds,
  dirtyOperationsMax: writeBackLimits.dirtyOperationsMax,
};

/** Of a simulation: with few leases some seeds have the client's limits as the narrower ones, others the leader's. */
export function leaseLimitsFor(options: { fewLeases?: boolean }, random: SimulatedRandom): LeaseLimits {
  return options.fewLeases
    ? fewLeases[random.fork("few leases").pick(["client", "leader", "idle"] as const)]
    : usualLeaseLimits;
}

/** So few that a simulation's small tree is too much. A look goes through all. */
const fewInClients = { leasesMax: 4, evictedAtOnce: 2, lookedAtMax: 1_024, idleMs: 2_000, idleSweepMs: 500 };

/**
 * Which side is the first to have too many: its client, or the leader, whose clients think that they may keep them. Or none of both, but
 * what lies idle for a moment goes back: then leases are often nobody's, and can be had by a wish (client/leases-ahead.ts).
 */
export const fewLeases: Readonly<Record<"client" | "leader" | "idle", LeaseLimits>> = {
  idle: { ...usualLeaseLimits, client: { ...unusedLeaseLimits, idleMs: 20, idleSweepMs: 20 } },
  client: { client: fewInClients, leader: { keptMax: 32, recalledAtOnce: 4 }, dirtyOperationsMax: 32 },
  leader: {
    client: { ...fewInClients, leasesMax: 1_000 },
    leader: { keptMax: 6, recalledAtOnce: 2 },
    dirtyOperationsMax: 6,
  },
};

export class LeaseBoundsWatch {
  readonly #limits: LeaseLimits;
  #keptMost = { client: 0, leader: 0 };

  constructor(limits: LeaseLimits) {
    this.#limits = limits;
  }

  /** The most leases that a client kept, and that the leader knew of a session. */
  get keptMost(): Readonly<{ client: number; leader: number }> {
    return this.#keptMost;
  }

  /** Throws Violation. */
  look(mounts: readonly Holding[], leader: MetadataServer | undefined, volume: number): void {
    for (const mount of mounts) this.#lookAtClient(mount);
    for (const { session, kept } of leader?.inspectLeaseCounts(volume) ?? []) {
      this.#keptMost.leader = Math.max(this.#keptMost.leader, kept);
      const { keptMax } = this.#limits.leader;
      if (kept < keptMax) continue;
      throw new Violation(
        "the leader bounds the leases of a session",
        `session ${session} has ${kept} that are not recalled, of fewer than ${keptMax}`,
      );
    }
  }

  #lookAtClient({ name, client }: Holding): void {
    const { kept, sparedMost } = client.leaseCounts();
    this.#keptMost.client = Math.max(this.#keptMost.client, kept);
    const { leasesMax, evictedAtOnce } = this.#limits.client;
    const bound = Math.max(leasesMax, sparedMost) + evictedAtOnce;
    if (kept <= bound) return;
    throw new Violation(
      "a client bounds its leases",
      `${name} keeps ${kept} leases, of ${bound} at most (one look spared ${sparedMost})`,
    );
  }
}
