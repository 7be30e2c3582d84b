/**
 * What goes wrong, when: a schedule drawn from the seed. Every fault ends by itself after a while; faults overlap. While
 * the schedule runs, the cluster must keep its safety; after its end, everything must come back to life.
 */
import { Violation } from "./checkers/violation.ts";
import type { SimulatedCluster } from "./cluster.ts";
import {
  clientEnds,
  countedWhenTheyStrike,
  type FaultKind,
  type FaultLevel,
  type FaultWeights,
  stalls,
  varied,
  weightsOf,
} from "./fault-kinds.ts";
import type { Scope } from "./fault-spells.ts";
import { LastingFaults } from "./lasting-faults.ts";
import { NetworkFaults } from "./network-faults.ts";
import { type Decay, Rot } from "./rot.ts";
import type { SimulatedClient } from "./simulated-mount.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { SimulatedServer } from "./simulated-server.ts";
import { Spells } from "./spells.ts";
import { StoreLosses } from "./store-losses.ts";

/** Between two faults: often while the former one still lasts. */
const intervalMs = [10, 1_200] as const;
/** The same in events: they crowd while something goes on, so such faults strike in the middle of operations. */
const intervalSteps = [10, 800] as const;
/** After so many faults there is a calm, long enough for time-outs to run out: else nothing would ever get done. */
const faultsInARow = 12;
const calmMs = [5_000, 20_000] as const;
/** Beyond the session's and the stores' time-outs, with their margins. */
const longPauseMs = [9_000, 16_000] as const;
/** A store gives a disk up that has not answered for 2 s. */
const longStallMs = [3_000, 12_000] as const;
const slowDiskMs = [1_000, 10_000] as const;
const usPerMs = 1_000;
/** When no more begin: the longest last for seconds, and a store that was lost has little to copy. */
const endMsMax = 120_000;
const pollMs = 100;
/** What was away comes back and is brought up to date; copies that are being moved have arrived. */
const aloneMsMax = 8_000;
/** Servers look at their free space every second, and tell others with the next heartbeat. */
const spaceNoticedUs = 3_000_000;
/** How long a fault waits for file data to be on its way. */
const dataWaitMs = 1_000;
/** It strikes so soon after: before the same data sets out to the next member, or while it is on its way. */
const amidDataUs = [8, 400] as const;
/** Faults that last at the same time: with more, the cluster would mostly stand still. */
const lastingMax = 2;
/**
 * Operations of dead clients and ends of sessions whose fate is open: each doubles the states that are possible. With more,
 * the leader is left in peace until it has ended the sessions of the dead.
 */
const openMax = 4;

type Crash = { readonly scope?: Scope; readonly power?: boolean };

export class Faults {
  readonly #cluster: SimulatedCluster;
  readonly #random: SimulatedRandom;
  readonly #weights: FaultWeights;
  readonly #openCount: () => number;
  /** Whose failure is the simulation's. */
  readonly #watched: (work: Promise<void>) => void;
  /** Somebody changes the cluster: any store may come to have the only copy. */
  readonly #isOperated: boolean;
  readonly #rot: Rot;
  readonly #losses: StoreLosses;
  readonly #intervalFactor: number;
  /** Number of faults after which comes a calm. */
  #calmAt = faultsInARow;
  readonly #lasting: LastingFaults;
  readonly #network: NetworkFaults;
  #stopped = false;
  readonly #diskFull = new Spells();
  readonly #diskFailed = new Spells();
  readonly #applied = new Map<FaultKind, number>();
  #appliedCount = 0;

  constructor(
    cluster: SimulatedCluster,
    random: SimulatedRandom,
    weights: FaultLevel | FaultWeights,
    known: { openCount: () => number; isOperated: boolean; watched: (work: Promise<void>) => void },
  ) {
    this.#cluster = cluster;
    this.#openCount = known.openCount;
    this.#watched = known.watched;
    this.#isOperated = known.isOperated;
    this.#rot = new Rot(cluster, random);
    this.#lasting = new LastingFaults(() => cluster.world.scheduler.nowUs);
    const lasts = (name: string, forMs: number, end: () => void) => this.#lasts(name, forMs, end);
    this.#network = new NetworkFaults({ cluster, random, lasts, log: (...line) => this.#log(...line) });
    const wait = (ms: number) => this.#wait(ms);
    const { isOperated } = known;
    this.#losses = new StoreLosses({ cluster, random, wait, durationMs: () => this.#durationMs(), isOperated });
    this.#random = random;
    this.#weights = typeof weights === "string" ? varied(weightsOf[weights], random) : weights;
    this.#intervalFactor = random.pick([0.3, 1, 3]);
  }

