/** A leader in memory: the real namespace, leases and sessions in their simplest form, faults as a test says. */
import { BrineError } from "../../errors/brine-error.ts";
import { FileError } from "../../errors/file-error.ts";
import type { MemberState } from "../../namespace/model.ts";
import { Namespace } from "../../namespace/namespace.ts";
import type { Operation, Result } from "../../namespace/operation.ts";
import { MemoryKeyValueEngine } from "../../platform/memory-key-value.ts";
import type { Platform } from "../../platform/platform.ts";
import * as methods from "../../wire/catalogue/leader.ts";
import { listenPeers } from "../../wire/listen.ts";
import type { Peer } from "../../wire/peer.ts";
import { Service } from "../../wire/service.ts";
import type { FakeStore } from "./fake-store.ts";

export const clusterId = "c".repeat(32);

interface Holder {
  session: number;
  mode: methods.LeaseMode;
  grant: number;
}

interface Waiter {
  session: number;
  mode: methods.LeaseMode;
  grant: () => void;
}

export class FakeLeader {
  readonly stores: FakeStore[];
  address = "127.0.0.1:0";
  volume = 0;
  sessionTimeoutMs = 2_000;
  namespace!: Namespace;
  readonly peers = new Map<number, Peer>();
  readonly holds = new Map<number, Set<number>>();
  readonly holders = new Map<number, Holder[]>();
  readonly expired = new Set<number>();
  /** Kinds of the transactions that were executed, in order. */
  readonly executed: string[] = [];
  recalls = 0;
  acquires = 0;
  reports = 0;
  /** Runs before a transaction is executed; may throw. */
  beforeTransact: (operation: Operation, sequence: number) => void = () => {};
  /** Runs after a transaction was executed and before its answer. */
  afterTransact: (operation: Operation, sequence: number) => Promise<void> | void = () => {};
  readonly #platform: Platform;
  readonly #waiters = new Map<number, Waiter[]>();
  readonly #everConnected = new Set<Peer>();
  #nextGrant = 1;
  #index = 0;
  #listener: { close(): Promise<void> } | undefined;

  constructor(platform: Platform, stores: FakeStore[]) {
    this.#platform = platform;
    this.stores = stores;
  }

  async start(groupCount: number): Promise<void> {
    const state = await new MemoryKeyValueEngine().open("state");
    this.namespace = new Namespace(state);
    for (const { store, address } of this.stores)
      this.#apply({ kind: "registerStore", serverId: `s${store}`, address });
    const members = this.stores.map(({ store }) => ({ store, state: "inSync" as MemberState }));
    const groups = Array.from({ length: groupCount }, () => members);
    this.#apply({ kind: "createGroups", replicas: this.stores.length, groups });
    const root = { uid: 0, gid: 0, mode: 0o755 };
    this.#apply({ kind: "createVolume", name: "home", replicas: this.stores.length, ...root });
    this.volume = this.namespace.volumeByName("home")!.volume;
    this.#tellStores();
    await this.listen();
  }

