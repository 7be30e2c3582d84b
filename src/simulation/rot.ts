/**
 * Bytes that change by themselves on a store's disk: synced data of live blocks. Always on the same store, so that another one
 * has a good copy of each: what is read must be right all the time, and after a scrub nothing may be bad any more.
 */
import { Violation } from "./checkers/violation.ts";
import type { SimulatedCluster } from "./cluster.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { SimulatedServer } from "./simulated-server.ts";

const blocksMax = 4;
const scrubChance = 0.4;

export class Rot {
  readonly #cluster: SimulatedCluster;
  readonly #random: SimulatedRandom;
  #victim: SimulatedServer | undefined;

  constructor(cluster: SimulatedCluster, random: SimulatedRandom) {
    this.#cluster = cluster;
    this.#random = random;
  }

  strike(): void {
    this.#victim ??= this.#random.pick(this.#cluster.stores);
    // A scrub amid all else that goes on, too: what is under way, or in doubt, must be none of its business.
    if (this.#random.chance(scrubChance)) void this.#cluster.orderScrub();
    for (let left = this.#random.between(1, blocksMax); left > 0; left--) {
      const where = this.#victim.rot(this.#random);
      if (where === undefined) continue;
      this.#cluster.world.log.add("info", "FAULT rot", { host: this.#victim.host.name, ...where });
    }
  }
}

/**
 * A scrub: nothing is bad any more afterwards. And the disks lose no writes, so nothing may have been missing anywhere, unless
 * (`mayDiffer`) a write was taken back because a disk was full: it has another version where it had arrived.
 */
export async function checkScrubbed(cluster: SimulatedCluster, { mayDiffer }: { mayDiffer: boolean }): Promise<void> {
  const { differingBlocks } = await cluster.scrubbed();
  if (differingBlocks === 0 || mayDiffer) return;
  throw new Violation("in-sync members are equal", `a scrub has found ${differingBlocks} blocks that were not`);
}