  /** How often which fault struck. */
  get applied(): ReadonlyMap<FaultKind, number> {
    return this.#applied;
  }

  /** Since when nothing is wrong but in this scope. Infinity: something is. */
  wellSinceUs(butFor: Scope): number {
    return this.#lasting.wellSinceUs(butFor);
  }

  /** True if blocks went bad on some disk. */
  get hasDecayed(): boolean {
    return this.#applied.has("rot") || this.#applied.has("badSector");
  }

  /** True if a bad copy may be the only one that can be reached: other things go wrong as well. */
  get mayHideGoodCopies(): boolean {
    return !this.#isOperated && this.hasDecayed && this.#applied.size > 1;
  }

  /** True if disks may get full. */
  get mayFillDisks(): boolean {
    return this.#weights.diskFull !== undefined;
  }

  /** True if a disk was full at some time since `sinceUs`, or shortly before: servers look at their space now and then. */
  diskWasFull(sinceUs: number): boolean {
    return this.#diskFull.lastUs + spaceNoticedUs >= sinceUs;
  }

  /** True if a disk had failed at some time since `sinceUs`: on it may be the only copy in sync. */
  diskHadFailed(sinceUs: number): boolean {
    return this.#diskFailed.lastUs + spaceNoticedUs >= sinceUs;
  }

  start(): void {
    if (Object.keys(this.#weights).length > 0) this.#next();
  }

  /** No new faults; resolves when the last one has ended, and everything runs again. Errors: Violation (one doesn't end). */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (let waitedMs = 0; this.#lasting.places > 0; waitedMs += pollMs) {
      if (waitedMs >= endMsMax) {
        throw new Violation("every fault ends", `not within ${endMsMax} ms: ${this.#lasting.names}`);
      }
      await this.#wait(pollMs);
    }
    this.#cluster.world.fabric.healAll();
    for (const server of this.#cluster.servers) server.start();
    for (const client of this.#cluster.clients) client.start();
  }

  #next(): void {
    const strike = () => {
      if (this.#stopped) return;
      const kind = this.#random.weighted(this.#weights as Record<FaultKind, number>);
      if (this.#lasting.places < lastingMax && this.#openCount() <= (clientEnds.has(kind) ? 0 : openMax)) {
        this.#appliedCount += 1;
        this.#lasting.strike(this.#scopeOf(kind));
        if (!countedWhenTheyStrike.has(kind)) this.#count(kind);
        this.#apply(kind);
      }
      this.#next();
    };
    if (this.#appliedCount === this.#calmAt) {
      this.#calmAt += faultsInARow;
      this.#after(this.#random.between(...calmMs), "calm is over", () => this.#next());
      return;
    }
    const factor = this.#intervalFactor;
    if (this.#random.chance(0.4)) this.#after(factor * this.#random.between(...intervalMs), "fault", strike);
    else this.#cluster.world.scheduler.afterSteps(Math.ceil(factor * this.#random.between(...intervalSteps)), strike);
  }

  #scopeOf(kind: FaultKind): Scope {
    if (stalls.has(kind)) return "stall";
    // A store on the same machine is away as well.
    const isAlone =
      (kind === "leaderCrash" || kind === "leaderKill") && !this.#cluster.leader.plan.roles.includes("store");
    return isAlone ? "leader" : "other";
  }

  #apply(kind: FaultKind): void {
    const { servers, stores, leader, clients } = this.#cluster;
    const pick = <T>(items: readonly T[]) => this.#random.pick(items);
    const faults: Readonly<Record<FaultKind, () => void>> = {
      storeCrash: () => this.#amidData(pick(stores), (store) => this.#crash([store], [])),
      leaderCrash: () => this.#crash([leader], [], { scope: this.#scopeOf(kind) }),
      // As with SIGKILL: its connections are reset at once.
      leaderKill: () => this.#crash([leader], [], { scope: this.#scopeOf(kind), power: false }),
      serversCrash: () => this.#amidData(pick(clients), () => this.#crash(servers, [])),
      everythingCrash: () => this.#amidData(pick(clients), () => this.#crash(servers, clients)),
      clientCrash: () => this.#amidData(pick(clients), (client) => this.#crash([], [client])),
      serverPause: () => this.#pause(pick(servers), this.#durationMs()),
      clientPause: () => this.#pause(pick(clients), this.#durationMs()),
      longClientPause: () => this.#pause(pick(clients), this.#random.between(...longPauseMs)),
      isolation: () => {
        this.#amidData(pick([...servers, ...clients]), (victim) => this.#network.isolate(victim, this.#durationMs()));
      },
      longClientIsolation: () => {
        this.#amidData(pick(clients), (client) => {
          this.#network.isolate(client, this.#random.between(...longPauseMs));
        });
      },
      slowLink: () => this.#network.slowDown(this.#durationMs()),
      cutLink: () => this.#network.cut(this.#durationMs()),
      resetConnections: () => this.#network.reset(),
      lateBytes: () => this.#holdUp(pick(clients), pick(servers)),
      diskStall: () => this.#disturbDisk("diskStall"),
      longDiskStall: () => this.#stallForLong(pick(stores)),
      slowDisk: () => this.#slowDown(pick(servers)),
      diskFull: () => this.#disturbDisk("diskFull"),
      syncFailure: () => this.#disturbDisk("syncFailure"),
      indexDamage: () => this.#watched(this.#lose("indexDamage", "index", pick(stores))),
      storeLoss: () => this.#watched(this.#lose("storeLoss", "everything", pick(stores))),
      machineLoss: () => {
        const others = stores.filter(({ plan }) => !plan.roles.includes("metadata"));
        this.#watched(this.#lose("machineLoss", "machine", pick(others)));
      },
      rot: () => this.#watched(this.#letRot("rot")),
      badSector: () => this.#watched(this.#letRot("badSector")),
    };
    faults[kind]();
  }

