/**
 * The store's tie to the metadata leader: finds it (leader-search.ts), registers, sends heartbeats. What the leader asks
 * of the store comes in over the same connection, through the same handlers as over those that others open.
 *
 * A leader is outdated if another one was met with a higher term, or with entries of the ledger that it doesn't have: its machine
 * came back after another took its place, or was set back. Nothing of it is believed (known-leader.ts).
 *
 * When the disk no longer answers, the store says so and serves nothing more: the others go on without it, where there are any. It
 * registers again when the disk has answered, and catches up.
 *
 * A store that is to end says so: nothing is served from then on, and the others go on without it at once.
 *
 * A tie that breaks is made anew, at once the first time and then after pauses (search-pauses.ts). Meanwhile the store goes on
 * serving until its lease ends (admission.ts).
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { messageOf } from "../errors/message.ts";
import type { Label } from "../namespace/model.ts";
import { sleep, type Timer } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import type { Keepers, KnownLedger } from "../wire/catalogue/handshake.ts";
import { type GroupView, leadersChanged } from "../wire/catalogue/leader.ts";
import {
  type BadRange,
  caughtUp,
  judgeDifferences,
  registerStore,
  type ScrubReport,
  storeHeartbeat,
} from "../wire/catalogue/registration.ts";
import { connectPeer, type Identity, type ServerPeer } from "../wire/connect.ts";
import { KnownLeaders } from "../wire/known-leaders.ts";
import { LeaderSearch } from "../wire/leader-search.ts";
import type { Peer } from "../wire/peer.ts";
import type { Service } from "../wire/service.ts";
import type { Admission } from "./admission.ts";
import type { CatchUps } from "./catch-up.ts";
import { KnownLeader } from "./known-leader.ts";
import { type Round, SearchPauses } from "./search-pauses.ts";
import type { Store } from "./store.ts";
import { perhapsSetBack, wronglyInSync, wronglyWithout } from "./unfitting-generations.ts";
import type { WatchedDisk } from "./watched-disk.ts";

/** On one machine or in one room an answer takes milliseconds; from a leader that is busy with a take-over, longer. */
const connectTimeoutMs = 2_000;
const registerTimeoutMs = 10_000;
/** Who stops all servers stops them within it: then the leader ends first, and this store has missed nothing. */
const stoppedTogetherMs = 300;
/** To say that the store leaves; without an answer its lease has to run out, or its address to refuse connections. */
const leaveTimeoutMs = 1_000;
/** Between looks at whether the disk answers. */
const diskWatchMs = 250;

export interface LeaderLinkOptions {
  /** Of the store. */
  readonly directory: string;
  /** What is known of the leader is kept here, too, should the store's directory be emptied. Default: there alone. */
  readonly besideDirectory?: string;
  readonly serverId: string;
  readonly clusterId: string;
  /** Where others reach this store. */
  readonly address: Address;
  readonly leaders: readonly Address[];
  /** A leader has told of others: they are to be known after a restart, too. */
  readonly onLeaders?: (addresses: readonly Address[]) => void;
  readonly pid: number;
  readonly roles: readonly string[];
  readonly labels?: readonly Label[];
  readonly acceptLoss?: boolean;
}

export interface LeaderLinkParts {
  readonly store: Store;
  readonly admission: Admission;
  readonly service: Service;
  /** As its directory has it. */
  readonly known: KnownLedger;
  readonly catchUps: CatchUps;
  readonly disk: Pick<WatchedDisk, "stall" | "latencyMs">;
  /** What heartbeats say of bad blocks. */
  readonly health: () => { repairedBlocks: number; badRanges: BadRange[]; scrub: ScrubReport | undefined };
  /** The leader has said what has become of the groups. */
  readonly onGroups: () => void;
  /** Of which a restored state of the metadata doesn't know that they are here. */
  readonly keep: (groups: readonly number[]) => void;
}

