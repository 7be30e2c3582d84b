/** A `brine server` on a simulated host: started as the command line starts it, and started again when it dies. */
import { strict as assert } from "node:assert";
import { type BrineError, hasCode } from "../errors/brine-error.ts";
import { Voter } from "../ledger/copies/voter.ts";
import { segmentName } from "../log/segment-format.ts";
import { MetadataRole } from "../metadata/metadata-role.ts";
import type { MetadataServer } from "../metadata/metadata-server.ts";
import type { Timeouts } from "../metadata/timeouts.ts";
import { DiskError } from "../platform/disk.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { StoreServer } from "../store/store-server.ts";
import type { LedgerRule } from "../wire/catalogue/ledger.ts";
import { laterKeepers } from "../wire/handshake.ts";
import { listenPeers } from "../wire/listen.ts";
import { Service } from "../wire/service.ts";
import { usualLeaseLimits } from "./checkers/lease-bounds.ts";
import type { Hooks } from "./hooks.ts";
import type { Incarnation } from "./incarnation.ts";
import { ServerPlace } from "./server-place.ts";
import type { SimulatedHost, World } from "./simulated-platform.ts";
import { StoredBlocks } from "./stored-blocks.ts";

/** The supervisor of a real server waits before it starts one again that failed to start. */
const restartUs = 500_000;
/** Small segments, so that a short simulation fills, punches and removes some. */
const segmentBytes = 8 * 1024 * 1024;
/** Reasons of an end that are no defect: the disk, or another server leads. */
const harmlessEnds = ["diskFailed", "noSpace", "notLeader", "notServing"] as const;

export interface ServerPlan {
  readonly name: string;
  readonly roles: readonly ("metadata" | "store")[];
  /** Of a metadata server, where it isn't the default. */
  readonly timeouts?: Partial<Timeouts>;
  /** It joins with metadata, as the ledger's copy, and this is what holds when one of the two is lost. */
  readonly copies?: LedgerRule;
}

export class SimulatedServer {
  readonly plan: ServerPlan;
  readonly address: Address;
  readonly host: SimulatedHost;
  readonly #world: World;
  readonly #hooks: Hooks;
  /** Servers with metadata, as they are remembered on its disk. */
  #leaders: readonly Address[];
  readonly #onDefect: (error: Error) => void;
  #everStarted = false;
  readonly #place: ServerPlace;
  /** What it is losing for good just now; others are to leave it alone. */
  losing: "store" | "machine" | undefined;
  /** A fault has damaged its store, which doesn't know the end of it yet. */
  #isDamaged = false;
  #serving = false;
  /** It is gone for good: nobody starts it again. */
  #isGone = false;
  /** True while somebody wants it down. */
  #down = true;
  #diedSilently = false;
  #backFromSilenceUs = Number.NEGATIVE_INFINITY;
  #metadata: MetadataRole | undefined;
  #store: StoreServer | undefined;
  #parts: { stop(): Promise<void> }[] = [];

  /** `onDefect` gets a start that failed without a failing disk. */
  constructor(
    world: World,
    plan: ServerPlan,
    leaders: readonly Address[],
    hooks: Hooks,
    onDefect: (error: Error) => void,
  ) {
    this.#world = world;
    this.plan = plan;
    this.host = world.host(plan.name);
    this.#place = new ServerPlace(this.host);
    this.address = addressOf(plan);
    this.#leaders = leaders;
    this.#hooks = hooks;
    this.#onDefect = onDefect;
  }

  /** The metadata's database. */
  get statePath(): string {
    return `${this.#place.directory}/metadata/state.sqlite`;
  }

  get serving(): boolean {
    return this.#serving;
  }

  get down(): boolean {
    return this.#down;
  }

  /** When its machine came back from a loss of power, the last time: who was connected finds out by sending something. */
  get backFromSilenceUs(): number {
    return this.#backFromSilenceUs;
  }

  /** The metadata server that leads here now, for checkers. */
  get metadata(): MetadataServer | undefined {
    return this.#serving ? this.#metadata?.server : undefined;
  }

  /** True if a store that runs here refuses the session. */
  refuses(session: number): boolean {
    return this.#serving && this.#store?.refuses(session) === true;
  }

  /** The groups in which a store that runs here answers clients; undefined: none runs. */
  get answeredGroups(): ReturnType<StoreServer["answeredGroups"]> | undefined {
    return this.#serving ? this.#store?.answeredGroups() : undefined;
  }

  /** Since when the oldest operation on the store's files has no answer from the disk. */
  get unansweredSinceUs(): number | undefined {
    return this.host.medium.unansweredSinceUs(`${this.#place.storePath}/`);
  }

