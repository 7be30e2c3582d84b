/**
 * The store role of a server: the engine on one disk, its methods on the wire, its tie to the metadata leader. Opens no
 * listener: the server that it is part of has one for all its roles.
 */
import { everyStep } from "../errors/every-step.ts";
import type { Label } from "../namespace/model.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import type { Keepers, KnownLedger } from "../wire/catalogue/handshake.ts";
import type { GroupView } from "../wire/catalogue/leader.ts";
import { readKnownLedger } from "../wire/catalogue/registration.ts";
import { connectPeer, type Identity } from "../wire/connect.ts";
import { registerProcessMethods } from "../wire/process-methods.ts";
import { Service } from "../wire/service.ts";
import { AbandonedGroups } from "./abandoned-groups.ts";
import { Admission } from "./admission.ts";
import { CatchUps } from "./catch-up.ts";
import { type Damage, noteIfGone } from "./damage.ts";
import { FormerCopies } from "./former-copies.ts";
import { registerHandlers } from "./handlers.ts";
import { LateMembers } from "./late-members.ts";
import { LeaderLink } from "./leader-link.ts";
import { defaultHealBytesPerSecond, Pace } from "./pace.ts";
import { Repair } from "./repair.ts";
import { defaultScrubBytesPerSecond, defaultScrubMs, Scrub } from "./scrub.ts";
import { ScrubComparison } from "./scrub-comparison.ts";
import { Store } from "./store.ts";
import { readLeaderTerm } from "./store-directory.ts";
import { registerStoreGauges, storeWaits } from "./store-waits.ts";
import { WatchedDisk } from "./watched-disk.ts";

/** Of other members; on one machine or in one room a connection is there in milliseconds. */
const connectTimeoutMs = 2_000;

/** After a client's request it counts as at work for so long. */
const busyMs = 500;

export interface StoreServerOptions {
  /** The store's own directory, made if it is missing: `segments/`, `index.sqlite`. */
  readonly directory: string;
  /** What is known of the leader is kept here, too, should the store's directory be emptied. Default: there alone. */
  readonly besideDirectory?: string;
  readonly serverId: string;
  readonly clusterId: string;
  /** Where clients and other stores reach it. */
  readonly address: Address;
  /** Servers of which one is the leader. */
  readonly leaders: readonly Address[];
  /** A leader has told of others: they are to be known after a restart, too. */
  readonly onLeaders?: (addresses: readonly Address[]) => void;
  readonly pid: number;
  /** `host`, `rack`, … Default: none. */
  readonly labels?: readonly Label[];
  /** Most bytes a second that are copied from other members; a quarter while clients are at work. */
  readonly healBytesPerSecond?: number;
  /** Each block is read from the disk, checked and compared within this time. Default: 14 days. */
  readonly scrubMs?: number;
  /** Most bytes a second that an ordered scrub reads; a quarter while clients are at work. */
  readonly scrubBytesPerSecond?: number;
  /** Roles of the whole server, for `brine status`. */
  readonly roles: readonly string[];
  /** Default: by the size of the disk. */
  readonly segmentBytes?: number;
  /** Serve what is left where it has lost data of the only copy (damage.ts). Default: no. */
  readonly acceptLoss?: boolean;
  /** It was there before: an empty directory has lost everything (damage.ts). Default: no. */
  readonly mustExist?: boolean;
  /** Serves what the leader asks over the store's own connection. Default: a new one. */
  readonly linkService?: Service;
}

export class StoreServer {
  readonly #store: Store;
  readonly #admission: Admission;
  readonly #catchUps: CatchUps;
  readonly #repair: Repair;
  readonly #abandoned: AbandonedGroups;
  readonly #link: LeaderLink;
  readonly #scrub: Scrub;
  /** Over which requests come in. */
  readonly #services: Service[] = [];

  /**
   * Opens the disk, then looks for the leader in the background; requests are refused with notServing until it is found.
   * Errors: diskFailed, versionMismatch.
   */
  static async start(platform: Platform, options: StoreServerOptions): Promise<StoreServer> {
    const { directory, besideDirectory, segmentBytes, mustExist = false } = options;
    const disk = new WatchedDisk(platform.disk, platform.clock);
    const watched = { ...platform, disk };
    if (mustExist) await noteIfGone(watched, directory);
    const store = await Store.open(watched, { directory, ...(segmentBytes !== undefined && { segmentBytes }) });
    try {
      return new StoreServer(watched, options, store, await readLeaderTerm(watched, directory, besideDirectory));
    } catch (error) {
      await store.close();
      throw error;
    }
  }

