/**
 * One simulation: a cluster, applications on two clients, faults, then peace; and all promises checked.
 *
 * 1. Everything starts; the volume is made and mounted.
 * 2. Applications work, faults happen. Every outcome is checked as it returns (checkers/linearizability.ts).
 * 3. Faults end. Every operation must end within a bound (liveness), all members must be in sync again, sessions of
 *    dead clients must be gone, what was deleted must be deleted.
 * 4. Both clients look at everything. The members are compared.
 * 5. The power of all servers fails; they start again; everything is looked at again: what was acknowledged is there.
 * 6. The clients unmount. The members are compared once more, the servers stop, and the namespace is looked at.
 */
import type { ClusterStatus } from "../wire/catalogue/admin.ts";
import { Service } from "../wire/service.ts";
import { makeApplications } from "./applications.ts";
import { audit } from "./audit.ts";
import { keepChecking } from "./checkers/chunks.ts";
import { CopiesWatch } from "./checkers/copies.ts";
import { HindsightChecker, shorteningOf } from "./checkers/hindsight.ts";
import { checkCopiesEqual } from "./checkers/leaders.ts";
import { LeaseBoundsWatch, type LeaseLimits, leaseLimitsFor } from "./checkers/lease-bounds.ts";
import { checkCaches } from "./checkers/leases.ts";
import { type ChunkPlaces, whenMembersEqual } from "./checkers/members.ts";
import { checkMetadata } from "./checkers/metadata.ts";
import { StalledDisks } from "./checkers/stalled-disks.ts";
import { Undecided, Violation } from "./checkers/violation.ts";
import { WaitsWatch } from "./checkers/waits.ts";
import { layoutFor, rootMode, SimulatedCluster } from "./cluster.ts";
import { Faults } from "./faults.ts";
import type { FileOperation } from "./file-operation.ts";
import type { Hooks } from "./hooks.ts";
import { replicasAtRest } from "./member-changes.ts";
import { Model } from "./model.ts";
import { takesSpace } from "./model-data.ts";
import { owner } from "./model-operations.ts";
import { type Mount, MountDied } from "./mount.ts";
import { Operator } from "./operator.ts";
import { Recorder, type Tolerance } from "./recorder.ts";
import { checkScrubbed } from "./rot.ts";
import type { SimulatedClient } from "./simulated-mount.ts";
import { World } from "./simulated-platform.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { SimulationOptions, SimulationResult } from "./simulation-result.ts";
import { StepChecks } from "./step-checks.ts";

/** A start, a recall, a failover, a catch-up each take seconds; everything must be over long before. */
const livenessMs = 120_000;
/** Faults may leave the applications little time: then fewer operations have to do. */
const workMsMax = 300_000;
/** No simulation lasts so long, unless it runs in circles. */
const virtualMsMax = 3_600_000;
const pollMs = 500;
/** After the last operation, until everything is written and given back, and heartbeats that a loss of power met had their time-out (4 s). */
const quietMs = 5_000;
/** Where some servers with metadata are gone for good: each costs a client seconds on its way to the leader. */
const quietWithCopiesMs = 15_000;
const firstVolume = 1;
/** A few segments, and the reserve: the applications fill them. */
const smallDiskMebibytes = [24, 48] as const;
/** What a server says of a session is so old at most when it is judged. */
const settledMs = 200;
/** A client whose session is fenced, and that asks no store for so long, won't learn of it. */
const fencedMsMax = 20_000;

