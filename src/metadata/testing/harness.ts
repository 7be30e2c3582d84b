/** A metadata server's parts over a ledger and a state in memory, on a clock that the test moves. */
import { BrineError, type BrineErrorCode } from "../../errors/brine-error.ts";
import { Metrics } from "../../metrics/metrics.ts";
import type { SessionUser } from "../../namespace/model.ts";
import { Namespace } from "../../namespace/namespace.ts";
import type { Operation, Result } from "../../namespace/operation.ts";
import type { Logger } from "../../platform/logger.ts";
import { type MemoryDatabase, MemoryKeyValueEngine } from "../../platform/memory-key-value.ts";
import type { Address, Connection } from "../../platform/network.ts";
import { NetworkError } from "../../platform/network.ts";
import type { Platform } from "../../platform/platform.ts";
import type { LeasedInode, LeaseMode } from "../../wire/catalogue/leader.ts";
import type { HeldLock } from "../../wire/catalogue/locks.ts";
import { assemble, startParts } from "../assemble.ts";
import { Committer } from "../committer.ts";
import { oneCopy } from "../copies-report.ts";
import { coverGrant } from "../grants.ts";
import type { Leader } from "../leader.ts";
import { leaseBounds } from "../lease-limits.ts";
import type { Leases, StatedLease } from "../leases.ts";
import { Lifetime } from "../lifetime.ts";
import type { Parts } from "../methods.ts";
import type { RecallMessage } from "../recalls.ts";
import type { Session } from "../sessions.ts";
import { SpaceGuard } from "../space-guard.ts";
import type { Heartbeat } from "../stores.ts";
import { defaultTimeouts, type Timeouts } from "../timeouts.ts";
import type { TransactAnswer } from "../transactions.ts";
import { Waits } from "../waits.ts";
import { FakeLedger } from "./fake-ledger.ts";
import { FakePeer } from "./fake-peer.ts";
import { drain, ManualClock } from "./manual-clock.ts";

export class Harness {
  readonly clock = new ManualClock();
  readonly ledger = new FakeLedger();
  /** `level event` of each log line. */
  readonly lines: string[] = [];
  /** Addresses where nobody listens. */
  /** What a store says in every heartbeat, other than one that is well. */
  readonly said = new Map<number, Partial<Heartbeat>>();
  readonly refusing = new Set<string>();
  readonly failures: string[] = [];
  readonly copies = {
    ...oneCopy,
    addresses: [] as readonly Address[],
    changed: () => {},
    onAddresses(callback: () => void) {
      this.changed = callback;
    },
  };
  freeBytes = 1e12;
  /** Whether its server listens, and may answer. */
  isReachable = true;
  readonly #engine = new MemoryKeyValueEngine();
  #lifetime!: Lifetime;
  #parts!: Parts;

  #timeouts: Timeouts = defaultTimeouts;

  static async start(timeouts: Partial<Timeouts> = {}): Promise<Harness> {
    const harness = new Harness();
    harness.#timeouts = { ...defaultTimeouts, ...timeouts };
    await harness.#start();
    return harness;
  }

  get parts(): Parts {
    return this.#parts;
  }

  get leader(): Leader {
    return this.#parts.leader;
  }

  get database(): MemoryDatabase {
    return this.#engine.database("state");
  }

  /** A copy of the ledger has joined, or was forgotten. */
  changeCopies(addresses: readonly Address[]): void {
    this.copies.addresses = addresses;
    this.copies.changed();
  }

  /** The process dies and is started again: what was not committed to the state is gone, the ledger is there. */
  async restart(): Promise<void> {
    this.#lifetime.stop();
    this.database.crash(this.database.volatileCommits);
    this.ledger.term += 1;
    await this.#start();
  }

  async #start(): Promise<void> {
    const { clock, ledger } = this;
    const platform = this.#platform();
    const log = platform.logger;
    const timeouts = this.#timeouts;
    const lifetime = new Lifetime(clock, log, () => this.isReachable);
    this.#lifetime = lifetime;
    const state = this.database.open();
    const namespace = new Namespace(state);
    const space = new SpaceGuard({ disk: platform.disk, directory: "/", lifetime, log });
    const onFailure = (error: Error) => {
      this.failures.push(error.message);
      lifetime.stop();
    };
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
    const leader: Leader = { platform, log, timeouts, leaseBounds, lifetime, namespace, committer, waits };
    const own = { clusterId: "c", serverId: "meta", address: "meta:1", pid: 1 };
    this.#parts = assemble(leader, { own, term: ledger.term, space, foreign: { problems: [] }, copies: this.copies });
    space.start();
    committer.start();
    startParts(this.#parts);
    await drain();
  }

