/**
 * Stores as the leader sees them: registered over which connection, heard of when, and whether they can still be serving.
 *
 * A store serves for `storeServeMs` from the sending of the last heartbeat that was answered. So it is surely not serving
 * (dead) when
 *
 * - that time and a margin have passed since the last heartbeat was received, and its connection was ended, or
 * - nobody listens at its address: its process has ended (a new one has to register before it serves), or
 * - it says itself that its disk has failed or doesn't answer, or that its process ends (until it registers again).
 *
 * A connection that breaks says nothing by itself: the address is asked at once, and again and again.
 *
 * A dead store is not always *called* dead right away: after the leader's own start others start too, and while nobody
 * has mounted anything the whole cluster may be about to stop.
 */
import { BrineError } from "../errors/brine-error.ts";
import type { Label } from "../namespace/model.ts";
import { labelsText } from "../namespace/store-labels.ts";
import type { StoreCondition, StoreLoss } from "../placement/next-members.ts";
import type { Address } from "../platform/network.ts";
import type { BadRange, ScrubReport } from "../wire/catalogue/registration.ts";
import type { Peer } from "../wire/peer.ts";
import type { Leader } from "./leader.ts";
import { nobodyListens } from "./nobody-listens.ts";
import { slowStores } from "./slow-stores.ts";
import { StoreProcesses, wasRemoved } from "./store-processes.ts";

export interface StoreState {
  readonly store: number;
  readonly serverId: string;
  address: Address;
  /** The connection on which it is registered. */
  peer: Peer | undefined;
  pid: number;
  roles: readonly string[];
  /** 0 before the first registration at this leader. */
  totalBytes: number;
  freeBytes: number;
  badBlocks: number;
  repairedBlocks: number;
  /** What is bad there now. */
  badRanges: readonly BadRange[];
  /** Of the scrub that runs, or of the last one. */
  scrub: ScrubReport | undefined;
  /** What it copies from others. */
  catchUps: readonly CatchUpProgress[];
  /** What it says of its disk. */
  failure: string | undefined;
  /** How its disk does not answer: it serves nothing. */
  stall: string | undefined;
  /** Its process ends, as it was asked to: it serves nothing. */
  isLeaving: boolean;
  diskLatencyMs: number | undefined;
  /** Why it isn't taken in: it has lost data of which it has the only copy. */
  lost: string | undefined;
  heardMs: number;
  /** It has taken in the answer to its registration: it has sent a heartbeat since. */
  hasBeat: boolean;
  /** Nobody listens at its address. */
  isRefused: boolean;
  /** Registered at this leader at least once. */
  isSeen: boolean;
  /** Since when it is not registered; wall clock, for people. */
  offlineSinceNs: bigint | undefined;
  deadSinceMs: number | undefined;
  lastCondition: StoreCondition;
  /** Generation of each group that it is known to have. */
  readonly generations: Map<number, number>;
  probing: Promise<void> | undefined;
}

export interface Registration {
  readonly serverId: string;
  readonly address: Address;
  readonly labels: readonly Label[];
  readonly knownGroups: readonly number[];
  readonly pid: number;
  readonly roles: readonly string[];
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly loss: StoreLoss | "accepted";
  readonly lossReason: string;
}

export interface CatchUpProgress {
  readonly group: number;
  /** Number of the group's chunks up to which it is. */
  readonly position: number;
  readonly copiedBytes: number;
}

export interface Heartbeat {
  readonly store: number;
  readonly totalBytes: number;
  readonly freeBytes: number;
  readonly badBlocks: number;
  readonly repairedBlocks: number;
  readonly badRanges: readonly BadRange[];
  readonly scrub: ScrubReport | undefined;
  readonly failure: string | undefined;
  readonly stall: string | undefined;
  readonly isLeaving: boolean;
  readonly diskLatencyMs: number | undefined;
  readonly catchUps: readonly CatchUpProgress[];
}