export async function simulate(options: SimulationOptions): Promise<SimulationResult> {
  return new Simulation(options).run();
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #world: World;
  readonly #random: SimulatedRandom;
  readonly #cluster: SimulatedCluster;
  readonly #faults: Faults;
  readonly #copiesWatch: CopiesWatch;
  readonly #stalledDisks: StalledDisks;
  readonly #leaseBounds: LeaseBoundsWatch;
  readonly #waits: WaitsWatch;
  /** Somebody changes the cluster meanwhile. */
  readonly #isOperated: boolean;
  readonly #deadMounts = new Set<string>();
  /** Mounts whose session may have ended, with its number. */
  readonly #riskyMounts = new Map<string, number>();
  /** Hosts of clients that were told that there is no space. */
  readonly #withoutSpace = new Set<string>();
  /** Mounts that have lost a session. */
  readonly #survivors = new Set<string>();
  #checker: HindsightChecker | undefined;
  #operator: Operator | undefined;
  #recorder: Recorder | undefined;
  #failure: Error | undefined;
  #isScrubbed = false;
  #leftBehind = 0;
  #phase = "start";

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#world = new World(options.seed, options.logLevel);
    this.#random = this.#world.scheduler.random.fork("simulation");
    this.#isOperated = options.members === true || options.rules === true || options.copies === true;
    const layout = layoutFor(options, this.#random);
    this.#copiesWatch = new CopiesWatch(() => this.#world.scheduler.nowUs);
    const limits = leaseLimitsFor(options, this.#random);
    this.#leaseBounds = new LeaseBoundsWatch(limits);
    this.#cluster = new SimulatedCluster(this.#world, layout, ["one", "two"], this.#hooks(limits), {
      onClientDeath: (mount) => {
        this.#deadMounts.add(mount);
        this.#riskyMounts.delete(mount);
        this.#checker?.clientDied(mount);
      },
      onSessionAtRisk: (mount, session) => {
        this.#riskyMounts.set(mount, session);
        this.#checker?.sessionAtRisk(mount);
      },
      onDefect: (error) => {
        this.#failure ??= new Violation("a server starts again after any crash", error.stack ?? error.message);
      },
    });
    if (options.full) {
      for (const { host } of this.#cluster.stores) {
        host.medium.capacityBytes = this.#random.between(...smallDiskMebibytes) * 1024 ** 2;
      }
    }
    this.#waits = new WaitsWatch(this.#cluster, firstVolume);
    this.#stalledDisks = new StalledDisks(this.#cluster);
    this.#faults = new Faults(this.#cluster, this.#random.fork("faults"), options.faults, {
      openCount: () => this.#checker?.openCount ?? 0,
      isOperated: this.#isOperated,
      watched: (work) => void this.#watched(work),
    });
  }

  async run(): Promise<SimulationResult> {
    const { scheduler } = this.#world;
    let finished = false;
    this.#story().then(
      () => {
        finished = true;
      },
      (error: Error) => {
        this.#failure = error;
      },
    );
    try {
      const over = () => finished || this.#failure !== undefined;
      const end = await scheduler.run(over, { untilUs: virtualMsMax * 1_000 });
      if (end !== "finished") this.#failure = new Violation("liveness", `${end} in phase “${this.#phase}”`);
    } catch (error) {
      this.#failure = error as Error;
    }
    return {
      seed: this.#options.seed,
      digest: scheduler.digest(),
      operations: this.#recorder?.count ?? 0,
      faults: this.#faults.applied,
      ledgerChanges: this.#operator?.ledgerChanges ?? new Map(),
      events: scheduler.steps,
      virtualMs: Math.round(scheduler.nowUs / 1_000),
      configurations: this.#checker?.configurationsMost ?? 0,
      leftBehind: this.#leftBehind,
      withoutSpace: this.#withoutSpace,
      stalledDisksSeen: this.#stalledDisks.seen,
      longestWaitMs: this.#waits.longestMs,
      cutByGuard: this.#cluster.clients.reduce((sum, { cutCount }) => sum + cutCount, 0),
      leasesKeptMost: this.#leaseBounds.keptMost,
      undecided: this.#failure instanceof Undecided,
      failure: this.#failure === undefined || this.#failure instanceof Undecided ? undefined : { error: this.#failure },
      history: this.#recorder?.tail() ?? [],
      log: this.#world.log.lines,
    };
  }

  async #story(): Promise<void> {
    const replicas = this.#isOperated || this.#options.full ? replicasAtRest : undefined;
    await this.#within("start", this.#cluster.start(replicas));
    const { root } = await this.#cluster.clients[0]!.mount();
    const shortening = shorteningOf(this.#options, this.#faults.mayFillDisks);
    const checker = new HindsightChecker(Model.withRoot(root, rootMode, owner.uid, owner.gid), shortening);
    this.#checker = checker;
    const recorder = new Recorder(this.#world.scheduler, checker, (...what) => this.#tolerance(...what));
    this.#recorder = recorder;

    const untilUs = this.#world.scheduler.nowUs + workMsMax * 1_000;
    const enough = () =>
      recorder.count >= this.#options.operations ||
      this.#world.scheduler.nowUs >= untilUs ||
      this.#failure !== undefined;
    const applications = makeApplications(this.#options, this.#cluster, { recorder, checker }, this.#random).map(
      (application) => application.work(enough),
    );
    const work = this.#watched(Promise.all(applications));
    this.#faults.start();
    const mourning = this.#watched(this.#mourn(enough));
    void this.#watched(keepChecking(this.#cluster, (ms) => this.#wait(ms), enough));
    const wait = (ms: number) => this.#wait(ms);
    const operator = new Operator(this.#options, this.#cluster, this.#random, wait, firstVolume, this.#copiesWatch);
    this.#operator = operator;
    await operator.start();
    const changes = this.#watched(operator.run(enough));
    this.#watchSteps(operator);
    this.#phase = "work";
    while (!enough()) await this.#wait(pollMs);
    await this.#faults.stop();
    await this.#within("changes end", changes);
    await this.#within("operations end", work);
    await this.#within("members in sync", this.#cluster.whole());
    await this.#within("sessions of the dead gone", mourning);
    await this.#within("rules applied", operator.settle());
    if (this.#faults.hasDecayed) await this.#within("scrub", this.#scrub());
    await this.#within("audit", this.#auditAll());
    await this.#within("members equal", this.#compareMembers());

    for (const server of this.#cluster.servers) server.kill({ power: true });
    for (const server of this.#cluster.servers) server.start();
    await this.#within("audit after a loss of power", this.#auditAll());
    await this.#within("unmount", this.#cluster.unmount());
    await this.#within("members in sync at the end", this.#cluster.whole());
    const places = await this.#within("members equal at the end", this.#compareMembers());
    const { leader, metadataServers } = this.#cluster;
    await this.#within("servers stop", this.#stopServers());
    checkCopiesEqual(metadataServers.map(({ host, statePath }) => host.database(statePath)));
    const state = leader.host.database(leader.statePath).open();
    this.#leftBehind = checkMetadata(state, places);
    operator.check(state);
  }

  #watchSteps(operator: Operator): void {
    new StepChecks({
      ...{ cluster: this.#cluster, volume: firstVolume, faults: this.#faults, operator, isOperated: this.#isOperated },
      ...{ copiesWatch: this.#copiesWatch, stalledDisks: this.#stalledDisks, leaseBounds: this.#leaseBounds },
      ...{ waits: this.#waits, recorder: this.#recorder! },
      onFailure: (error) => {
        this.#failure ??= error;
      },
    }).start();
  }

  /** Those of the test, around which what servers answer is watched. */
  #hooks(limits: LeaseLimits): Hooks {
    const { members, rules } = this.#options;
    const { leaseLimits = (meant: LeaseLimits) => meant, ...others } = this.#options.hooks ?? {};
    const hooks: Hooks = { ...others, leaseLimits: () => leaseLimits(limits) };
    // Rules make groups with copies of their own.
    if (!members || rules) return hooks;
    const service = (server: string) => this.#copiesWatch.observe(server, hooks.service?.(server) ?? new Service());
    return { ...hooks, service };
  }

  #tolerance(mount: Mount, errno: string, calledUs: number, operation: FileOperation): Tolerance {
    if (errno === "ENOTCONN" && mount.kernel.isCut) return "mayHaveHappened";
    // What fails because a session ended is not part of the file system's answers; the mount goes on with the next one.
    if (this.#hadRisk(mount) && ["EIO", "ESTALE"].includes(errno)) return "mayHaveHappened";
    if (this.#operator?.refuses(errno) === true) return "refused";
    if (errno === "EIO" && this.#faults.diskHadFailed(calledUs)) return "mayHaveHappened";
    if (errno === "EIO" && !this.#isScrubbed && this.#faults.mayHideGoodCopies) return "mayHaveHappened";
    if (errno !== "ENOSPC") return "no";
    if (this.#faults.diskWasFull(calledUs)) return "mayHaveHappened";
    // Only who writes is told: what was answered is never lost to a full disk.
    if (!this.#options.full || !takesSpace(operation)) return "no";
    this.#withoutSpace.add(mount.name.split("#")[0]!);
    return "mayHaveHappened";
  }

  /** True if a session of the mount has ended or may have: handles from before may still be in use. */
  #hadRisk(mount: Mount): boolean {
    return this.#riskyMounts.has(mount.name) || this.#survivors.has(mount.name);
  }

  /**
   * Finds out what has become of sessions: of the dead, and of those that were at risk. When the leader has ended the session
   * of a client that died, what that client had under way has happened or never will; somebody then looks, so that the
   * checker knows which. Resolves when nothing is open.
   */
  async #mourn(enough: () => boolean): Promise<void> {
    while (!enough() || this.#deadMounts.size > 0 || this.#riskyMounts.size > 0) {
      await this.#wait(pollMs);
      if (this.#deadMounts.size === 0 && this.#riskyMounts.size === 0) continue;
      const dead = [...this.#deadMounts];
      const risky = this.#cluster.clients.filter(({ backFromRiskMs }) => backFromRiskMs !== undefined);
      const { sessions } = await this.#cluster.status();
      for (const client of risky) await this.#judgeRisk(client, sessions);
      for (const mount of dead.filter((name) => sessions.every(({ host }) => host !== name))) {
        this.#deadMounts.delete(mount);
        await this.#sessionEnded(mount);
      }
    }
  }

  /** `sessions`: those that the leader had a moment ago. */
  async #judgeRisk(client: SimulatedClient, sessions: ClusterStatus["sessions"]): Promise<void> {
    const mount = client.current;
    const session = mount && this.#riskyMounts.get(mount.name);
    const backMs = client.backFromRiskMs;
    if (mount === undefined || session === undefined || backMs === undefined) return;
    const known = sessions.find((one) => one.session === session);
    const lives = known !== undefined;
    // Stores had fenced it for a leader that died before it had ended it: when the client learns of it, this one runs out.
    if (lives && this.#cluster.isFenced(session)) {
      if (backMs > fencedMsMax) client.replace(mount);
      return;
    }
    // One that hasn't been heard of since may still end, and its client may have given it up.
    const { id, live } = mount.client.session;
    if (lives && (known.heardMsAgo + settledMs > backMs || !live || id !== session)) return;
    this.#riskyMounts.delete(mount.name);
    client.riskIsOver();
    if (lives) {
      this.#checker!.sessionGoesOn(mount.name);
    } else {
      this.#survivors.add(mount.name);
      await this.#sessionEnded(mount.name);
    }
  }

  /** Looks at everything that may have been lost, so that little stays open. */
  async #sessionEnded(name: string): Promise<void> {
    const checker = this.#checker!;
    const doubts = new Set(checker.unsyncedInodes(name));
    for (const { operation } of checker.abandonedBy(name)) {
      for (const field of ["inode", "parent", "newParent"] as const) {
        const inode = (operation as { [key in typeof field]?: number })[field];
        if (inode !== undefined) doubts.add(inode);
      }
    }
    checker.sessionEnded(name);
    try {
      await audit(await this.#random.pick(this.#cluster.clients).mount(), this.#recorder!, checker, doubts);
    } catch (error) {
      if (!(error instanceof MountDied)) throw error;
    }
  }

  async #auditAll(): Promise<void> {
    for (const client of this.#cluster.clients) await this.#audit(client);
    await this.#mourn(() => true);
    await this.#wait(this.#options.copies ? quietWithCopiesMs : quietMs);
    const { metadata } = this.#cluster.leader;
    if (metadata !== undefined) checkCaches(this.#cluster.mounts, metadata, firstVolume);
  }

  async #audit(client: SimulatedClient): Promise<void> {
    for (;;) {
      const mount = await client.mount();
      try {
        await audit(mount, this.#recorder!, this.#checker!);
        return;
      } catch (error) {
        if (!(error instanceof MountDied)) throw error;
        client.replace(mount);
      }
    }
  }

  async #scrub(): Promise<void> {
    await checkScrubbed(this.#cluster);
    this.#isScrubbed = true;
  }

  #compareMembers(): Promise<ChunkPlaces> {
    const { platform } = this.#world.host("checker").reboot();
    return whenMembersEqual(
      platform,
      () => this.#cluster.status(),
      () => this.#wait(pollMs),
    );
  }

  /** The leader first: what it still writes, its copy gets. */
  async #stopServers(): Promise<void> {
    for (const server of new Set([this.#cluster.leader, ...this.#cluster.servers])) await server.stop();
  }

  /** Its failure is the simulation's, whether or not somebody waits for it. */
  #watched<T>(work: Promise<T>): Promise<T> {
    work.catch((error: Error) => {
      this.#failure ??= error;
    });
    return work;
  }

  /** Liveness: what is waited for must happen within a bound. */
  async #within<T>(phase: string, promise: Promise<T>): Promise<T> {
    this.#phase = phase;
    this.#world.log.add("info", `PHASE ${phase}`);
    let over = false;
    const limit = this.#world.scheduler.schedule(livenessMs * 1_000, "liveness", () => {
      if (!over) this.#failure ??= new Violation("liveness", `“${phase}” did not happen within ${livenessMs} ms`);
    });
    try {
      return await promise;
    } finally {
      over = true;
      limit.cancel();
    }
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => this.#world.scheduler.schedule(delayMs * 1_000, "wait", resolve));
  }
}
