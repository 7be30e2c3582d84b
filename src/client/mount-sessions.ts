/** The session that a mount has, and the next one when it is lost: all who need a new one wait for the same. */
import type { SessionUser } from "../namespace/model.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { KnownLeaders } from "../wire/known-leaders.ts";
import { noLedger } from "../wire/known-term.ts";
import type { AccessTimes } from "./access-times.ts";
import type { KernelCaches } from "./file-system.ts";
import { MountSession } from "./mount-session.ts";
import type { UnusedLeaseLimits } from "./unused-leases.ts";
import type { Operation, Waits } from "./waits.ts";
import type { WriteBackLimits } from "./write-back-limits.ts";

/** Servers that are just being started answer within it; a wrong address is told to whoever mounts after it. */
const mountPatienceMs = 5_000;

export interface MountTarget {
  readonly leaders: readonly Address[];
  readonly volume: string;
  /** Host, process and directory, for people. */
  readonly host: string;
  /**
   * For whom everything is done, also in later sessions: what his permissions don't allow fails with EACCES or EPERM, here and at the
   * leader. Default: for many, as behind a kernel's mount; nothing is checked.
   */
  readonly user?: SessionUser | undefined;
  /** Default: `writeBackLimits`. */
  readonly limits?: WriteBackLimits | undefined;
  /** Default: `unusedLeaseLimits`. */
  readonly leaseLimits?: UnusedLeaseLimits | undefined;
  /** Default: `none`. */
  readonly accessTimes?: AccessTimes | undefined;
}

export class MountSessions {
  /** The kernel's, if it keeps anything of our answers. */
  caches: KernelCaches | undefined;
  readonly #platform: Platform;
  readonly #target: MountTarget;
  readonly #waits: Waits;
  readonly #leaders: KnownLeaders;
  #current: MountSession | undefined;
  #reopening: Promise<MountSession> | undefined;
  #ended = false;

  private constructor(platform: Platform, target: MountTarget, waits: Waits) {
    this.#platform = platform;
    this.#target = target;
    this.#waits = waits;
    const stores = () => this.#current?.contents.storeAddresses ?? [];
    this.#leaders = new KnownLeaders(target.leaders, () => {}, stores);
    waits.silentLeader = () => this.#current?.session.silentLeader;
    waits.lackOfCopies = () => this.#current?.contents.lackOfCopies;
  }

  /** Opens the first one. Errors: those of Session.open, also when no server answers for some seconds. */
  static async open(platform: Platform, target: MountTarget, waits: Waits): Promise<MountSessions> {
    const sessions = new MountSessions(platform, target, waits);
    sessions.#current = await sessions.#open(undefined, mountPatienceMs);
    return sessions;
  }

  /** The present one, or the last one if it has ended. */
  get current(): MountSession {
    return this.#current!;
  }

  /** One that has not ended: a new one after the loss of the last. */
  async live(operation: Operation): Promise<MountSession> {
    if (!this.current.ended) return this.current;
    operation.waitsFor = "a new session";
    this.#reopening ??= this.#open(this.current.session.clusterId, Number.POSITIVE_INFINITY).finally(() => {
      this.#reopening = undefined;
    });
    this.#current = await this.#reopening;
    operation.check();
    return this.#current;
  }

  /** No new ones; resolves when none is being opened: it would be left behind. */
  async end(): Promise<void> {
    this.#ended = true;
    await this.#reopening?.catch(() => {});
  }

  #open(clusterId: string | undefined, patienceMs: number): Promise<MountSession> {
    return MountSession.open(this.#platform, {
      ...this.#target,
      leaders: this.#leaders,
      clusterId,
      known: this.#current?.session.known ?? noLedger,
      patienceMs,
      wanted: () => !this.#ended,
      caches: () => this.caches,
      waits: () => this.#waits.list(),
    });
  }
}
