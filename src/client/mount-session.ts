/**
 * Everything that belongs to one session, wired together. When the session is lost it all fails together; the client then
 * makes a new one.
 *
 *     FileSystem operations
 *        │              │
 *     names, changes   data ──► FileContent ──► blocks, members, stores
 *        │              │            │
 *        ▼              ▼            │ data first
 *     Fetcher, CachedTables          ▼
 *        │                        Journal ──► Transactions ──► leader
 *        ▼
 *     Leases ──► GivingBack ──► Journal, the kernel's caches, leader
 */

import { FileError } from "../errors/file-error.ts";
import { isEmpty } from "../namespace/inodes.ts";
import type { InodeRecord } from "../namespace/model.ts";
import type { Logger } from "../platform/logger.ts";
import type { Platform } from "../platform/platform.ts";
import { commitInode, groupsChanged, placementChanged, recallLeases, sessionEnded } from "../wire/catalogue/leader.ts";
import { lockGranted } from "../wire/catalogue/locks.ts";
import { recallQuota } from "../wire/catalogue/quotas.ts";
import type { Peer } from "../wire/peer.ts";
import { registerProcessMethods } from "../wire/process-methods.ts";
import { Service } from "../wire/service.ts";
import { Fetcher } from "./access.ts";
import type { AccessTimes } from "./access-times.ts";
import { CachedTables } from "./cached-tables.ts";
import { changePinned } from "./changes.ts";
import { clientWaits } from "./client-waits.ts";
import { wholeMap } from "./content/chunk-map.ts";
import { Contents, type KnownMap } from "./content/contents.ts";
import type { FileContent } from "./content/file-content.ts";
import { DirectoryNames } from "./directory-names.ts";
import { DirectoryPaths } from "./directory-paths.ts";
import type { KernelCaches } from "./file-system.ts";
import { GivingBack } from "./giving-back.ts";
import type { Holdings } from "./holdings.ts";
import { Ids } from "./ids.ts";
import { Journal } from "./journal.ts";
import { Leases } from "./leases.ts";
import { Locks } from "./locks.ts";
import type { Node } from "./node.ts";
import { Placement } from "./placement.ts";
import { QuotaGrants } from "./quota-grants.ts";
import { Session } from "./session.ts";
import type { SessionOptions } from "./session-options.ts";
import { Transactions } from "./transactions.ts";
import { type UnusedLeaseLimits, unusedLeaseLimits } from "./unused-leases.ts";
import type { WaitView } from "./waits.ts";
import { type WriteBackLimits, writeBackLimits } from "./write-back-limits.ts";

/** For giving back leases, and for the leader's answer to the end of the session. */
const closeTimeoutMs = 10_000;
/** A change in the kernel's tree is asked for again at the latest after this time, whatever is left of the session. */
const keptMsMax = 3_600_000;
const emptyMap: KnownMap = { mappings: [], mappedBelow: wholeMap };
/** Lost changes that are named in the log, of possibly thousands. */
const namedMax = 20;

export interface MountSessionOptions extends Omit<SessionOptions, "service"> {
  readonly caches: () => KernelCaches | undefined;
  /** Operations under way, for `brine waits`; the session adds what it does itself. */
  readonly waits: () => readonly WaitView[];
  readonly limits?: WriteBackLimits | undefined;
  /** Default: `unusedLeaseLimits`. */
  readonly leaseLimits?: UnusedLeaseLimits | undefined;
  /** Default: `none`. */
  readonly accessTimes?: AccessTimes | undefined;
}

export class MountSession {
  readonly session: Session;
  readonly journal: Journal;
  readonly transactions: Transactions;
  readonly ids: Ids;
  readonly leases: Leases;
  readonly fetcher: Fetcher;
  readonly tables: CachedTables;
  readonly contents: Contents;
  readonly locks: Locks;
  readonly placement: Placement;
  readonly quotas: QuotaGrants;
  readonly accessTimes: AccessTimes;
  /** In which a file was read last: see next-files.ts. */
  directoryRead = 0;
  /** Of which names were listed ahead last: see listing.ts. */
  directoryListed = 0;
  readonly #platform: Platform;
  readonly #log: Logger;
  readonly #givingBack: GivingBack;
  readonly #caches: () => KernelCaches | undefined;
  #isLost = false;