export class LeaderLink {
  readonly #platform: Platform;
  readonly #logger: Logger;
  readonly #options: LeaderLinkOptions;
  readonly #store: Store;
  readonly #admission: Admission;
  readonly #service: Service;
  readonly #catchUps: CatchUps;
  readonly #parts: LeaderLinkParts;
  #peer: Peer | undefined;
  #heartbeatTimer: Timer | undefined;
  #diskTimer: Timer | undefined;
  /** Nothing is served until the next registration: the disk did not answer. */
  #isStalled = false;
  #retryTimer: Timer | undefined;
  #stopWaiting: (() => void) | undefined;
  #serveMs = 0;
  #heartbeatMs = 0;
  #cutOffTimer: Timer | undefined;
  #stopped = false;
  readonly #known: KnownLeader;
  readonly #leaders: KnownLeaders;
  readonly #search: LeaderSearch;
  /** On which the store registers, or is registered: what it says of leaders is believed. */
  #leader: Peer | undefined;
  /** Why the last try to register failed. */
  #lastReason = "";
  #running: Promise<void> = Promise.resolve();

  constructor(platform: Platform, options: LeaderLinkOptions, parts: LeaderLinkParts) {
    this.#platform = platform;
    this.#logger = platform.logger.for("store");
    this.#options = options;
    this.#parts = parts;
    this.#store = parts.store;
    this.#admission = parts.admission;
    this.#service = parts.service;
    this.#catchUps = parts.catchUps;
    this.#known = new KnownLeader(platform, this.#logger, options, parts.known);
    this.#leaders = new KnownLeaders(options.leaders, options.onLeaders);
    const { serverId, clusterId, pid } = options;
    const identity: Identity = { role: "store", clusterId, peerId: serverId, description: `store pid ${pid}` };
    this.#search = new LeaderSearch({
      ...{ platform, leaders: this.#leaders, known: this.#known.known },
      connect: (address) => connectPeer(platform, address, identity, this.#service, connectTimeoutMs),
    });
    this.#service.handle(leadersChanged, ({ leaders }, _payload, peer) => {
      if (peer === this.#leader) this.#leaders.named(peer.remote.address, leaders);
      return {};
    });
  }

  /** Begins to look for the leader; returns at once. */
  start(): void {
    this.#running = this.#run();
  }

  /** Nothing more is served, a moment later; resolves when the leader knows that, if there is one then. `stop` follows. */
  async leave(): Promise<void> {
    await sleep(this.#platform.clock, stoppedTogetherMs);
    this.#end();
    if (this.#peer !== undefined) await this.#heartbeat(this.#peer);
  }

  async stop(): Promise<void> {
    this.#end();
    this.#peer?.close("the store stops");
    await this.#running;
    await this.#known.flush();
  }

  #end(): void {
    this.#stopped = true;
    this.#admission.stopServing();
    this.#heartbeatTimer?.cancel();
    this.#diskTimer?.cancel();
    this.#cutOffTimer?.cancel();
    this.#search.stop();
    this.#stopWaiting?.();
  }

  /** The leader that was met last. */
  get ledger(): KnownLedger {
    return this.#known.ledger;
  }

  /** Where the last leader said that it and its copy are. */
  get keepers(): Keepers {
    return { term: this.#known.ledger.term, addresses: [...this.#leaders.byLeader] };
  }

  /** Tells the leader at once that the disk has failed, instead of with the next heartbeat. */
  tellFailure(): void {
    if (this.#peer !== undefined) void this.#heartbeat(this.#peer);
  }

  /** See the catalogue. Errors: unreachable (no leader now), and what the leader answers. */
  async judgeDifferences(chunks: number[], sessions: number[]): Promise<{ mapped: boolean[]; over: boolean[] }> {
    if (this.#peer === undefined) throw new BrineError("unreachable", "no leader is connected");
    return (await this.#peer.request(judgeDifferences, { chunks, sessions }, { timeoutMs: registerTimeoutMs })).body;
  }

  /** Errors: unreachable (no leader now), and what the leader answers. */
  async reportCaughtUp(group: number, generation: number): Promise<void> {
    const store = this.#admission.storeNumber;
    if (this.#peer === undefined || store === undefined) throw new BrineError("unreachable", "no leader is connected");
    await this.#peer.request(caughtUp, { store, group, generation }, { timeoutMs: registerTimeoutMs });
  }

  /** One tie after the other until `stop`. */
  async #run(): Promise<void> {
    const pauses = new SearchPauses(this.#platform.random);
    while (!this.#stopped) {
      while (this.#parts.disk.stall !== undefined && !this.#stopped) await this.#wait(diskWatchMs);
      if (this.#stopped) return;
      const round = await this.#round();
      if (this.#stopped) return;
      await this.#wait(pauses.after(round));
    }
  }

  /** One round of the search, and the tie that it leads to. */
  async #round(): Promise<Round> {
    let kind: "nobody" | "refused" = "nobody";
    for await (const peer of this.#search.round()) {
      try {
        await this.#registerOn(peer);
      } catch (error) {
        peer.close("not registered");
        if (!hasCode(error, "closed", "timedOut", "notLeader", "notServing")) kind = "refused";
        if (!this.#stopped) this.#logNotRegistered(peer.remote.address, error);
        continue;
      }
      return this.#hold(peer);
    }
    if (!this.#stopped) {
      for (const { address, error } of this.#search.failures) this.#logNotRegistered(address, error);
    }
    return { kind };
  }

  /** The same reason is said once, not at each try. */
  #logNotRegistered(leader: Address, error: unknown): void {
    const isRoutine = hasCode(error, "notLeader", "unreachable");
    const reason =
      error instanceof BrineError && error.advice !== undefined
        ? `${error.message}: ${error.advice}`
        : messageOf(error);
    const isNews = reason !== this.#lastReason && !isRoutine;
    // Of two servers that are asked in turn, the one that doesn't lead must not make the other's reason news again.
    if (!isRoutine) this.#lastReason = reason;
    this.#logger[isNews ? "warn" : "debug"]("not registered", { leader, reason });
  }

  /** Errors: notLeader, those of the request, refused (see learnGroups), DiskError. */
  async #registerOn(peer: ServerPeer): Promise<void> {
    const { serverId, pid, roles, labels = [], address } = this.#options;
    const leader = peer.remote.address;
    await this.#known.meets(peer, leader);
    this.#leader = peer;
    const { totalBytes, freeBytes } = this.#store.space;
    const loss = this.#loss();
    const knownGroups = [...this.#store.groups.keys()];
    const own = { serverId, address, labels: [...labels], pid, roles: [...roles] };
    const body = { ...own, knownGroups, totalBytes, freeBytes, ...loss };
    const sentMs = this.#platform.clock.nowMs();
    const { body: registration } = await peer.request(registerStore, body, { timeoutMs: registerTimeoutMs });
    this.#leaders.named(leader, registration.leaders);
    // First: it may have another number since the restore, by which it is no member of any group.
    const views = this.#keepUnknown(registration.store, registration.views);
    await this.#admission.register(registration);
    if (registration.lossSettled) await this.#store.damageNote.forget();
    const hasSaidLoss = loss.loss !== "none";
    if (this.#store.failure === undefined) await this.#learnGroups(registration.store, views, hasSaidLoss);
    // Not before: on a full disk it would serve again what it has left.
    this.#admission.rejoin(peer);
    this.#parts.onGroups();
    this.#isStalled = false;
    this.#serveMs = registration.serveMs;
    this.#heartbeatMs = registration.heartbeatMs;
    this.#serveFrom(sentMs);
    this.#logger.info("registered", { leader, store: registration.store, groups: registration.views.length });
  }

  /** Copies of which a restored state doesn't know stay. Returns the views of the other groups. */
  #keepUnknown(store: number, views: readonly GroupView[]): GroupView[] {
    const kept = wronglyWithout(this.#store, views, store);
    this.#parts.keep(kept.map(({ group }) => group));
    const text = "the metadata was restored, and doesn't know of copies here: they are kept";
    if (kept.length > 0) this.#logger.warn(text, { groups: kept.length });
    return views.filter((view) => !kept.includes(view));
  }

  /** Errors: refused (a restored state doesn't know that this store is not in sync; or it is set back), diskFailed. */
  async #learnGroups(store: number, views: readonly GroupView[], hasSaidLoss: boolean): Promise<void> {
    const known = this.#store.groups;
    const wrong = wronglyInSync(known, views, store);
    if (wrong.length > 0) {
      const reason = `the metadata was restored, and calls it in sync in ${wrong.length} groups that it had left`;
      await this.#store.damageNote.note({ loss: "certain", rebuild: false, reason });
      throw new BrineError("refused", reason);
    }
    const old = perhapsSetBack(known, views, store);
    if (old.length > 0 && !hasSaidLoss) {
      const reason = `it knows old generations of ${old.length} groups in which it is called in sync: was it set back?`;
      await this.#store.damageNote.note({ loss: "possible", rebuild: false, reason });
      throw new BrineError("refused", reason);
    }
    await this.#store.setGroups(views);
  }

  #loss(): { loss: "none" | "possible" | "certain" | "accepted"; lossReason: string } {
    const { damage } = this.#store;
    if (damage === undefined) return { loss: "none", lossReason: "" };
    const isAccepted = damage.loss === "certain" && this.#options.acceptLoss === true;
    return { loss: isAccepted ? "accepted" : damage.loss, lossReason: damage.reason.slice(0, 200) };
  }

  /** Sends heartbeats until the connection ends. */
  async #hold(peer: Peer): Promise<Round> {
    const sinceMs = this.#platform.clock.nowMs();
    if (this.#stopped) {
      peer.close("the store stops");
      return { kind: "tied", forMs: 0 };
    }
    this.#peer = peer;
    const ended = new Promise<string>((resolve) => peer.onClose(resolve));
    if (this.#store.failure === undefined) this.#scheduleHeartbeat(peer);
    else void this.#heartbeat(peer);
    this.#watchDisk(peer);
    const reason = await ended;
    this.#heartbeatTimer?.cancel();
    this.#diskTimer?.cancel();
    this.#peer = undefined;
    if (!this.#stopped) this.#logger.warn("connection to the leader lost", { reason });
    return { kind: "tied", forMs: this.#platform.clock.nowMs() - sinceMs };
  }

  #watchDisk(peer: Peer): void {
    this.#diskTimer = this.#platform.clock.startTimer(diskWatchMs, () => {
      const { stall } = this.#parts.disk;
      if (stall === undefined) {
        this.#watchDisk(peer);
        return;
      }
      this.#logger.error("the disk does not answer: nothing is served until it does", { stall });
      this.#isStalled = true;
      this.#admission.stopServing();
      void this.#heartbeat(peer, stall).then(() => peer.close(`its disk gives ${stall}`));
    });
  }

  #scheduleHeartbeat(peer: Peer): void {
    this.#heartbeatTimer?.cancel();
    this.#heartbeatTimer = this.#platform.clock.startTimer(this.#heartbeatMs, () => void this.#heartbeat(peer));
  }

  /**
   * Never rejects: a heartbeat that gets no answer within half of the lease ends the connection, which leaves time to make
   * it anew before the lease ends.
   */
  async #heartbeat(peer: Peer, stall?: string): Promise<void> {
    const store = this.#admission.storeNumber!;
    const sentMs = this.#platform.clock.nowMs();
    const { latencyMs } = this.#parts.disk;
    try {
      const body = {
        store,
        ...this.#store.space,
        failure: this.#store.failure?.slice(0, 200),
        stall,
        isLeaving: this.#stopped,
        diskLatencyMs: latencyMs === undefined ? undefined : Math.round(latencyMs),
        catchUps: this.#catchUps.progress(),
        ...this.#parts.health(),
      };
      const timeoutMs = this.#stopped ? leaveTimeoutMs : this.#serveMs / 2;
      const { body: answer } = await peer.request(storeHeartbeat, body, { timeoutMs, urgent: true });
      this.#leaders.named(peer.remote.address, answer.leaders);
      this.#known.heard(answer.ledgerTerm, answer.ledgerIndex);
      this.#serveFrom(sentMs);
      if (!peer.closed && !this.#stopped) this.#scheduleHeartbeat(peer);
    } catch (error) {
      peer.close(`heartbeat failed: ${messageOf(error)}`);
    }
  }

  /** The request sent at `sentMs` was answered. */
  #serveFrom(sentMs: number): void {
    // What was answered before the leader heard of the stall, or of the end, no longer counts.
    if (this.#isStalled || this.#stopped) return;
    const untilMs = sentMs + this.#serveMs;
    this.#admission.serveUntil(untilMs);
    this.#cutOffTimer?.cancel();
    this.#cutOffTimer = this.#platform.clock.startTimer(Math.max(0, untilMs - this.#platform.clock.nowMs()), () => {
      this.#logger.warn("cut off from the leader: nothing is served until it answers");
    });
  }

  #wait(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#retryTimer = this.#platform.clock.startTimer(delayMs, resolve);
      this.#stopWaiting = () => {
        this.#retryTimer?.cancel();
        resolve();
      };
    });
  }
}
