/** What goes wrong between hosts: links that are slow or cut, connections that break, hosts that nobody reaches, bytes that arrive late. */
import type { SimulatedCluster } from "./cluster.ts";
import type { SimulatedClient } from "./simulated-mount.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { SimulatedServer } from "./simulated-server.ts";

/** So long requests of an old connection gather on their way, before the sender gives it up. */
const gatherMs = [5, 600] as const;
/** They arrive so long after that: behind what was sent again, or after the session of a client that has died. */
const lateMs = [50, 4_000] as const;
const usPerMs = 1_000;

export interface NetworkFaultsParts {
  readonly cluster: SimulatedCluster;
  readonly random: SimulatedRandom;
  /** Calls `end` after so long; until then the fault lasts. */
  readonly lasts: (name: string, forMs: number, end: () => void) => void;
  readonly log: (kind: string, fields: Record<string, string | number | boolean>) => void;
}

export class NetworkFaults {
  readonly #parts: NetworkFaultsParts;

  constructor(parts: NetworkFaultsParts) {
    this.#parts = parts;
  }

  /** Nobody reaches it, and it reaches nobody; what is on its way arrives when it is over. */
  isolate(victim: SimulatedServer | SimulatedClient, forMs: number): void {
    const { cluster, lasts, log } = this.#parts;
    const { fabric } = cluster.world;
    const { name } = victim.host;
    const others = this.#hosts.filter((host) => host !== name);
    log("isolation", { host: name, forMs });
    if ("silentFor" in victim) victim.silentFor(forMs);
    const links = others.flatMap((other) => [fabric.link(name, other), fabric.link(other, name)]);
    for (const link of links) link.setCut(true);
    lasts(`isolation of ${name}`, forMs, () => {
      for (const link of links) link.setCut(false);
    });
  }

  reset(): void {
    const { cluster, log } = this.#parts;
    const [left, right] = this.#pair();
    log("resetConnections", { left, right });
    cluster.world.fabric.reset(left, right);
  }

  slowDown(forMs: number): void {
    const { random, lasts, log } = this.#parts;
    const [left, right] = this.#pair();
    log("slowLink", { left, right, forMs });
    const links = this.#links(left, right);
    const slowness = random.between(10, 200);
    for (const link of links) link.slowness = slowness;
    lasts(`slowLink between ${left} and ${right}`, forMs, () => {
      for (const link of links) link.slowness = 1;
    });
  }

  cut(forMs: number): void {
    const { cluster, lasts, log } = this.#parts;
    const [left, right] = this.#pair();
    log("cutLink", { left, right, forMs });
    const links = this.#links(left, right);
    for (const client of cluster.clients) if ([left, right].includes(client.name)) client.silentFor(forMs);
    for (const link of links) link.setCut(true);
    lasts(`cutLink between ${left} and ${right}`, forMs, () => {
      for (const link of links) link.setCut(false);
    });
  }

  /**
   * What a client sends gathers, and arrives later (`lateMs`; default: as it falls). Meanwhile it reconnects; or it dies, and has a session no
   * more by then.
   */
  holdUp(client: SimulatedClient, server: SimulatedServer, how: { lateMs?: number; dies?: () => void }): void {
    const { cluster, random, lasts, log } = this.#parts;
    const { fabric, scheduler } = cluster.world;
    const { dies } = how;
    const gathering = random.between(...gatherMs);
    const forMs = gathering + (how.lateMs ?? random.between(...lateMs));
    log("lateBytes", { from: client.name, to: server.host.name, forMs, dies: dies !== undefined });
    const giveUp = fabric.holdUp(client.name, server.host.name, scheduler.nowUs + forMs * usPerMs);
    lasts(`lateBytes of ${client.name}`, gathering, dies ?? giveUp);
    lasts(`lateBytes of ${client.name}`, forMs, () => {});
  }

  get #hosts(): string[] {
    const { servers, clients } = this.#parts.cluster;
    return [...servers, ...clients].map(({ host }) => host.name);
  }

  #pair(): [string, string] {
    const { random } = this.#parts;
    const left = random.pick(this.#hosts);
    return [left, random.pick(this.#hosts.filter((host) => host !== left))];
  }

  /** One direction, or both. */
  #links(left: string, right: string) {
    const { cluster, random } = this.#parts;
    const { fabric } = cluster.world;
    const links = [fabric.link(left, right)];
    if (random.chance(0.5)) links.push(fabric.link(right, left));
    return links;
  }
}