  /** What its store has; undefined: none runs. */
  get blocks(): StoredBlocks | undefined {
    if (!this.#serving || this.#store === undefined) return undefined;
    const { storePath } = this.#place;
    return new StoredBlocks(this.#store.contents, (segment) =>
      this.host.medium.file(`${storePath}/segments/${segmentName(segment)}`),
    );
  }

  /** Its store's index makes no sense any more; the server must be down. */
  damageIndex(): void {
    this.host.database(`${this.#place.storePath}/index.sqlite`).damaged = true;
    this.#isDamaged = true;
  }

  /** Its store begins in an empty directory, or another machine in its place; the server must be down. */
  loseStore(what: "store" | "machine"): void {
    assert.ok(this.#down, `${this.plan.name} runs on what would be lost`);
    this.#place.lose(what);
    this.#isDamaged = what === "store";
  }

  /** What was lost last is there again; the server must be down. */
  findStore(): void {
    this.#place.find();
    this.#isDamaged = false;
  }

  /** What was lost last is never found again. */
  forgetLostStore(): void {
    this.#place.forget();
  }

  /** Ledger and state are gone; the server must be down. */
  loseMetadata(): void {
    assert.ok(this.#down, `${this.plan.name} runs on what would be lost`);
    this.host.removeFolder(`${this.#place.directory}/metadata`);
  }

  /** Boots the host and starts the roles; again and again, until they run. */
  start(): void {
    if (!this.#down || this.#isGone) return;
    this.#down = false;
    this.#boot();
  }

  /** The machine is lost. */
  lose(): void {
    this.#isGone = true;
    this.kill({ power: true });
  }

  kill(options: { power: boolean }): void {
    this.#down = true;
    this.#serving = false;
    this.#diedSilently ||= options.power;
    this.host.kill(options);
  }

  /** Stops as on SIGTERM. */
  async stop(): Promise<void> {
    for (const part of this.#parts.splice(0).reverse()) await part.stop();
    this.kill({ power: false });
  }

  #boot(): void {
    const { incarnation, platform } = this.host.boot();
    this.#parts = [];
    if (this.#diedSilently) this.#backFromSilenceUs = this.#world.scheduler.nowUs;
    this.#diedSilently = false;
    this.#start(this.#hooks.platform?.(this.plan.name, platform) ?? platform, incarnation).then(
      () => {
        this.#serving = true;
        this.#everStarted ||= this.plan.roles.includes("metadata");
        if (this.plan.roles.includes("store")) this.#place.storeIsMade();
      },
      (error: Error) => {
        this.#world.log.add("warn", `${incarnation.name} did not start`, { error: error.stack ?? error.message });
        this.#startAgain(error);
      },
    );
  }

  /** As a supervisor does with a process that has ended by itself. */
  #startAgain(error: Error): void {
    this.#serving = false;
    this.host.kill({ power: false });
    if (!hasCode(error, ...harmlessEnds) && !(error instanceof DiskError)) this.#onDefect(error);
    this.#world.scheduler.schedule(restartUs, `${this.plan.name} starts again`, () => {
      if (!this.#down && this.host.incarnation === undefined) this.#boot();
    });
  }

  async #start(platform: Platform, incarnation: Incarnation): Promise<void> {
    const { directory, serverId } = this.#place;
    await platform.disk.makeDirectory(directory);
    await platform.disk.lockDirectory(directory);
    const newService = () => this.#hooks.service?.(this.plan.name) ?? new Service();
    const service = newService();
    const ids = { clusterId: clusterId, serverId };
    const common = { ...ids, address: this.address, pid: incarnation.pid };
    const voter = await Voter.open(platform, { path: `${directory}/ballot`, serverId: ids.serverId });
    voter.register(service);
    let isReachable = false;
    let metadata: MetadataRole | undefined;
    if (this.plan.roles.includes("metadata")) {
      // A start that failed half-way may have made the cluster or not: only what was served is known to be there.
      const createCluster = !this.#everStarted && (await isFresh(platform, `${directory}/metadata`));
      metadata = await MetadataRole.start(platform, {
        ...common,
        directory: `${directory}/metadata`,
        createCluster,
        isReachable: () => isReachable,
        voter,
        leaders: this.plan.copies === undefined ? [] : this.#leaders.filter((leader) => leader !== this.address),
        rule: this.plan.copies ?? "preferred",
        onEnd: (error) => this.#roleEnded(incarnation, error),
        ...(this.plan.timeouts && { timeouts: this.plan.timeouts }),
        leaseBounds: (this.#hooks.leaseLimits?.(usualLeaseLimits) ?? usualLeaseLimits).leader,
      });
      this.#parts.push(metadata);
      this.#metadata = metadata;
      metadata.register(service);
    }
    let store: StoreServer | undefined;
    if (this.plan.roles.includes("store")) {
      store = await StoreServer.start(platform, {
        ...common,
        directory: this.#place.storePath,
        leaders: this.#leaders,
        onLeaders: (known) => {
          this.#leaders = known;
        },
        roles: this.plan.roles,
        segmentBytes,
        mustExist: this.#place.hadStore,
        linkService: newService(),
      });
      this.#parts.push(store);
      const { damage } = store;
      if (damage?.loss === "certain" && !this.#isDamaged) {
        throw new Error(`a store has lost data, and nobody has damaged it: ${damage.reason}`);
      }
      this.#isDamaged &&= damage !== undefined;
      this.#store = store;
      store.register(service);
    }
    const identity = () => ({
      ...ids,
      term: metadata?.term ?? 0,
      origin: metadata?.origin,
      keepers: laterKeepers(voter.keepers, store?.keepers),
    });
    const listener = await listenPeers(platform, this.address, { identity, service });
    isReachable = true;
    this.#parts.push({ stop: () => listener.close() });
    // As server-start.ts.
    this.#parts.push({ stop: async () => (metadata?.server === undefined ? await this.#store?.leave() : undefined) });
  }

  #roleEnded(incarnation: Incarnation, error: BrineError): void {
    if (!incarnation.alive || this.#down) return;
    this.#world.log.add("warn", `${incarnation.name}: the metadata role has ended`, { error: error.message });
    this.#startAgain(error);
  }
}

export const clusterId = "5".repeat(32);

export function addressOf(plan: ServerPlan): Address {
  return `${plan.name}:7000`;
}

async function isFresh(platform: Platform, directory: string): Promise<boolean> {
  return (await platform.disk.list(`${directory}/ledger`)).length === 0;
}