export interface StoresHooks {
  /** A store's condition has changed, or it has a new address. */
  readonly onChange: () => void;
  /** Resolves when no change of groups is half done. */
  readonly settled: () => Promise<void>;
  /** A store has lost data; resolves with the groups in which it is in sync all the same (see Groups). */
  readonly hasLost: (store: number, loss: StoreLoss, peer: Peer) => Promise<readonly number[]>;
  readonly acceptLoss: (store: number) => void;
  /** Whether any client has a session. */
  readonly isMounted: () => boolean;
}

export class Stores {
  readonly #leader: Leader;
  readonly #hooks: StoresHooks;
  readonly #stores = new Map<number, StoreState>();
  readonly processes = new StoreProcesses();
  #startedMs = 0;

  constructor(leader: Leader, hooks: StoresHooks) {
    this.#leader = leader;
    this.#hooks = hooks;
  }

  start(): void {
    const { lifetime, timeouts, namespace } = this.#leader;
    this.#startedMs = lifetime.nowMs();
    for (const { store, serverId, address } of namespace.stores()) this.#add(store, serverId, address);
    lifetime.repeat(timeouts.probeIntervalMs, (deafMs) => this.#watch(deafMs));
  }

  /** By number. */
  all(): StoreState[] {
    return [...this.#stores.values()];
  }

  get(store: number): StoreState | undefined {
    return this.#stores.get(store);
  }

  condition(store: number): StoreCondition {
    const state = this.#stores.get(store);
    return state === undefined ? "dead" : this.#condition(state);
  }

  /** Those whose disks are much slower than the others'. */
  slow(): Set<number> {
    const online = this.all().filter((state) => this.#condition(state) === "online");
    return slowStores(online.map(({ store, diskLatencyMs: latencyMs }) => ({ store, latencyMs })));
  }

  /** For how long the store has been dead; 0 if it isn't. */
  deadForMs(store: number): number {
    const state = this.#stores.get(store);
    if (state === undefined || this.#condition(state) !== "dead") return 0;
    return this.#leader.lifetime.nowMs() - (state.deadSinceMs ?? 0);
  }

  /** The connection of a store that is online. */
  peer(store: number): Peer | undefined {
    return this.condition(store) === "online" ? this.#stores.get(store)!.peer : undefined;
  }

  /** True if the store can't be answering anyone until it registers again. */
  isStill(store: number): boolean {
    const state = this.#stores.get(store);
    return state === undefined || this.#isStill(state);
  }

  /**
   * Takes a store in. `answer` is called when it is; what it returns must go out on the connection before anything else.
   * Errors: noSpace, notServing (also: another process may be serving it), refused (it has lost the only copy of something, or was
   * removed), and closed if the connection ended meanwhile.
   */
  async register<R>(
    request: Registration,
    peer: Peer,
    answer: (state: StoreState, lossSettled: boolean) => R,
  ): Promise<R> {
    const { lifetime, namespace, committer, log } = this.#leader;
    const receivedMs = lifetime.nowMs();
    const { serverId, address } = request;
    const labels = [...request.labels];
    const known = namespace.stores().find((one) => one.serverId === serverId);
    if (known?.status === "removed") throw wasRemoved(known.store);
    let number = known?.store;
    if (number !== undefined) this.processes.check(this.#stores.get(number), request, this.isStill(number), receivedMs);
    const groupsBelow = Math.max(0, ...request.knownGroups) + 1;
    if (groupsBelow > namespace.groupsBelow) await committer.execute({ kind: "skipGroups", below: groupsBelow });
    if (known?.address !== address || labelsText(known.startLabels) !== labelsText(labels)) {
      const result = await committer.execute({ kind: "registerStore", serverId, address, labels });
      if (result.kind !== "made") throw new BrineError("invalid", `store ${serverId} can't be registered`);
      number = result.id;
    }
    // A change that takes it out of groups must not cross with a registration that says that it is in.
    const concerned = await this.#considerLoss(number!, request, peer);
    await this.#hooks.settled();
    if (lifetime.stopped) throw new BrineError("notServing", "the metadata server stops");
    if (peer.closed) throw new BrineError("closed", "the connection has ended");
    if (namespace.stores().some((one) => one.store === number && one.status === "removed")) throw wasRemoved(number!);
    this.processes.check(this.#stores.get(number!), request, this.isStill(number!), lifetime.nowMs());
    const state = this.#stores.get(number!) ?? this.#add(number!, serverId, address);
    const older = state.peer;
    const { pid, roles, totalBytes, freeBytes } = request;
    const failure = state.pid === pid ? state.failure : undefined;
    Object.assign(state, { address, peer, pid, roles, totalBytes, freeBytes, failure, heardMs: receivedMs });
    Object.assign(state, {
      hasBeat: false,
      stall: undefined,
      isLeaving: false,
      diskLatencyMs: undefined,
      isRefused: false,
      isSeen: true,
      offlineSinceNs: undefined,
      deadSinceMs: undefined,
    });
    state.generations.clear();
    older?.close("the store has a newer connection");
    peer.onClose((reason) => this.#disconnected(state, peer, reason));
    log.info("store registered", { store: state.store, address, pid });
    this.#hooks.onChange();
    return answer(state, concerned.length === 0);
  }

  /** Groups in which what the store has lost still matters. Errors: refused. */
  async #considerLoss(store: number, { loss, lossReason }: Registration, peer: Peer): Promise<readonly number[]> {
    const wanted = loss === "accepted" ? "certain" : loss;
    if (wanted !== "none") this.#leader.log.error("a store has lost data", { store, loss, reason: lossReason });
    const state = this.#stores.get(store);
    if (state !== undefined) state.lost = undefined;
    const concerned = await this.#hooks.hasLost(store, wanted, peer);
    if (loss === "accepted") this.#hooks.acceptLoss(store);
    if (loss !== "certain" || concerned.length === 0) return loss === "accepted" ? [] : concerned;
    const what = `store ${store} has lost data (${lossReason}) and has the only copy of ${concerned.length} groups`;
    if (state !== undefined) state.lost = lossReason;
    throw new BrineError("refused", what, {
      advice:
        "bring a store back that has another copy; or start this one with --accept-loss: what is missing then fails with EIO or is zeros",
    });
  }

  /** Errors: notServing if the store is not registered on this connection. */
  heartbeat(request: Heartbeat, peer: Peer): void {
    const state = this.#stores.get(request.store);
    if (state?.peer !== peer) throw new BrineError("notServing", `store ${request.store} has to register first`);
    const { totalBytes, freeBytes, badBlocks, repairedBlocks, badRanges, scrub } = request;
    const { catchUps, failure, stall, isLeaving, diskLatencyMs } = request;
    if (failure !== undefined && state.failure === undefined) {
      this.#leader.log.error("a store's disk has failed", { store: state.store, address: state.address, failure });
    }
    if (stall !== undefined) {
      this.#leader.log.error("a store's disk does not answer", { store: state.store, address: state.address, stall });
    }
    if (isLeaving) this.#leader.log.info("a store is being stopped", { store: state.store, address: state.address });
    if (badBlocks > state.badBlocks) {
      this.#leader.log.warn("a store has found bad blocks", { store: state.store, badBlocks });
    }
    const heardMs = this.#leader.lifetime.nowMs();
    Object.assign(state, { totalBytes, freeBytes, badBlocks, repairedBlocks, badRanges, scrub });
    Object.assign(state, { catchUps, failure, stall, isLeaving, diskLatencyMs, heardMs, hasBeat: true });
    this.#noticeChange(state);
  }

  /** The store does not do what it must: it has to register again, or is dead when its time has run out. */
  revoke(store: number, peer: Peer, reason: string): void {
    const state = this.#stores.get(store);
    if (state?.peer !== peer) return;
    this.#leader.log.warn("store is cut off", { store, address: state.address, reason });
    peer.close(reason);
    this.#disconnected(state, peer, reason);
  }

  /** Asks whether anyone listens at the store's address; resolves when that is known. */
  probe(store: number): Promise<void> {
    const state = this.#stores.get(store);
    return state === undefined ? Promise.resolve() : this.#probe(state);
  }

  #add(store: number, serverId: string, address: Address): StoreState {
    const state: StoreState = {
      store,
      serverId,
      address,
      peer: undefined,
      pid: 0,
      roles: ["store"],
      totalBytes: 0,
      freeBytes: 0,
      badBlocks: 0,
      repairedBlocks: 0,
      badRanges: [],
      scrub: undefined,
      catchUps: [],
      failure: undefined,
      stall: undefined,
      isLeaving: false,
      diskLatencyMs: undefined,
      lost: undefined,
      heardMs: this.#leader.lifetime.nowMs(),
      hasBeat: false,
      isRefused: false,
      isSeen: false,
      offlineSinceNs: this.#leader.platform.clock.wallNs(),
      deadSinceMs: undefined,
      lastCondition: "silent",
      generations: new Map(),
      probing: undefined,
    };
    this.#stores.set(store, state);
    return state;
  }

  #disconnected(state: StoreState, peer: Peer, reason: string): void {
    if (state.peer !== peer || this.#leader.lifetime.stopped) return;
    state.peer = undefined;
    state.offlineSinceNs = this.#leader.platform.clock.wallNs();
    state.generations.clear();
    this.#leader.log.warn("store disconnected", { store: state.store, address: state.address, reason });
    this.#noticeChange(state);
    this.#leader.lifetime.run("probe store", () => this.#probe(state));
  }

  #probe(state: StoreState): Promise<void> {
    state.probing ??= this.#connect(state).finally(() => {
      state.probing = undefined;
    });
    return state.probing;
  }

  async #connect(state: StoreState): Promise<void> {
    const { platform, timeouts, lifetime } = this.#leader;
    const { address } = state;
    if (!(await nobodyListens(platform.network, address, timeouts.probeMs))) return;
    if (lifetime.stopped || state.peer !== undefined || state.address !== address) return;
    state.isRefused = true;
    this.#noticeChange(state);
  }

  #watch(deafMs: number): void {
    // If this process was held up, heartbeats may be waiting unread.
    const nowMs = this.#leader.lifetime.nowMs();
    this.#startedMs = Math.min(nowMs, this.#startedMs + deafMs);
    for (const state of this.all()) {
      state.heardMs = Math.min(nowMs, state.heardMs + deafMs);
      if (state.peer !== undefined && this.#isOverdue(state)) this.revoke(state.store, state.peer, "no heartbeats");
      if (state.peer === undefined && !state.isRefused)
        this.#leader.lifetime.run("probe store", () => this.#probe(state));
      this.#noticeChange(state);
    }
  }

  #noticeChange(state: StoreState): void {
    const condition = this.#condition(state);
    if (condition === state.lastCondition) return;
    state.lastCondition = condition;
    this.#hooks.onChange();
  }

