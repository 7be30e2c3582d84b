/**
 * The metadata server: the leader over ledger and namespace. This file starts and ends it.
 *
 *     methods.ts ──► sessions, transactions, queries, leases and holds, store reports, admin
 *                        │                                     │
 *                        ▼                                     ▼
 *                    committer ──► ledger, namespace      stores, groups, ending of sessions, reaper
 */
import { BrineError } from "../errors/brine-error.ts";
import { openFileLedger } from "../ledger/file/file-ledger.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { GroupRecord, InodeRecord, QuotaRecord } from "../namespace/model.ts";
import { Namespace } from "../namespace/namespace.ts";
import type { Amount } from "../namespace/usage.ts";
import type { KeyValue } from "../platform/key-value.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { backupMetadata } from "../wire/catalogue/admin.ts";
import type { LedgerOrigin } from "../wire/catalogue/handshake.ts";
import type { ForeignPeers } from "../wire/foreign-peers.ts";
import type { Service } from "../wire/service.ts";
import { assemble, startParts } from "./assemble.ts";
import { Backups } from "./backups.ts";
import { Committer } from "./committer.ts";
import { type CopiesReport, oneCopy } from "./copies-report.ts";
import { isLacking, lacksNoMore, readHistory } from "./history.ts";
import type { Leader } from "./leader.ts";
import { type LeaseBounds, leaseBounds } from "./lease-limits.ts";
import type { Holder } from "./lease-table.ts";
import { Lifetime } from "./lifetime.ts";
import { type Parts, registerMethods } from "./methods.ts";
import { NewerLeader } from "./newer-leader.ts";
import { SpaceGuard } from "./space-guard.ts";
import { defaultTimeouts, type Timeouts } from "./timeouts.ts";
import { Waits } from "./waits.ts";

export interface InspectedQuota {
  readonly quota: QuotaRecord;
  readonly granted: Amount;
  readonly isCounting: boolean;
}

export interface MetadataServerOptions {
  /** Of the metadata alone; it and its content are made if they are missing. */
  readonly directory: string;
  readonly clusterId: string;
  readonly serverId: string;
  /** Where others reach this server. */
  readonly address: Address;
  readonly pid: number;
  /** False if the cluster has been served from this directory before: an empty one is then reported. */
  readonly createCluster: boolean;
  /** Whether it listens on its address: until then nobody's silence says anything. Default: always. */
  readonly isReachable?: () => boolean;
  readonly timeouts?: Partial<Timeouts>;
  /** Default: `leaseBounds`. */
  readonly leaseBounds?: LeaseBounds;
  /** Under which it leads; it is closed with the server. Default: the one in `directory` alone. */
  readonly ledger?: Ledger;
  /** Of the ledger's copies, for the status. */
  readonly copies?: CopiesReport;
  /** Of other clusters' peers, for the same. */
  readonly foreign?: Pick<ForeignPeers, "problems">;
  /** It has stepped down by itself: nothing is answered any more. */
  readonly onEnd?: (error: BrineError) => void;
}

/** Answers on this service for the server that leads now. `server`: throws while none does. */
export function registerLeader(service: Service, server: () => MetadataServer): void {
  registerMethods(service, () => server().parts);
  service.handle(backupMetadata, (body) => server().backup(body), { roles: ["admin"] });
}

export class MetadataServer {
  readonly #options: MetadataServerOptions;
  readonly #log: Logger;
  readonly #lifetime: Lifetime;
  #parts: Parts | undefined;
  #ledger: Ledger | undefined;
  #state: KeyValue | undefined;
  #backups: Backups | undefined;
  /** What is answered while there are no parts. */
  #notServing = new BrineError("notServing", "the metadata server is starting");
  #stopping: Promise<void> | undefined;
  #isReplaced = false;
  #origin: LedgerOrigin | undefined;
  /** It has an old copy of the metadata: nothing is answered but a backup of it. */
  #outdated: BrineError | undefined;

  private constructor(platform: Platform, options: MetadataServerOptions) {
    this.#options = options;
    this.#log = platform.logger.for("leader");
    const { isReachable = () => true } = options;
    // Who isn't answered isn't heard either.
    const hears = () => isReachable() && this.#ledger?.serving !== false;
    this.#lifetime = new Lifetime(platform.clock, this.#log, hears);
  }

