/**
 * The network that all hosts share: who listens where, the links between hosts, and the connections, so that faults can
 * reset them. What a dead host looks like from outside is decided here: a killed process refuses connections and resets
 * those it had; a machine without power is silent, until it is back and resets what it doesn't know.
 */
import type { Connection } from "../platform/network.ts";
import type { Incarnation } from "./incarnation.ts";
import { Link } from "./link.ts";
import type { Scheduler } from "./scheduler.ts";
import { SimulatedConnection } from "./simulated-connection.ts";
import type { SimulatedRandom } from "./simulated-random.ts";

/** Messages of this size carry file data: a block and more. */
const dataBytesMin = 4096;

export interface Listening {
  readonly incarnation: Incarnation;
  readonly onConnection: (connection: Connection) => void;
}

export class NetworkFabric {
  readonly listeners = new Map<string, Listening>();
  readonly #scheduler: Scheduler;
  readonly #random: SimulatedRandom;
  readonly #links = new Map<string, Link>();
  readonly #watchers = new Set<{ readonly host: string; readonly action: () => void }>();
  readonly #unpowered = new Set<string>();
  #connections: { client: SimulatedConnection; server: SimulatedConnection }[] = [];

  constructor(scheduler: Scheduler, random: SimulatedRandom) {
    this.#scheduler = scheduler;
    this.#random = random;
  }

  link(from: string, to: string): Link {
    const key = `${from} → ${to}`;
    let link = this.#links.get(key);
    if (link === undefined) {
      link = new Link(this.#random.fork(key), (byteCount) => this.#sent(from, to, byteCount));
      this.#links.set(key, link);
    }
    return link;
  }

  /** Calls `action` once, when file data sets out from or to the host. */
  onData(host: string, action: () => void): void {
    this.#watchers.add({ host, action });
  }

  #sent(from: string, to: string, byteCount: number): void {
    if (byteCount < dataBytesMin) return;
    for (const watcher of [...this.#watchers]) {
      if (watcher.host !== from && watcher.host !== to) continue;
      this.#watchers.delete(watcher);
      watcher.action();
    }
  }

  /** True if a packet and its answer get through. */
  reachable(from: string, to: string): boolean {
    return !this.#unpowered.has(to) && !this.link(from, to).cut && !this.link(to, from).cut;
  }

  healAll(): void {
    for (const link of this.#links.values()) {
      link.slowness = 1;
      link.setCut(false);
    }
  }

  /** Makes a connection. Both ends get theirs at the times given, from now. */
  establish(
    client: Incarnation,
    clientAddress: string,
    listening: Listening,
    address: string,
    clientDelayUs: number,
  ): SimulatedConnection {
    const random = this.#random.fork(`${clientAddress} → ${address}`);
    const there = this.link(client.host, listening.incarnation.host);
    const back = this.link(listening.incarnation.host, client.host);
    const near = new SimulatedConnection(client, address, clientAddress);
    const far = new SimulatedConnection(listening.incarnation, clientAddress, address);
    near.attach(far, there, random.fork("there"), this.#scheduler.nowUs);
    far.attach(near, back, random.fork("back"), this.#scheduler.nowUs + clientDelayUs);
    this.#connections = this.#connections.filter((pair) => !pair.client.dead || !pair.server.dead);
    this.#connections.push({ client: near, server: far });
    return near;
  }

  /** Resets all connections between two hosts; what was in flight is lost. */
  reset(left: string, right: string): void {
    for (const { client, server } of this.#connections) {
      const hosts = [client.incarnation.host, server.incarnation.host];
      if (!hosts.includes(left) || !hosts.includes(right)) continue;
      client.reset();
      server.reset();
    }
  }

  /**
   * What the one host sends to the other on the connections that it has now is held up until `untilUs`. Returns what makes it
   * give these connections up meanwhile: then it has reconnected, and sent all again, long before these bytes arrive.
   */
  holdUp(from: string, to: string, untilUs: number): () => void {
    const ends = this.#connections
      .flatMap(({ client, server }) => [client, server])
      .filter((end) => end.incarnation.host === from && end.otherEnd.incarnation.host === to);
    for (const end of ends) end.holdUntil(untilUs);
    return () => {
      for (const end of ends) end.giveUp();
    };
  }

  /** Frees what the incarnation had. `silent`: its machine is without power and tells nobody. */
  died(incarnation: Incarnation, silent: boolean): void {
    for (const [address, listening] of [...this.listeners]) {
      if (listening.incarnation === incarnation) this.listeners.delete(address);
    }
    if (silent) this.#unpowered.add(incarnation.host);
    for (const { client, server } of this.#connections) {
      if (client.incarnation === incarnation) client.ownerDied(silent);
      if (server.incarnation === incarnation) server.ownerDied(silent);
    }
  }

  /** The machine runs again: it answers with a reset to what it gets on connections of its former life. */
  poweredOn(host: string): void {
    if (!this.#unpowered.delete(host)) return;
    for (const { client, server } of this.#connections) {
      if (client.incarnation.host === host) client.machineIsBack();
      if (server.incarnation.host === host) server.machineIsBack();
    }
  }
}
