/**
 * Nobody starves: when the metadata server has been away and nothing else is wrong, each operation is answered within a bound.
 *
 * What counts is the time for which the operation waits while the server is there, over all its restarts together: each of them has to
 * bring the operation nearer to its end. So a journal that drains slowly is found, of which every start sees a part only while another
 * mount waits for a lease (decision 0030), and so is a grace period that lasts although all clients are back.
 *
 * Not counted is what has its own time-outs: after other faults, after a loss of power, while a session has no client that lives, and
 * while a disk is nearly full, where writes wait until space is given back. Nor do operations count that wait for an advisory lock, which
 * is up to who has it.
 */
import { reserveBytesFor, segmentBytesFor } from "../../store/disk-room.ts";
import type { SimulatedCluster } from "../cluster.ts";
import type { Recorder } from "../recorder.ts";
import type { SimulatedServer } from "../simulated-server.ts";
import { Violation } from "./violation.ts";

/**
 * Clients and stores look for the server every 250 ms (client/leader-links.ts, store/search-pauses.ts). One that has just looked in vain
 * is the last to come back, and what was on its way from or to it then is sent again: each of these at most twice in a row.
 */
const boundUs = 1_000_000;
/**
 * A machine without power refuses and resets nothing. Who was connected learns of it when a heartbeat has had no answer (client/session.ts, 4 s);
 * who then tries to connect may have begun just before it came back, and gives that up after 3 s (client/leader-links.ts). Others wait
 * for this client so long.
 */
const silentUs = 4_500_000;
/** Disks are larger where nobody means to fill them. */
const smallDiskBytesMax = 1024 ** 3;
/** After other faults: sessions of the dead end, stores are taken out and catch up. */
const settleUs = 15_000_000;

export class WaitsWatch {
  readonly #cluster: SimulatedCluster;
  readonly #volume: number;
  /** By operation under way: for how long it has waited while all was well. */
  readonly #waitedUs = new Map<number, number>();
  #lastLookUs = 0;
  /** When a server other than the leader was last seen away, or one without room. */
  #awayUs = Number.NEGATIVE_INFINITY;
  #longestUs = 0;
  #leader: object | undefined;

  constructor(cluster: SimulatedCluster, volume: number) {
    this.#cluster = cluster;
    this.#volume = volume;
  }

  /** The longest that counts. */
  get longestMs(): number {
    return this.#longestUs / 1_000;
  }

  /** At every step. Throws Violation. @param wellSinceUs since when nothing is wrong but that the leader is away */
  look(underWay: Recorder["underWay"], wellSinceUs: number): void {
    const { nowUs } = this.#cluster.world.scheduler;
    const sinceUs = this.#lastLookUs;
    this.#lastLookUs = nowUs;
    for (const id of this.#waitedUs.keys()) if (!underWay.has(id)) this.#waitedUs.delete(id);
    if (!this.#isWell(nowUs, wellSinceUs) || nowUs === sinceUs) return;
    for (const [id, { operation, text, calledUs }] of underWay) {
      if (operation.kind === "lock" && operation.wait) continue;
      const waitedUs = (this.#waitedUs.get(id) ?? 0) + nowUs - Math.max(sinceUs, calledUs);
      this.#waitedUs.set(id, waitedUs);
      this.#longestUs = Math.max(this.#longestUs, waitedUs);
      if (waitedUs <= boundUs) continue;
      throw new Violation(
        "nobody starves while the metadata server is there",
        `${text} has waited for ${ms(nowUs - calledUs)} ms, ${ms(waitedUs)} of them while the server was there and all else was well`,
      );
    }
  }

  /** Now, and at the last look. */
  #isWell(nowUs: number, wellSinceUs: number): boolean {
    const { leader, servers, mounts, clients } = this.#cluster;
    if (servers.some((server) => (server !== leader && !server.serving) || isNearlyFull(server))) this.#awayUs = nowUs;
    const isNew = leader.metadata !== this.#leader;
    this.#leader = leader.metadata;
    if (leader.metadata === undefined || isNew || nowUs - leader.backFromSilenceUs <= silentUs) return false;
    if (nowUs - Math.max(wellSinceUs, this.#awayUs) <= settleUs || mounts.length < clients.length) return false;
    const living = new Set(mounts.map(({ client }) => client.session.id));
    return leader.metadata.inspectLeaseCounts(this.#volume).every(({ session }) => living.has(session));
  }
}

function ms(us: number): string {
  return (us / 1_000).toFixed(0);
}

/** Of the disks of a simulation that fills them. On the smallest ones a store's reserve is more than a quarter. */
function isNearlyFull({ host }: SimulatedServer): boolean {
  const { capacityBytes, usedBytes } = host.medium;
  if (capacityBytes > smallDiskBytesMax) return false;
  const reserveBytes = reserveBytesFor(capacityBytes, segmentBytesFor(capacityBytes));
  return capacityBytes - usedBytes < Math.max(capacityBytes / 4, reserveBytes);
}