  /**
   * Opens ledger and state, brings the state up to date, and serves.
   * Errors: those of the ledger, DiskError, badChecksum (ledger and state do not fit together).
   */
  static async start(platform: Platform, options: MetadataServerOptions): Promise<MetadataServer> {
    const server = new MetadataServer(platform, options);
    try {
      await server.#start(platform);
      return server;
    } catch (error) {
      await server.stop();
      throw error;
    }
  }

  /** The ledger was taken over by another server: nothing is answered any more. */
  lose(error: BrineError): void {
    if (this.#parts === undefined) return;
    this.#isReplaced = true;
    this.#stepDown(error);
  }

  /** Under which it leads: higher than that of every leader before it. */
  get term(): number {
    return this.#ledger?.term ?? 0;
  }

  /** Of the ledger as it was when this term began. */
  get origin(): LedgerOrigin | undefined {
    return this.#origin;
  }

  /** True while it may answer. */
  get serving(): boolean {
    return this.#parts !== undefined && this.#ledger?.serving !== false && this.#outdated === undefined;
  }

  /** Answers the metadata server's methods on this service. */
  register(service: Service): void {
    registerLeader(service, () => this);
  }

  /** What answers. Errors: notServing, and why it has stepped down. */
  get parts(): Parts {
    if (this.#outdated !== undefined && this.#parts !== undefined) throw this.#outdated;
    return this.#checkServing();
  }

  #checkServing(): Parts {
    if (this.#parts === undefined) throw this.#notServing;
    if (this.#ledger?.serving === false) {
      throw new BrineError("notServing", "neither the ledger's copy nor its witness answers: another server may lead");
    }
    return this.#parts;
  }

  /** The next part of a backup. */
  async backup(body: { backup: number; after: Uint8Array }) {
    this.#checkServing();
    const { clusterId } = this.#options;
    return { ...(await this.#backups!.read(body)), clusterId, term: this.term };
  }

  /** The state, for the ledger's copy. */
  get backups(): Backups {
    return this.#backups!;
  }

  /** Who has leases on an inode, and what the namespace has of it, for the simulation's checkers; undefined: not serving. */
  inspect(volume: number, inode: number): { holders: Holder[]; record: InodeRecord | undefined } | undefined {
    const parts = this.#parts;
    if (parts === undefined) return undefined;
    return {
      holders: parts.holdings.of(volume).leases.holders(inode),
      record: parts.leader.namespace.inode(volume, inode),
    };
  }

  /** Leases of each session that it wasn't told to give back, for the same. */
  inspectLeaseCounts(volume: number): { session: number; kept: number }[] {
    const parts = this.#parts;
    if (parts === undefined) return [];
    const { leases } = parts.holdings.of(volume);
    return parts.sessions.all().map(({ id }) => ({ session: id, kept: leases.limits.keptCount(id) }));
  }

  /** All groups as they are committed, for the same; undefined: not serving. */
  inspectGroups(): readonly GroupRecord[] | undefined {
    return this.#parts?.leader.namespace.groups();
  }

  /** Quotas of a volume with what clients have of them, for the same; undefined: not serving, or not all clients are back. */
  inspectQuotas(volume: number): InspectedQuota[] | undefined {
    const parts = this.#parts;
    if (parts === undefined || parts.sessions.isInGrace(volume)) return undefined;
    const { namespace } = parts.leader;
    return namespace.quotas(volume).map((quota) => ({
      quota,
      granted: parts.quotaGrants.granted(volume, quota.subject.kind, quota.subject.id),
      isCounting: quota.subject.kind === "tree" && namespace.isCountingQuota(volume, quota.subject.id),
    }));
  }

  /** Answers what is under way, makes the state durable and closes the files. Idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #start(platform: Platform): Promise<void> {
    const { directory, createCluster } = this.#options;
    await platform.disk.makeDirectory(directory);
    const ledger = this.#options.ledger ?? (await openFileLedger(platform, `${directory}/ledger`));
    this.#ledger = ledger;
    const startedMs = Number(platform.clock.wallNs() / 1_000_000n);
    this.#origin = { history: await readHistory(platform, directory), beganIndex: ledger.lastIndex, startedMs };
    const state = await platform.keyValue.open(`${directory}/state.sqlite`);
    this.#state = state;
    const namespace = new Namespace(state);
    const timeouts: Timeouts = { ...defaultTimeouts, ...this.#options.timeouts };
    const lifetime = this.#lifetime;
    const log = this.#log;
    const { keyValue: engine } = platform;
    const backups = new Backups({ engine, state, path: `${directory}/backup.sqlite`, lifetime });
    await backups.start();
    this.#backups = backups;
    const space = new SpaceGuard({ disk: platform.disk, directory, lifetime, log });
    const onFailure = (error: BrineError) => this.#stepDown(error);
    const waits = new Waits(lifetime, log, timeouts.waitWarningMs);
    const committer = new Committer({
      platform,
      lifetime,
      log,
      timeouts,
      ledger,
      state,
      namespace,
      space,
      waits,
      onFailure,
    });
    await committer.replay();
    if (await isLacking(platform, directory)) await this.#raiseNumbers(platform, committer);
    if (!createCluster && namespace.appliedIndex === 0) log.warn("there is no metadata yet: a new cluster begins");
    const { leaseBounds: bounds = leaseBounds } = this.#options;
    const leader: Leader = { platform, log, timeouts, leaseBounds: bounds, lifetime, namespace, committer, waits };
    const { clusterId, serverId, address, pid } = this.#options;
    const own = { clusterId, serverId, address, pid };
    const { copies = oneCopy, foreign = { problems: [] } } = this.#options;
    this.#parts = assemble(leader, { own, term: ledger.term, space, copies, foreign });
    space.start();
    committer.start();
    startParts(this.#parts);
    const { stores } = this.#parts;
    const leading = { term: ledger.term, origin: this.#origin };
    const onOutdated = (error: BrineError) => this.#refuse(error);
    const lastIndex = () => namespace.appliedIndex;
    new NewerLeader({ leader, stores, clusterId, serverId, own: leading, lastIndex, onOutdated }).start();
  }

  /** Errors: those of the ledger, DiskError. */
  async #raiseNumbers(platform: Platform, committer: Committer): Promise<void> {
    const result = await committer.execute({ kind: "raiseNumbers" });
    if (result.kind === "done") {
      this.#log.warn("changes that were acknowledged are missing: numbers that they may have used are left out");
    } else this.#log.error("numbers that missing changes may have used can't be left out: they are used up");
    await lacksNoMore(platform, this.#options.directory);
  }

  #refuse(error: BrineError): void {
    if (this.#outdated !== undefined) return;
    this.#outdated = error;
    this.#log.error("this metadata is outdated, nothing is answered from it", {
      reason: error.message,
      advice: error.advice,
    });
    this.#disconnect("its metadata is outdated");
  }

  #disconnect(reason: string, parts = this.#parts): void {
    for (const session of parts?.sessions.all() ?? []) session.peer?.close(reason);
    for (const store of parts?.stores.all() ?? []) store.peer?.close(reason);
  }

  /** The disk has failed: nothing is answered any more, and nothing is tried again. */
  #stepDown(error: BrineError): void {
    this.#log.error("the metadata server steps down", { reason: error.message });
    this.#notServing = error;
    const parts = this.#parts;
    this.#parts = undefined;
    this.#lifetime.stop();
    this.#options.onEnd?.(error);
    this.#disconnect("the metadata server has failed", parts);
  }

  async #stop(): Promise<void> {
    // What another leader's coming has ended is whole all the same: nothing is applied that the own log doesn't have.
    const failed = this.#parts === undefined && !this.#isReplaced;
    const parts = this.#parts;
    this.#notServing = new BrineError("notServing", "the metadata server stops");
    this.#parts = undefined;
    this.#lifetime.stop();
    await parts?.leader.committer.stop();
    await this.#backups?.stop();
    // After a failure what stands in memory may not be what is in the ledger: the last commit is the truth.
    if (!failed) await this.#state?.close();
    await this.#ledger?.close();
  }
}
