/**
 * Hosts and their platforms. A World is everything that exists: scheduler, network, hosts. A host has a disk, databases
 * and clocks that outlive its processes; `boot` gives its next incarnation a Platform of its own.
 */
import { Metrics } from "../metrics/metrics.ts";
import type { LogLevel } from "../platform/logger.ts";
import type { MemoryDatabase } from "../platform/memory-key-value.ts";
import type { Platform } from "../platform/platform.ts";
import { DiskMedium } from "./disk-medium.ts";
import { Incarnation } from "./incarnation.ts";
import { NetworkFabric } from "./network-fabric.ts";
import { Scheduler } from "./scheduler.ts";
import { HostClock, SimulatedClock } from "./simulated-clock.ts";
import { SimulatedDisk } from "./simulated-disk.ts";
import { HostDatabases, SimulatedKeyValueEngine } from "./simulated-key-value.ts";
import { LogTail, SimulatedLogger } from "./simulated-logger.ts";
import { SimulatedNetwork } from "./simulated-network.ts";
import type { SimulatedRandom } from "./simulated-random.ts";

/** Log lines that a failure's report can show. */
const logLinesMax = 2_000;

export class World {
  readonly scheduler: Scheduler;
  readonly fabric: NetworkFabric;
  readonly log: LogTail;
  readonly #hosts = new Map<string, SimulatedHost>();

  constructor(seed: number, logLevel: LogLevel = "info") {
    this.scheduler = new Scheduler(seed);
    this.fabric = new NetworkFabric(this.scheduler, this.scheduler.random.fork("network"));
    this.log = new LogTail(this.scheduler, logLevel, logLinesMax);
  }

  /** The host of this name, made if there is none. */
  host(name: string): SimulatedHost {
    let host = this.#hosts.get(name);
    if (host === undefined) {
      host = new SimulatedHost(this, name);
      this.#hosts.set(name, host);
    }
    return host;
  }
}

export class SimulatedHost {
  readonly name: string;
  readonly medium: DiskMedium;
  readonly #world: World;
  readonly #random: SimulatedRandom;
  readonly #clock: HostClock;
  readonly #databases = new HostDatabases();
  #incarnation: Incarnation | undefined;
  #boots = 0;

  constructor(world: World, name: string) {
    this.name = name;
    this.#world = world;
    this.#random = world.scheduler.random.fork(`host ${name}`);
    this.#clock = new HostClock(this.#random.fork("clock"));
    this.medium = new DiskMedium(this.#random.fork("medium"));
  }

  /** The process that runs now. */
  get incarnation(): Incarnation | undefined {
    return this.#incarnation;
  }

  /** A database of the host, for checkers: no process may have it open. */
  database(path: string): MemoryDatabase {
    return this.#databases.database(path);
  }

  /** All files below this folder are gone for good; no process may use them. */
  removeFolder(path: string): void {
    this.medium.removeFolder(path);
    this.#databases.removeFolder(path);
  }

  /** Starts the host's next incarnation; the former one must have been killed. */
  boot(): { incarnation: Incarnation; platform: Platform } {
    if (this.#incarnation !== undefined) throw new Error(`${this.#incarnation.name} still runs`);
    this.#boots += 1;
    const incarnation = new Incarnation(this.#world.scheduler, this.name, this.#boots);
    this.#incarnation = incarnation;
    this.#world.fabric.poweredOn(this.name);
    this.#world.log.add("info", `${incarnation.name} boots`);
    const random = this.#random.fork(incarnation.name);
    const platform = {
      clock: new SimulatedClock(incarnation, this.#clock, random.fork("timers")),
      random: random.fork("random"),
      disk: new SimulatedDisk(incarnation, this.medium, random.fork("disk")),
      network: new SimulatedNetwork(incarnation, this.#world.fabric, random.fork("network")),
      keyValue: new SimulatedKeyValueEngine(incarnation, this.#databases, this.medium, random.fork("databases")),
      logger: new SimulatedLogger(this.#world.log, incarnation),
      metrics: new Metrics(),
    };
    return { incarnation, platform };
  }

  /** Ends the present process, if there is one, and starts the next. */
  reboot(): { incarnation: Incarnation; platform: Platform } {
    this.kill({ power: false });
    return this.boot();
  }

  /** Kills the process at once. With `power`, the machine goes too: what wasn't synced may be lost, and nobody is told. */
  kill(options: { power: boolean }): void {
    const incarnation = this.#incarnation;
    if (incarnation === undefined) return;
    this.#world.log.add("info", `${incarnation.name} is killed`, { power: options.power });
    this.#incarnation = undefined;
    incarnation.kill();
    this.#world.fabric.died(incarnation, options.power);
    if (!options.power) return;
    this.medium.losePower();
    this.#databases.losePower(this.#random);
  }
}
