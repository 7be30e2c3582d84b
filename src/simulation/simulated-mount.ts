/** A mount on a simulated client host: the client of one incarnation, and the end of that incarnation. */
import { Client } from "../client/client.ts";
import type { FileSystem } from "../client/file-system.ts";
import { writeBackLimits } from "../client/write-back-limits.ts";
import type { Clock } from "../platform/clock.ts";
import type { Address } from "../platform/network.ts";
import { usualLeaseLimits } from "./checkers/lease-bounds.ts";
import type { Hooks } from "./hooks.ts";
import type { Incarnation } from "./incarnation.ts";
import { SimulatedKernel } from "./kernel.ts";
import { type Mount, MountDied, type MountPoint } from "./mount.ts";
import type { SimulatedHost, World } from "./simulated-platform.ts";

/** Between attempts to mount, while servers are down. */
const mountAgainUs = 300_000;

/** A client that is silent for so long in all may lose its session, whose time-out is 10 s. */
const sessionRiskMs = 6_000;
const silenceWindowMs = 20_000;
/** After a silence, before anybody says that it is over. */
const settleMs = 500;

export interface ClientEvents {
  onClientDeath(mount: string): void;
  onSessionAtRisk(mount: string, session: number): void;
}

export interface ClientMount extends Mount {
  readonly client: Client;
}

interface MountingProcess {
  readonly client: Client;
  readonly incarnation: Incarnation;
  readonly clock: Clock;
  readonly death: Promise<never>;
  /** Of the kernel's mounts that it serves, one after the other. */
  readonly number: number;
}

export class SimulatedClient implements MountPoint {
  readonly name: string;
  readonly host: SimulatedHost;
  readonly #world: World;
  /** Who keeps the metadata by now, as a person would name them at a mount. */
  readonly #leaders: () => readonly Address[];
  readonly #hooks: Hooks;
  readonly #events: ClientEvents;
  /** When it was cut off or paused, and for how long. */
  #silences: { fromUs: number; forMs: number }[] = [];
  #mount: ClientMount | undefined;
  #mounted = Promise.withResolvers<ClientMount>();
  #die: (() => void) | undefined;
  #sessionAtRisk = false;
  #cutCount = 0;

  constructor(world: World, name: string, leaders: () => readonly Address[], hooks: Hooks, events: ClientEvents) {
    this.#world = world;
    this.name = name;
    this.host = world.host(name);
    this.#leaders = leaders;
    this.#hooks = hooks;
    this.#events = events;
  }

  /** It will be cut off from the leader for so long. */
  silentFor(forMs: number): void {
    const { nowUs } = this.#world.scheduler;
    this.#silences = this.#silences.filter(({ fromUs }) => fromUs > nowUs - 1_000 * silenceWindowMs);
    this.#silences.push({ fromUs: nowUs, forMs });
    const silentMs = this.#silences.reduce((sum, silence) => sum + silence.forMs, 0);
    if (silentMs > sessionRiskMs) this.#isAtRisk();
  }

  #isAtRisk(): void {
    if (this.#sessionAtRisk) return;
    this.#sessionAtRisk = true;
    if (this.#mount !== undefined) this.#events.onSessionAtRisk(this.#mount.name, this.#mount.client.session.id);
  }

  /** If it was silent for so long that its session may have ended: for how long it has not been silent any more. */
  get backFromRiskMs(): number | undefined {
    if (!this.#sessionAtRisk) return undefined;
    const ends = this.#silences.map(({ fromUs, forMs }) => fromUs / 1_000 + forMs);
    const backMs = this.#world.scheduler.nowUs / 1_000 - Math.max(...ends);
    return backMs > settleMs ? backMs : undefined;
  }

  /** What has become of the session is known. */
  riskIsOver(): void {
    this.#sessionAtRisk = false;
    this.#silences = [];
  }

  /** The mount; resolves when there is one. */
  mount(): Promise<ClientMount> {
    return this.#mounted.promise;
  }

  /** The mount, if there is one. */
  get current(): ClientMount | undefined {
    return this.#mount;
  }

  /** How often its guard has cut the mount off. */
  get cutCount(): number {
    return this.#cutCount;
  }

  get mounted(): boolean {
    return this.#mount !== undefined;
  }

  get down(): boolean {
    return this.host.incarnation === undefined;
  }

  start(): void {
    if (!this.down) return;
    this.#sessionAtRisk = false;
    this.#silences = [];
    const { incarnation, platform } = this.host.boot();
    const death = Promise.withResolvers<never>();
    death.promise.catch(() => {}); // it is only waited for in races
    this.#die = () => death.reject(new MountDied(incarnation.name));
    const hooked = this.#hooks.platform?.(this.name, platform) ?? platform;
    const { client: leaseLimits, dirtyOperationsMax } = this.#hooks.leaseLimits?.(usualLeaseLimits) ?? usualLeaseLimits;
    const attempt = () => {
      Client.mount(hooked, {
        leaders: this.#leaders(),
        volume: "home",
        host: incarnation.name,
        accessTimes: "relative",
        limits: { ...writeBackLimits, dirtyOperationsMax },
        leaseLimits,
      }).then(
        (client) => {
          this.#attach({ client, incarnation, clock: platform.clock, death: death.promise, number: 1 });
          if (this.#sessionAtRisk) this.#events.onSessionAtRisk(incarnation.name, client.session.id);
        },
        (error: Error) => {
          this.#world.log.add("info", `${incarnation.name} did not mount`, { error: error.message });
          incarnation.after(mountAgainUs, "mounts again", attempt);
        },
      );
    };
    attempt();
  }

  /** The kernel's side of the mount; another one when the guard has cut it off, as soon as the process finds that. */
  #attach(process: MountingProcess): void {
    const { client, incarnation, clock, death, number } = process;
    const fileSystem: FileSystem = this.#hooks.fileSystem?.(this.name, client) ?? client;
    const random = this.#world.scheduler.random.fork(`kernel ${incarnation.name}${number === 1 ? "" : ` ${number}`}`);
    const kernel: SimulatedKernel = new SimulatedKernel(fileSystem, incarnation, clock, random, () => {
      this.#world.log.add("info", `${incarnation.name} is cut off by its guard`);
      this.#cutCount += 1;
      this.#mounted = Promise.withResolvers();
      // What it has is not its own any more, whatever its session becomes.
      this.#isAtRisk();
      incarnation.after(0, "finds the mount cut", () => {
        kernel.end();
        this.#attach({ ...process, number: number + 1 });
      });
    });
    const positions = () => client.journalPositions;
    this.#mount = { name: incarnation.name, kernel, client, root: client.root, positions, death };
    this.#mounted.resolve(this.#mount);
  }

  kill(options: { power: boolean }): void {
    const mount = this.#mount;
    this.host.kill(options);
    this.#mount = undefined;
    if (mount !== undefined) {
      this.#mounted = Promise.withResolvers();
      this.#events.onClientDeath(mount.name);
    }
    this.#die?.();
    this.#die = undefined;
  }

  replace(mount: Mount): void {
    if (mount.kernel.isCut) return; // it makes itself anew
    if (this.host.incarnation?.name !== mount.name) return;
    this.kill({ power: false });
    this.start();
  }
}