  async listen(): Promise<void> {
    const identity = () => ({ clusterId, serverId: "leader" });
    const onPeer = (peer: Peer) => this.#everConnected.add(peer);
    const listener = await listenPeers(this.#platform, this.address, { identity, service: this.#service(), onPeer });
    this.address = listener.address;
    this.#listener = listener;
  }

  /** Ends all connections; clients come back at once. */
  drop(): void {
    for (const peer of this.#everConnected) peer.close("dropped by the test");
    this.#everConnected.clear();
  }

  async stop(): Promise<void> {
    await this.#listener?.close();
    this.#listener = undefined;
  }

  /** Changes a member's state in all groups: a new generation of each. */
  changeMember(store: number, state: MemberState, tellClients = true): void {
    for (const { group, generation, members } of [...this.namespace.groups()]) {
      const changed = members.map((member) => (member.store === store ? { store, state } : member));
      this.#apply({ kind: "changeGroup", group, generation, members: changed });
    }
    this.#tellStores();
    if (!tellClients) return;
    for (const peer of this.peers.values()) {
      peer.request(methods.groupsChanged, { views: this.views() }, { timeoutMs: 1000 }).catch(() => {});
    }
  }

  /** The session is over: fenced at the stores, closed, its leases go to others. */
  expire(session: number): void {
    this.expired.add(session);
    for (const store of this.stores) store.fenced.add(session);
    this.#apply({ kind: "closeSession", session });
    for (const inode of [...this.holders.keys()]) this.#remove(inode, session);
    this.peers.get(session)?.close("expired");
    this.peers.delete(session);
  }

  views(): methods.GroupView[] {
    return this.namespace.groups().map(({ group, generation, members }) => ({
      group,
      generation,
      members: members.map(({ store, state }) => ({ store, state, address: this.#store(store).address })),
    }));
  }

  #store(number: number): FakeStore {
    return this.stores.find(({ store }) => store === number)!;
  }

  #tellStores(): void {
    for (const view of this.views()) {
      for (const { store, state } of view.members)
        if (state !== "behind") this.#store(store).views.set(view.group, view);
    }
  }

  #apply(operation: Operation, session = 0, sequence = 0, confirmed = 0): Result {
    const timeNs = BigInt(this.#index + 1) * 1_000_000n;
    this.#index += 1;
    const results = this.namespace.applyBatch(this.#index, [{ session, sequence, confirmed, timeNs, operation }]);
    return results[0]!;
  }

  #check(session: number, peer: Peer): void {
    if (this.expired.has(session)) throw new BrineError("sessionExpired", `session ${session}`);
    if (this.peers.get(session) !== peer) throw new BrineError("invalid", `session ${session} has not stated`);
  }

  #service(): Service {
    const service = new Service();
    this.#handleSessions(service);
    this.#handleNames(service);
    this.#handleData(service);
    return service;
  }

  #handleSessions(service: Service): void {
    service
      .handle(methods.openSession, ({ clientId, volume, host }) => {
        const record = this.namespace.volumeByName(volume);
        if (record === undefined) throw new BrineError("notFound", `no volume ${volume}`);
        const result = this.#apply({ kind: "openSession", clientId, volume: record.volume, host });
        if (result.kind !== "session") throw new BrineError("internal", result.kind);
        const { session, lastSequence } = result;
        return { session, lastSequence, volume: record, sessionTimeoutMs: this.sessionTimeoutMs };
      })
      .handle(methods.stateHoldings, ({ session, holds, leases }, _payload, peer) => {
        if (this.expired.has(session)) throw new BrineError("sessionExpired", `session ${session}`);
        const older = this.peers.get(session);
        this.peers.set(session, peer);
        if (older !== undefined && older !== peer) older.close("a newer connection");
        this.holds.set(session, new Set(holds));
        for (const inode of [...this.holders.keys()]) this.#remove(inode, session);
        for (const [inode, waiters] of this.#waiters) {
          this.#waiters.set(
            inode,
            waiters.filter((waiter) => waiter.session !== session),
          );
        }
        for (const { inode, mode, grant } of leases) this.#holdersOf(inode).push({ session, mode, grant });
        return {};
      })
      .handle(methods.heartbeat, ({ session }, _payload, peer) => {
        this.#check(session, peer);
        return {};
      })
      .handle(methods.closeSession, ({ session }, _payload, peer) => {
        this.#check(session, peer);
        this.#apply({ kind: "closeSession", session });
        this.peers.delete(session);
        return {};
      });
  }