  #isOverdue(state: StoreState): boolean {
    const { timeouts, lifetime } = this.#leader;
    return lifetime.nowMs() - state.heardMs > timeouts.storeServeMs + timeouts.storeMarginMs;
  }

  #isStill(state: StoreState): boolean {
    if (state.failure !== undefined || state.stall !== undefined || state.isLeaving) return true;
    // While it is connected a heartbeat may be waiting unread, whose answer would let it serve: first it is cut off (#watch).
    return state.peer === undefined && (state.isRefused || this.#isOverdue(state));
  }

  /** The store has been removed: it is told so when it registers again. */
  dismiss(store: number): void {
    const state = this.#stores.get(store);
    if (state?.peer !== undefined) this.revoke(store, state.peer, "it was removed from the cluster");
  }

  #condition(state: StoreState): StoreCondition {
    if (!this.#isStill(state)) {
      state.deadSinceMs = undefined;
      return state.peer === undefined ? "silent" : "online";
    }
    const { timeouts, lifetime } = this.#leader;
    const nowMs = lifetime.nowMs();
    state.deadSinceMs ??= nowMs;
    if (!state.isSeen && nowMs - this.#startedMs < timeouts.storeStartupMs) return "silent";
    if (!this.#hooks.isMounted() && nowMs - state.deadSinceMs < timeouts.storeIdleMs) return "silent";
    return "dead";
  }
}