  /** Mostly when the host's file data is on its way: that is when half of something can be done. */
  #amidData<V extends SimulatedServer | SimulatedClient>(victim: V, strike: (victim: V) => void): void {
    if (this.#random.chance(0.3)) {
      strike(victim);
      return;
    }
    const end = this.#lasting.begin({ name: `a fault that waits for data of ${victim.host.name}`, scope: undefined });
    let struck = false;
    const once = () => {
      if (struck) return;
      struck = true;
      end();
      if (!this.#stopped) strike(victim);
    };
    this.#cluster.world.fabric.onData(victim.host.name, () => {
      this.#after(this.#random.below(this.#random.pick(amidDataUs)) / usPerMs, "amid data", once);
    });
    this.#after(dataWaitMs, "no data", once);
  }

  /** Mostly short, now and then beyond a store's serving time. */
  #durationMs(): number {
    return this.#random.chance(0.7) ? this.#random.between(5, 800) : this.#random.between(800, 5_000);
  }

  #crash(servers: readonly SimulatedServer[], clients: readonly SimulatedClient[], how: Crash = {}): void {
    const { scope, power = this.#random.chance(0.6) } = how;
    for (const victim of [...servers, ...clients]) {
      if (victim.down) continue;
      this.#log("crash", { host: victim.host.name, power });
      victim.kill({ power });
      this.#lasts(`crash of ${victim.host.name}`, this.#durationMs(), () => victim.start(), scope);
    }
  }

  #pause(victim: SimulatedServer | SimulatedClient, forMs: number): void {
    const { incarnation } = victim.host;
    if (incarnation === undefined || incarnation.paused) return;
    this.#log("pause", { host: victim.host.name, forMs });
    if ("silentFor" in victim) victim.silentFor(forMs);
    incarnation.pause();
    this.#lasts(`pause of ${victim.host.name}`, forMs, () => incarnation.resume());
  }

  #holdUp(client: SimulatedClient, server: SimulatedServer): void {
    const dies = this.#openCount() === 0 && this.#random.chance(0.3) ? () => this.#crash([], [client]) : undefined;
    const lateMs = this.#random.chance(0.2) ? this.#random.between(...longPauseMs) : undefined;
    this.#network.holdUp(client, server, { ...(lateMs && { lateMs }), ...(dies && { dies }) });
  }

  /** Beyond the time after which a store gives its disk up. */
  #stallForLong(victim: SimulatedServer): void {
    const forMs = this.#random.between(...longStallMs);
    this.#log("longDiskStall", { host: victim.host.name, forMs });
    this.#stall("longDiskStall", victim, forMs);
  }

  /** What it has can't be reached meanwhile: nobody else's copy may go bad. */
  #stall(kind: FaultKind, { host: { name, medium } }: SimulatedServer, forMs: number): void {
    medium.stalledUntilUs = this.#cluster.world.scheduler.nowUs + forMs * usPerMs;
    this.#lasts(`${kind} of ${name}`, forMs, () => {}, "stall");
  }

  /** It answers, each time late: by some milliseconds, or by what others would call a failure. */
  #slowDown({ host: { name, medium } }: SimulatedServer): void {
    const forMs = this.#random.between(...slowDiskMs);
    const lateMsMax = this.#random.pick([10, 100, 1_000]);
    this.#log("slowDisk", { host: name, forMs, lateMsMax });
    medium.slowUsMax = lateMsMax * usPerMs;
    this.#lasts(`slowDisk of ${name}`, forMs, () => {
      medium.slowUsMax = 0;
    });
  }

  #disturbDisk(kind: "diskStall" | "diskFull" | "syncFailure"): void {
    const victim = this.#random.pick(this.#cluster.servers);
    const { medium } = victim.host;
    const forMs = this.#durationMs();
    this.#log(kind, { host: victim.host.name, forMs });
    if (kind === "diskStall") {
      this.#stall(kind, victim, forMs);
      return;
    }
    if (kind === "diskFull") {
      const before = medium.capacityBytes;
      medium.capacityBytes = medium.usedBytes + this.#random.below(256 * 1024);
      this.#diskFull.begin();
      this.#lasts(`${kind} of ${victim.host.name}`, forMs, () => {
        medium.capacityBytes = Math.max(before, medium.capacityBytes);
        this.#diskFull.end(this.#cluster.world.scheduler.nowUs);
      });
      return;
    }
    medium.failingSyncs = 1;
    this.#diskFailed.begin();
    // A disk that failed once is not used again before someone has looked at it and started the server again.
    this.#lasts(`${kind} of ${victim.host.name}`, forMs, () => {
      medium.failingSyncs = 0;
      this.#diskFailed.end(this.#cluster.world.scheduler.nowUs);
      if (victim.down) return;
      victim.kill({ power: this.#random.chance(0.5) });
      this.#lasts(`crash of ${victim.host.name}`, this.#durationMs(), () => victim.start());
    });
  }

  /** Only while other stores have good copies of what goes bad. */
  async #letRot(how: Decay): Promise<void> {
    if (!this.#isOperated) {
      if ((await this.#losses.isWhole()) && this.#rot.strike(how)) this.#count(how);
      return;
    }
    const isOver = this.#lasting.begin({ name: how, scope: undefined, places: lastingMax });
    for (let waitedMs = 0; waitedMs < aloneMsMax && !this.#stopped; waitedMs += pollMs) {
      const isAlone = this.#lasting.places === lastingMax && !this.#cluster.copyTurns.isTaken;
      if (isAlone && (await this.#rotsAmidChanges(how))) break;
      await this.#wait(pollMs);
    }
    isOver();
  }

  /** Resolves when all of it is good again; with false at once where nothing may rot now. */
  async #rotsAmidChanges(how: Decay): Promise<boolean> {
    const struck = this.#rot.strikeSpare(how);
    if (struck.length === 0) return false;
    const ends = [this.#lasting.begin({ name: how, scope: "other" }), this.#cluster.copyTurns.rotten()];
    this.#count(how);
    await this.#rot.healed(struck, (ms) => this.#wait(ms));
    for (const end of ends) end();
    return true;
  }

  /** Only where others have what it has, and with nothing else until that is so again. */
  async #lose(kind: FaultKind, what: "index" | "everything" | "machine", victim: SimulatedServer): Promise<void> {
    // What went bad elsewhere may be good there only.
    if (this.#lasting.places > 0 || (what !== "index" && !this.#isOperated && this.hasDecayed)) return;
    const name = `${kind} of ${victim.host.name}`;
    const end = this.#lasting.begin({ name, scope: "other", places: lastingMax });
    if (await this.#losses.canLose(what, victim)) {
      this.#count(kind);
      await this.#losses[what](victim);
    }
    end();
  }

  #count(kind: FaultKind): void {
    this.#applied.set(kind, (this.#applied.get(kind) ?? 0) + 1);
  }

  #lasts(name: string, forMs: number, end: () => void, scope: Scope = "other"): void {
    const isOver = this.#lasting.begin({ name, scope });
    this.#after(forMs, "fault ends", () => {
      end();
      isOver();
    });
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#after(delayMs, "faults", resolve));
  }

  #after(delayMs: number, label: string, action: () => void): void {
    this.#cluster.world.scheduler.schedule(delayMs * usPerMs, label, action);
  }

  #log(kind: string, fields: Record<string, string | number | boolean>): void {
    this.#cluster.world.log.add("info", `FAULT ${kind}`, fields);
  }
}