  // --- a cluster around it ---

  /** Registers a store that answers everything. */
  async addStore(name: string): Promise<{ store: number; peer: FakePeer }> {
    const peer = new FakePeer("store", (method) => (method === "store.equalize" ? { copiedBlocks: 0 } : {}));
    const store = await this.registerStore(name, peer);
    return { store, peer };
  }

  async registerStore(name: string, peer: FakePeer, knownGroups: readonly number[] = []): Promise<number> {
    this.refusing.delete(`${name}:1`);
    const space = { totalBytes: 100, freeBytes: 60 };
    const noMore = { labels: [], knownGroups };
    const whole = { loss: "none" as const, lossReason: "" };
    const request = { serverId: name, address: `${name}:1`, pid: 7, roles: ["store"], ...space, ...whole, ...noMore };
    const store = await this.parts.stores.register(request, peer, (state) => state.store);
    this.beat(store, peer);
    await this.clock.advance(0);
    return store;
  }

  /** @param said what differs now from a store that is well, beside what it always says */
  beat(store: number, peer: FakePeer, said: Partial<Heartbeat> = {}): void {
    const well = {
      totalBytes: 100,
      freeBytes: 60,
      badBlocks: 0,
      repairedBlocks: 0,
      badRanges: [],
      scrub: undefined,
      failure: undefined,
      stall: undefined,
      isLeaving: false,
      diskLatencyMs: undefined,
      catchUps: [],
    };
    this.parts.stores.heartbeat({ store, ...well, ...this.said.get(store), ...said }, peer);
  }

  /** Time passes; these stores and clients send their heartbeats meanwhile. */
  async pass(
    ms: number,
    alive: { stores?: readonly { store: number; peer: FakePeer }[]; sessions?: readonly Client[] } = {},
  ): Promise<void> {
    for (let leftMs = ms; leftMs > 0; leftMs -= 100) {
      for (const { store, peer } of alive.stores ?? []) if (!peer.closed) this.beat(store, peer);
      for (const { session, peer } of alive.sessions ?? []) this.parts.sessions.heartbeat(session.id, peer);
      await this.clock.advance(Math.min(leftMs, 100));
    }
  }

  async addVolume(name: string, replicas: number): Promise<number> {
    const { volume } = await this.parts.admin.createVolume({
      name,
      replicas,
      inSyncMin: 1,
      uid: 0,
      gid: 0,
      mode: 0o755,
    });
    return volume.volume;
  }

  /** @param user for whom the session acts */
  async mount(clientId: string, volume: string, user?: SessionUser): Promise<Client> {
    const peer = new FakePeer("client", undefined, clientId);
    const opened = await this.parts.sessions.open({ clientId, volume, host: clientId, user }, peer);
    const client = new Client(this, opened.session, peer, opened.volume.root);
    client.state(peer);
    return client;
  }

  #platform(): Platform {
    const { clock } = this;
    const logger = this.#logger();
    const disk = { space: async () => ({ totalBytes: 1e12, freeBytes: this.freeBytes }) };
    const network = {
      connect: async (address: string) => {
        if (this.refusing.has(address)) throw new NetworkError("ECONNREFUSED", `connect to ${address}`);
        return { start: () => {}, destroy: () => {} } as unknown as Connection;
      },
    };
    return { clock, logger, disk, network, metrics: new Metrics() } as unknown as Platform;
  }

  #logger(): Logger {
    const add = (level: string) => (event: string) => void this.lines.push(`${level} ${event}`);
    const logger: Logger = {
      debug: add("debug"),
      info: add("info"),
      warn: add("warn"),
      error: add("error"),
      for: () => logger,
    };
    return logger;
  }
}

/** A mounted client, by hand. It gives back what is recalled, at once, unless it is told not to. */
export class Client {
  readonly #harness: Harness;
  readonly #id: number;
  peer!: FakePeer;
  readonly root: number;
  /** What it has, by inode. */
  readonly held = new Map<number, StatedLease>();
  /** Keeps what is recalled. */
  isStubborn = false;
  #sequence = 0;

  constructor(harness: Harness, id: number, peer: FakePeer, root: number) {
    this.#harness = harness;
    this.#id = id;
    this.root = root;
    this.#attach(peer);
  }

  get session(): Session {
    return this.#harness.parts.sessions.get(this.#id)!;
  }

  get leases(): Leases {
    return this.#harness.parts.holdings.of(this.session.volume).leases;
  }