  #handleNames(service: Service): void {
    service
      .handle(methods.transact, async ({ session, sequence, confirmed, hold, operation }, _payload, peer) => {
        this.#check(session, peer);
        const { lastSequence } = this.namespace.session(session)!;
        if (sequence > lastSequence + 1) throw new BrineError("invalid", `gap before ${sequence}`);
        if (sequence === lastSequence + 1) {
          this.beforeTransact(operation, sequence);
          this.executed.push(operation.kind);
        }
        const result = this.#apply(operation, session, sequence, confirmed);
        if (hold && operation.kind === "create" && result.kind === "attributes") {
          this.holds.get(session)!.add(operation.inode);
        }
        await this.afterTransact(operation, sequence);
        return { result };
      })
      .handle(methods.lookup, ({ session, parent, name }, _payload, peer) => {
        this.#check(session, peer);
        return { attributes: this.namespace.lookup(this.volume, parent, name) };
      })
      .handle(methods.getAttributes, ({ inode }) => {
        const { attributes, parent } = this.#inode(inode);
        return { attributes, parent };
      })
      .handle(methods.readLink, ({ inode }) => ({ target: this.#inode(inode).target }))
      .handle(methods.readDirectory, ({ directory, after, limit, withAttributes }) => ({
        entries: this.namespace.readDirectory(this.volume, directory, after, limit, withAttributes),
      }))
      .handle(methods.statVolume, () => ({ totalBytes: 1, freeBytes: 1, inodeCount: 1 }))
      .handle(methods.open, ({ session, inode }, _payload, peer) => {
        this.#check(session, peer);
        const { attributes } = this.#inode(inode);
        this.holds.get(session)!.add(inode);
        return { attributes };
      })
      .handle(methods.release, ({ session, inodes }, _payload, peer) => {
        this.#check(session, peer);
        for (const inode of inodes) this.holds.get(session)!.delete(inode);
        return {};
      });
  }

  #handleData(service: Service): void {
    service
      .handle(methods.acquireLease, async ({ session, inode, mode }, _payload, peer) => {
        this.#check(session, peer);
        this.acquires += 1;
        const grant = await this.#acquire(session, inode, mode);
        const { attributes } = this.#inode(inode);
        return { grant, attributes, ...this.namespace.mappings(this.volume, inode, 0, 2) };
      })
      .handle(methods.releaseLeases, ({ session, inodes }, _payload, peer) => {
        this.#check(session, peer);
        for (const inode of inodes) this.#remove(inode, session);
        return {};
      })
      .handle(methods.readMappings, ({ inode, from }) => this.namespace.mappings(this.volume, inode, from, 2))
      .handle(methods.readGroups, () => ({ views: this.views() }))
      .handle(methods.reportStore, async ({ store }) => {
        this.reports += 1;
        const { address } = this.#store(store);
        try {
          const connection = await this.#platform.network.connect(address, 500);
          connection.start({ onData() {}, onDrain() {}, onClose() {} });
          connection.destroy();
          return { removed: false };
        } catch {
          const inSync = this.views().some((view) =>
            view.members.some((m) => m.store === store && m.state !== "behind"),
          );
          if (inSync) this.changeMember(store, "behind");
          return { removed: true };
        }
      });
  }

  #inode(inode: number) {
    const record = this.namespace.inode(this.volume, inode);
    if (record === undefined) throw new FileError("ENOENT");
    return record;
  }

  #holdersOf(inode: number): Holder[] {
    let holders = this.holders.get(inode);
    if (holders === undefined) {
      holders = [];
      this.holders.set(inode, holders);
    }
    return holders;
  }

  async #acquire(session: number, inode: number, mode: methods.LeaseMode): Promise<number> {
    this.#remove(inode, session);
    await new Promise<void>((grant) => {
      const waiters = this.#waiters.get(inode) ?? [];
      waiters.push({ session, mode, grant });
      this.#waiters.set(inode, waiters);
      this.#serve(inode);
    });
    return this.#holdersOf(inode).find((holder) => holder.session === session)!.grant;
  }

  #serve(inode: number): void {
    const holders = this.#holdersOf(inode);
    const waiters = this.#waiters.get(inode) ?? [];
    while (waiters.length > 0) {
      const { session, mode, grant } = waiters[0]!;
      const inTheWay = holders.filter((holder) => holder.mode === "exclusive" || mode === "exclusive");
      if (inTheWay.length > 0) {
        for (const holder of inTheWay) {
          this.recalls += 1;
          const peer = this.peers.get(holder.session);
          peer?.request(methods.recallLease, { inode }, { timeoutMs: 1000 }).catch(() => {});
        }
        return;
      }
      waiters.shift();
      holders.push({ session, mode, grant: this.#nextGrant++ });
      grant();
    }
  }

  #remove(inode: number, session: number): void {
    const holders = this.#holdersOf(inode);
    const at = holders.findIndex((holder) => holder.session === session);
    if (at < 0) return;
    holders.splice(at, 1);
    this.#serve(inode);
  }
}