  private constructor(platform: Platform, log: Logger, session: Session, options: MountSessionOptions) {
    const { caches, limits = writeBackLimits, leaseLimits = unusedLeaseLimits, accessTimes = "none" } = options;
    this.#platform = platform;
    this.#log = log;
    this.session = session;
    this.accessTimes = accessTimes;
    this.#caches = caches;
    this.journal = new Journal(platform.clock, log, limits);
    this.transactions = new Transactions(platform, session, log, this.journal);
    this.journal.onReady = () => this.transactions.pump();
    this.journal.onMismatch = (nodes) => {
      for (const node of nodes) this.leases.letGo(node);
    };
    this.ids = new Ids((operation) => this.transactions.submit(operation));
    this.#givingBack = new GivingBack({
      session,
      journal: this.journal,
      log,
      caches,
      stateLocks: (inode) => this.locks.handOver(inode),
    });
    this.leases = new Leases({
      platform,
      session,
      limits: leaseLimits,
      giveBack: (node) => this.#givingBack.begin(node),
      giveBackUnknown: (inode, grant) => this.#givingBack.giveBackUnknown(inode, grant),
      fresh: (node, { mappings, mappedBelow }) => this.#equip(node, false, { mappings, mappedBelow }),
    });
    this.#givingBack.attach(this.leases);
    this.locks = new Locks(platform, session, this.leases);
    this.placement = new Placement(session, log, new DirectoryPaths(session, this.leases, platform.clock));
    const quotaParts = { clock: platform.clock, session, journal: this.journal, quiet: () => this.#givingBack.quiet() };
    this.quotas = new QuotaGrants(quotaParts, session.volume.quotaVersion);
    this.fetcher = new Fetcher(this.leases, session, this.quotas);
    this.contents = new Contents({
      platform,
      log,
      session,
      ids: this.ids,
      journal: this.journal,
      quotas: this.quotas,
      limits,
      execute: (node, operation, data) => changePinned(this, node, operation, data),
      readInSyncMins: () => this.placement.refresh(),
    });
    this.placement.onRead = (answer) => this.contents.learnPlacement(answer);
    const { volume, root } = session.volume;
    this.tables = new CachedTables({
      leases: this.leases,
      volume,
      root,
      quotas: this.quotas,
      contentOf: (node) => this.contentOf(node),
      made: (node) => this.#equip(node, true, emptyMap),
    });
  }

  /** Opens a session on the volume. Errors: see Session.open. */
  static async open(platform: Platform, options: MountSessionOptions): Promise<MountSession> {
    const log = platform.logger.for("client");
    /** Undefined until the session is open: until then there is nothing to state, send or lose. */
    let mount: MountSession | undefined;
    /** Once the session has ended, the leader is only told of that. */
    const living = () => (mount?.ended === false ? mount : undefined);
    const service = new Service()
      .handle(recallLeases, ({ leases, space }) => {
        living()?.leases.recall(leases);
        if (space) living()?.contents.returnSpace();
        return {};
      })
      .handle(commitInode, async ({ inode }) => {
        await living()?.commitInode(inode);
        return {};
      })
      .handle(recallQuota, async ({ version }) => ({ held: (await living()?.quotas.recall(version)) ?? [] }))
      .handle(groupsChanged, ({ views }) => {
        living()?.contents.learnGroups(views);
        return {};
      })
      .handle(placementChanged, async () => {
        await living()?.placement.refresh();
        return {};
      })
      .handle(lockGranted, ({ wait, grant }) => {
        living()?.locks.granted(wait, grant);
        return {};
      })
      .handle(sessionEnded, ({ session, reason }) => {
        if (session === mount?.session.id) mount.session.end(reason);
        return {};
      });
    registerProcessMethods(service, platform, () => clientWaits(options.waits(), mount));
    const session = await Session.open(
      platform,
      { ...options, service },
      {
        holdings: () => mount?.holdings() ?? { holds: [], leases: [], locks: [], quotas: [] },
        quotasChanged: (version) => mount?.quotas.learn(version),
        connected: (peer) => mount?.connected(peer),
        extended: (untilMs) => options.caches()?.standsUntil?.(untilMs),
        lost: (reason) => mount?.lost(reason) ?? Promise.resolve(),
      },
    );
    mount = new MountSession(platform, log, session, options);
    if (session.peer !== undefined) mount.transactions.connected(session.peer);
    await mount.placement.refresh();
    return mount;
  }

  nowMs(): number {
    return this.#platform.clock.nowMs();
  }

  get ended(): boolean {
    return this.session.ended;
  }

  journalPositions(): { session: number; answered: number; durable: number } {
    const { position, committedPosition } = this.journal;
    return { session: this.session.id, answered: position, durable: committedPosition };
  }

  /** Resolves when all that was done to the inode here so far is committed, its creation too. Errors: EIO (the session has ended). */
  async commitInode(inode: number): Promise<void> {
    const node = this.leases.get(inode);
    if (node !== undefined) await this.journal.committed(node.lastPosition);
  }

  /** Records under a lease in which nothing is uncommitted. */
  cleanRecords(): InodeRecord[] {
    return [...this.leases.nodes()]
      .filter(({ mode, file }) => (mode === "shared" || mode === "exclusive") && file === undefined)
      .filter((node) => !node.isBlocked && node.lastPosition <= this.journal.committedPosition)
      .map((node) => node.record);
  }

  /** The content of a file whose node is under a lease. */
  contentOf(node: Node): FileContent {
    if (node.content !== undefined) return node.content;
    if (node.map === undefined) throw new Error(`inode ${node.inode} is no file under a lease`);
    node.content = this.contents.make(node, node.map);
    node.map = undefined;
    return node.content;
  }

  /** How long the kernel may believe what it is told of the inode now; 0 without a lease. */
  kernelMayKeep(inode: number, what: "kernelHasNames" | "kernelHasAttributes"): number {
    const node = this.leases.held(inode, "shared");
    if (node === undefined) return 0;
    node[what] = true;
    return Math.min(this.session.liveForMs, keptMsMax);
  }

  /** They have changed in a way that the kernel can't know of. */
  forgetAttributes(inode: number): void {
    this.#caches()?.forgetAttributes(inode);
  }

  /** What the leader is to know after a reconnect. */
  holdings(): Holdings {
    const holds: number[] = [];
    const leases: Holdings["leases"] = [];
    const chunks: Holdings["leases"] = [];
    for (const node of this.leases.nodes()) {
      if (node.isHeldAtLeader || (node.handles > 0 && node.mode === undefined)) holds.push(node.inode);
      const of = node.file === undefined ? leases : chunks;
      if (node.mode !== undefined) of.push({ inode: node.inode, mode: node.mode, grant: node.grant });
    }
    // What stands under a split lease comes after it.
    for (const chunk of chunks) leases.push(chunk);
    return { holds, leases, locks: this.locks.held(), quotas: this.quotas.held() };
  }

  /** A new connection, on which everything was stated. */
  connected(peer: Peer): void {
    this.transactions.connected(peer);
    this.locks.connected();
    // What has changed while nobody could tell.
    this.placement.refresh().catch(() => {});
  }

  /** A handle of the node was closed. */
  closed(node: Node): void {
    node.handles -= 1;
    if (node.handles > 0) return;
    if (node.isHeldAtLeader) {
      node.isHeldAtLeader = false;
      this.#givingBack.releaseHold(node.inode);
    }
    if (node.mode === undefined) this.leases.forget(node);
    else if (node.record.attributes.linkCount === 0) {
      this.journal.whenCommitted(node.lastPosition, () => {
        if (node.handles === 0) this.leases.letGo(node);
      });
    }
  }

  /** Everything under way fails with EIO, and what was not committed is lost. Resolves when the kernel has forgotten all. */
  async lost(reason: string): Promise<void> {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#nameLost();
    this.transactions.lost(reason);
    const failure = new FileError("EIO", `the session ended: ${reason}`);
    this.leases.lost(failure);
    this.locks.lost(failure);
    this.#givingBack.lost();
    const caches = this.#caches();
    caches?.forgetNames();
    const pages: (Promise<void> | undefined)[] = [];
    for (const node of this.leases.nodes()) {
      node.content?.lose();
      if (node.kernelHasAttributes) caches?.forgetAttributes(node.inode);
      const isFile = node.record.attributes.type === "file" && node.file === undefined;
      if (isFile) pages.push(caches?.forgetPages(node.inode));
    }
    this.contents.close();
    this.quotas.lost();
    await Promise.all(pages);
  }

  /** Makes everything durable, gives all back and ends the session; if the leader can't be reached, it expires there. */
  async close(): Promise<void> {
    await this.journal.committed(this.journal.position).catch((error) => {
      this.#log.error("unmounted before everything was durable", { reason: String(error) });
    });
    const deadline = this.#platform.clock.startTimer(closeTimeoutMs, () => {
      this.session.abandon();
      void this.lost("unmounted");
    });
    for (const node of [...this.leases.nodes()]) this.leases.letGo(node);
    await this.#givingBack.quiet();
    deadline.cancel();
    await this.session.close(closeTimeoutMs);
    await this.lost("unmounted");
  }

  #equip(node: Node, isNew: boolean, map: KnownMap): void {
    const { type } = node.record.attributes;
    node.names = type === "directory" ? new DirectoryNames(isNew || isEmpty(node.record)) : undefined;
    node.content = undefined;
    node.map = type === "file" ? map : undefined;
  }

  #nameLost(): void {
    const lost = this.journal.uncommitted();
    if (lost.length === 0) return;
    for (const { nodes } of lost) for (const node of nodes) node.errorCount += 1;
    const named = lost.slice(0, namedMax).map(({ kind, nodes }) => `${kind} ${this.#pathOf(nodes[0]!)}`);
    this.#log.error("changes were lost with the session", { count: lost.length, first: named.join(", ") });
  }

  /** As far as it is cached. */
  #pathOf(node: Node): string {
    const names: string[] = [];
    for (let at: Node | undefined = node; at !== undefined && at.inode !== this.session.volume.root; ) {
      const parent: Node | undefined = this.leases.get(at.record.parent);
      names.push(parent?.names?.nameAt(at.record.parentCookie) ?? `inode ${at.inode}`);
      at = parent;
    }
    return `/${names.reverse().join("/")}`;
  }
}