  private constructor(
    platform: Platform & { readonly disk: WatchedDisk },
    options: StoreServerOptions,
    store: Store,
    known: KnownLedger,
  ) {
    this.#store = store;
    this.#admission = new Admission(platform.clock, store);
    const { serverId, clusterId, pid } = options;
    const identity: Identity = { role: "store", clusterId, peerId: serverId, description: `store pid ${pid}, copying` };
    const connect = (member: Address) => connectPeer(platform, member, identity, new Service(), connectTimeoutMs);
    const reportCaughtUp = (group: number, generation: number) => this.#link.reportCaughtUp(group, generation);
    const isBusy = () => platform.clock.nowMs() - this.#admission.enteredMs < busyMs;
    const healBytesPerSecond = options.healBytesPerSecond ?? defaultHealBytesPerSecond;
    const pace = new Pace(platform.clock, () => healBytesPerSecond, isBusy);
    const logger = platform.logger.for("store");
    const storeNumber = () => this.#admission.storeNumber;
    const { clock } = platform;
    const lateMembers = new LateMembers(clock);
    const repair = new Repair({ store, logger, storeNumber, connect, lateMembers });
    this.#repair = repair;
    const copying = { connect, reportCaughtUp, pace, repair };
    this.#catchUps = new CatchUps({ platform, store, admission: this.#admission, ...copying });
    const former = new FormerCopies({ store, logger, connect });
    this.#abandoned = new AbandonedGroups({ store, clock, logger, former, storeNumber });
    const judge = (chunks: number[], sessions: number[]) => this.#link.judgeDifferences(chunks, sessions);
    const comparing = { clock, logger, connect, judge, lateMembers };
    const comparison = new ScrubComparison({ store, admission: this.#admission, ...comparing });
    this.#scrub = new Scrub({
      ...{ store, repair, comparison, clock, logger, isBusy },
      scrubMs: options.scrubMs ?? defaultScrubMs,
      bytesPerSecond: options.scrubBytesPerSecond ?? defaultScrubBytesPerSecond,
    });
    const service = options.linkService ?? new Service();
    this.register(service);
    registerProcessMethods(service, platform, () => storeWaits(this.#services, store, platform.clock.nowMs()));
    registerStoreGauges(platform.metrics, store);
    this.#link = new LeaderLink(platform, options, {
      ...{ store, admission: this.#admission, service, known },
      catchUps: this.#catchUps,
      disk: platform.disk,
      health: () => ({
        repairedBlocks: store.badBlocks.repaired,
        badRanges: store.failure === undefined ? store.badBlocks.now() : [],
        scrub: this.#scrub.report(),
      }),
      onGroups: this.#onGroups,
      keep: (groups) => this.#abandoned.keep(groups),
    });
    store.onFailure = () => this.#link.tellFailure();
    this.#link.start();
    this.#scrub.start();
  }

  /** Who keeps the metadata, as a leader has told this store. */
  get keepers(): Keepers {
    return this.#link.keepers;
  }

  /** What the store has lost, as long as the leader doesn't know. */
  get damage(): Damage | undefined {
    return this.#store.damage;
  }

  /** What is in it; for checkers and faults. */
  get contents(): Pick<Store, "chunksFrom" | "peek" | "lastCommitStart"> {
    return this.#store;
  }

  /** True if it knows of sessions and refuses this one; for checkers. */
  refuses(session: number): boolean {
    return this.#admission.storeNumber !== undefined && !this.#admission.isLive(session);
  }

  /** The groups in which it answers clients now, as it knows them; for checkers. */
  answeredGroups(): { readonly store: number; readonly views: readonly GroupView[] } {
    const isAble = this.#admission.isServing && this.#store.failure === undefined;
    const views = isAble ? [...this.#store.groups.values()] : [];
    const answered = views.filter((view) => this.#admission.isAnswering(view));
    return { store: this.#admission.storeNumber ?? 0, views: answered };
  }

  /** Adds the store's methods to those of its server. */
  register(service: Service): void {
    this.#services.push(service);
    service.handle(readKnownLedger, () => this.#link.ledger, { roles: ["leader"] });
    registerHandlers(service, {
      store: this.#store,
      admission: this.#admission,
      catchUps: this.#catchUps,
      repair: this.#repair,
      onGroups: this.#onGroups,
      scrub: this.#scrub,
    });
  }

  readonly #onGroups = (): void => {
    this.#abandoned.look();
    this.#repair.lookAgain();
  };

  /** Serves nothing more, and has the others go on without it: before requests are refused. `stop` follows. */
  leave(): Promise<void> {
    return this.#link.leave();
  }

  /** Finishes what is under way and closes the disk, also where some of it fails. Errors: those of the disk, as where it is full. */
  stop(): Promise<void> {
    const parts = [this.#link, this.#scrub, this.#catchUps, this.#abandoned, this.#repair];
    return everyStep([...parts.map((part) => () => part.stop()), () => this.#store.close()]);
  }
}