  /** Says on a connection what it has, and these holds and locks. */
  state(peer: FakePeer, holds: readonly number[] = [], locks: readonly HeldLock[] = []): void {
    this.#attach(peer);
    const leases = [...this.held.values()];
    const all = { first: true, last: true, holds: [...holds], leases, locks: [...locks], quotas: [] };
    const madeUs = this.#harness.clock.nowMs() * 1_000;
    this.#harness.parts.sessions.state({ session: this.#id, madeUs, ...all }, peer);
  }

  /** Sends a batch; `timeNs` of all that are predicted. */
  batch(
    operations: readonly Operation[],
    { first = this.#sequence + 1, timeNs = undefined as bigint | undefined, confirmed = 0 } = {},
  ): Promise<TransactAnswer> {
    this.#sequence = Math.max(this.#sequence, first + operations.length - 1);
    const transactions = operations.map((operation) => ({ timeNs, operation }));
    return this.#harness.parts.transactions.execute(this.session, { first, confirmed, transactions });
  }

  /** One transaction by itself. Errors: BrineError as it was refused; its number is free again. */
  async transact(operation: Operation, sequence = this.#sequence + 1): Promise<Result> {
    const { results, refused } = await this.batch([operation], { first: sequence });
    if (refused === undefined) return results[0]!;
    this.#sequence = sequence - 1;
    throw new BrineError(refused.code as BrineErrorCode, refused.reason);
  }

  async inode(): Promise<number> {
    const result = await this.transact({ kind: "grantInodes", count: 1 });
    if (result.kind !== "granted") throw new Error(JSON.stringify(result));
    return result.range.first;
  }

  /** A file in the root, under its cover; returns its inode. */
  async create(name: string): Promise<number> {
    const inode = await this.inode();
    await this.acquire(this.root, "exclusive");
    const result = await this.transact(createFile(this.root, name, inode));
    if (result.kind !== "attributes") throw new Error(JSON.stringify(result));
    this.held.set(inode, { inode, mode: "exclusive", grant: coverGrant });
    return inode;
  }

  async unlink(name: string): Promise<number> {
    await this.acquire(this.root, "exclusive");
    const result = await this.transact({ kind: "unlink", parent: this.root, name });
    if (result.kind !== "removed") throw new Error(JSON.stringify(result));
    return result.orphan;
  }

  /** Asks until it has at least this mode; returns the grant. */
  async acquire(inode: number, mode: LeaseMode): Promise<number> {
    for (;;) {
      const has = this.held.get(inode);
      if (has !== undefined && (mode === "shared" || has.mode === "exclusive")) return has.grant;
      const leased = await this.ask(inode, mode, has?.grant ?? 0);
      this.held.set(inode, { inode, mode: leased.mode, grant: leased.grant });
    }
  }

  async ask(inode: number, mode: LeaseMode, held: number): Promise<LeasedInode> {
    return this.#harness.parts.answers.acquire(this.session, { inode, mode, held, forData: false });
  }

  release(inode: number, { keepShared = false, hold = false } = {}): void {
    const has = this.held.get(inode);
    if (has === undefined) return;
    if (keepShared) this.held.set(inode, { ...has, mode: "shared" });
    else this.held.delete(inode);
    this.#harness.parts.answers.releaseLeases(this.session, [{ inode, grant: has.grant, keepShared, hold }]);
  }

  /** A file with one chunk; the exclusive lease is kept. */
  async write(inode: number): Promise<number> {
    await this.acquire(inode, "exclusive");
    const granted = await this.transact({ kind: "grantChunks", count: 1, pool: 0 });
    if (granted.kind !== "granted") throw new Error(JSON.stringify(granted));
    const chunk = granted.range.first;
    const mappings = [{ index: 0, chunk }];
    const result = await this.transact({ kind: "write", inode, mappings, end: 10, killPrivileges: false });
    if (result.kind !== "attributes") throw new Error(JSON.stringify(result));
    return chunk;
  }

  #attach(peer: FakePeer): void {
    this.peer = peer;
    peer.answer = (name, body: RecallMessage) => {
      if (name === "client.recallLeases" && !this.isStubborn) this.#recalled(body);
      return {};
    };
  }

  #recalled({ leases }: RecallMessage): void {
    for (const { inode, grant, wanted } of leases) {
      const has = this.held.get(inode);
      if (has?.grant !== grant || (wanted === "shared" && has.mode === "shared")) continue;
      this.release(inode, { keepShared: wanted === "shared" });
    }
  }
}

export function createFile(parent: number, name: string, inode: number): Operation {
  return {
    kind: "create",
    parent,
    name,
    inode,
    type: "file",
    mode: 0o644,
    umask: 0,
    uid: 0,
    gid: 0,
    device: 0,
    target: "",
  };
}
