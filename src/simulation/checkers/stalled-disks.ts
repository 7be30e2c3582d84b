/**
 * A store whose disk doesn't answer is out of its groups within a bound, as long as nothing else is wrong and another member is in
 * sync: writes then go on without it.
 */
import type { GroupRecord } from "../../namespace/model.ts";
import type { SimulatedCluster } from "../cluster.ts";
import type { SimulatedServer } from "../simulated-server.ts";
import { Violation } from "./violation.ts";

/**
 * The store waits 2 s of its clock (store/watched-disk.ts), looks every 250 ms, and says so with a heartbeat; the leader commits the
 * generations without it and tells the other members, one group after the other.
 */
const boundUs = 3_000_000;
/** After other faults: servers start, members catch up, a store is waited for that has not registered yet. */
const settleUs = 8_000_000;
/** A member that has owed an answer for longer may be on its way out itself. */
const busyUs = 500_000;

export class StalledDisks {
  readonly #cluster: SimulatedCluster;
  #seen = 0;

  constructor(cluster: SimulatedCluster) {
    this.#cluster = cluster;
  }

  /** Disks that were seen not to answer for longer than the bound, all else being well. */
  get seen(): number {
    return this.#seen;
  }

  /** Throws Violation. @param wellSinceUs since when nothing is wrong but for disks that don't answer */
  look(groups: readonly GroupRecord[], wellSinceUs: number): void {
    const { leader, stores, world } = this.#cluster;
    const { nowUs } = world.scheduler;
    const isLate = (sinceUs: number | undefined, byUs: number) => sinceUs !== undefined && nowUs - sinceUs > byUs;
    if (!isLate(wellSinceUs, settleUs) || leader.host.medium.stalledUntilUs > nowUs - settleUs) return;
    const numbers = new Map(stores.map((server) => [server.answeredGroups?.store, server]));
    const isWell = (server: SimulatedServer | undefined) =>
      server !== undefined && server.answeredGroups?.views.length !== 0 && !isLate(server.unansweredSinceUs, busyUs);
    for (const [number, server] of numbers) {
      const sinceUs = server.unansweredSinceUs;
      if (number === undefined || !isLate(sinceUs, boundUs) || nowUs - boundUs < wellSinceUs + settleUs) continue;
      this.#seen += 1;
      for (const { group, members } of groups) {
        const inSync = members.filter(({ state }) => state === "inSync").map(({ store }) => store);
        const others = inSync.filter((store) => store !== number && isWell(numbers.get(store)));
        if (others.length === 0 || !inSync.includes(number)) continue;
        const forMs = Math.round((nowUs - sinceUs!) / 1_000);
        throw new Violation(
          "a store whose disk doesn't answer leaves its groups",
          `${server.plan.name} has had no answer for ${forMs} ms, and is in sync in group ${group}`,
        );
      }
    }
  }
}
