/**
 * The members of groups and what became of requests to them: links in the order in which reads should try them, and what
 * an error of one says (about the store, the generation, the session).
 */
import { BrineError, hasCode } from "../../errors/brine-error.ts";
import { inSyncCount } from "../../namespace/in-sync-min.ts";
import type { Clock } from "../../platform/clock.ts";
import type { Logger } from "../../platform/logger.ts";
import { type GroupView, reportStore } from "../../wire/catalogue/leader.ts";
import type { Session } from "../session.ts";
import type { Groups } from "./groups.ts";
import type { StoreLink, Stores } from "./stores.ts";

/** Every so many reads goes to the member whose turn it is, however slow it was: else nobody would see that it no longer is. */
const probeInterval = 8;
/** Latencies below it are equal: noise of a busy machine, not a difference of stores. */
const equalLatencyMs = 0.5;
/** A store is slow, and is read only where no other can be, from this latency on, and this many times the quickest one's. */
const slowMsMin = 20;
const slowFactor = 8;
/** A slow one is tried again after so many times its latency, so that a single reader loses a twentieth of its time; but not sooner than: */
const slowProbeFactor = 20;
const slowProbeMsMin = 250;
/** A store that has just failed is asked last for this long: the leader looks at it meanwhile. */
const avoidMs = 1_000;

/**
 * refused: a final answer (noSpace, unknownChunk). stale: another generation. unsent: it never reached the store.
 * uncertain: it may have taken effect. busy: not now. damaged: on the way. fatal: nothing will help.
 */
export type FailureKind = "refused" | "stale" | "unsent" | "uncertain" | "busy" | "damaged" | "fatal";

export function kindOfFailure(error: unknown): FailureKind {
  if (hasCode(error, "noSpace", "unknownChunk")) return "refused";
  if (hasCode(error, "wrongGeneration")) return "stale";
  if (hasCode(error, "unreachable", "wrongCluster", "refused", "versionMismatch")) return "unsent";
  if (hasCode(error, "notServing", "busy")) return "busy";
  if (hasCode(error, "badChecksum")) return "damaged";
  if (hasCode(error, "closed", "timedOut", "diskFailed", "protocol", "internal")) return "uncertain";
  return "fatal";
}

export class Members {
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #session: Session;
  readonly #stores: Stores;
  readonly groups: Groups;
  /** Stores that an operator calls slow: they are read where no other can be, and not tried now and then. */
  calledSlow: ReadonlySet<number> = new Set();
  readonly #avoidUntilMs = new Map<number, number>();
  /** When a slow store was last tried. */
  readonly #triedMs = new Map<number, number>();
  readonly #reports = new Map<number, Promise<void>>();
  #turn = 0;

  constructor(clock: Clock, log: Logger, session: Session, stores: Stores, groups: Groups) {
    this.#clock = clock;
    this.#log = log;
    this.#session = session;
    this.#stores = stores;
    this.groups = groups;
  }

  /** Those that take writes: all of them must have a write before it is done. See replication.ts. */
  writable(view: GroupView): StoreLink[] {
    return view.members
      .filter((member) => member.state !== "behind")
      .map((member) => this.#stores.link(member.store, member.address));
  }

  /** Those that can be read, the best first: not those that are slow, then least to do, then quickest; equals take turns. */
  readable(view: GroupView): StoreLink[] {
    const links = view.members
      .filter((member) => member.state === "inSync")
      .map((member) => this.#stores.link(member.store, member.address));
    if (links.length < 2) return links;
    this.#turn += 1;
    const nowMs = this.#clock.nowMs();
    const quickestMs = Math.min(...links.map(({ latencyMs }) => latencyMs));
    const isCalledSlow = ({ store }: StoreLink) => this.calledSlow.has(store);
    const isSlow = ({ latencyMs }: StoreLink) => latencyMs >= Math.max(slowMsMin, slowFactor * quickestMs);
    const hasFailed = ({ store }: StoreLink) => nowMs < (this.#avoidUntilMs.get(store) ?? 0);
    const isDue = ({ store, latencyMs }: StoreLink) =>
      nowMs - (this.#triedMs.get(store) ?? Number.NEGATIVE_INFINITY) >=
      Math.max(slowProbeMsMin, slowProbeFactor * latencyMs);
    const tried = links.find(
      (link) => isSlow(link) && !isCalledSlow(link) && !hasFailed(link) && link.outstanding === 0 && isDue(link),
    );
    if (tried !== undefined) {
      this.#triedMs.set(tried.store, nowMs);
      return [tried, ...links.filter((link) => link !== tried)];
    }
    const rank = (link: StoreLink) => (hasFailed(link) ? 3 : isCalledSlow(link) ? 2 : isSlow(link) ? 1 : 0);
    const isProbe = this.#turn % probeInterval === 0;
    const first = isProbe ? this.#turn / probeInterval : this.#turn;
    const turned = links.map((_, index) => links[(index + first) % links.length]!);
    if (isProbe) return turned.sort((left, right) => rank(left) - rank(right));
    return turned.sort(
      (left, right) =>
        rank(left) - rank(right) || left.outstanding - right.outstanding || latencyClass(left) - latencyClass(right),
    );
  }

  /** For people: why the group takes no writes. */
  lackText(view: GroupView, wanted: number): string {
    const { group, members } = view;
    const others = members.filter(({ state }) => state !== "inSync");
    const who = others.map(({ store, address, state }) => {
      return `store ${store} at ${address} is ${state === "behind" ? "away or behind" : "catching up"}`;
    });
    const why = who.length === 0 ? "copies are still to be made" : who.join(", ");
    return `volume ${this.#session.volume.name} wants ${wanted} in-sync copies, group ${group} has ${inSyncCount(view)}: ${why}`;
  }

  /** Whoever a store says is fenced has lost the session. */
  judgeSession(error: unknown): void {
    if (hasCode(error, "sessionFenced", "sessionExpired")) this.#session.end(error.message);
  }

  /**
   * Tells the leader that a store failed us. Resolves when the leader has taken it out of its groups or reached it
   * itself. One report of a store at a time: who comes meanwhile waits for it.
   */
  report(link: StoreLink, error: unknown): Promise<void> {
    // Its end closes all connections: that says nothing of the stores.
    if (this.#session.ended) return Promise.resolve();
    this.#avoidUntilMs.set(link.store, this.#clock.nowMs() + avoidMs);
    const under = this.#reports.get(link.store);
    if (under !== undefined) return under;
    const reason = error instanceof BrineError ? `${error.code}: ${error.message}` : String(error);
    this.#log.warn("store failed", { store: link.store, address: link.address, reason });
    const request = { session: this.#session.id, store: link.store, reason: reason.slice(0, 80) };
    const reporting = this.#session
      .request(reportStore, request)
      .then(({ removed }) => this.#log.info("store reported", { store: link.store, removed }))
      .catch((failure) => this.#log.warn("store not reported", { store: link.store, reason: String(failure) }))
      .finally(() => this.#reports.delete(link.store));
    this.#reports.set(link.store, reporting);
    return reporting;
  }
}

/** Latencies within a factor of about two are equal: else the slightly quicker one would get everything. */
function latencyClass(link: StoreLink): number {
  return Math.round(Math.log2(Math.max(link.latencyMs, equalLatencyMs)));
}
