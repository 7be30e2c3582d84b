/** Store servers on memory disks with real connections over loopback, and a leader that does what the test says. */
import { BrineError } from "../../errors/brine-error.ts";
import type { MemberState } from "../../namespace/model.ts";
import { MemoryKeyValueEngine } from "../../platform/memory-key-value.ts";
import type { Platform } from "../../platform/platform.ts";
import { realPlatform } from "../../platform/real.ts";
import type { LedgerOrigin, Role } from "../../wire/catalogue/handshake.ts";
import type { GroupView } from "../../wire/catalogue/leader.ts";
import {
  caughtUp,
  judgeDifferences,
  registerStore,
  type ScrubReport,
  storeHeartbeat,
} from "../../wire/catalogue/registration.ts";
import { readBlocks, setGroups, type Version, writeBlocks } from "../../wire/catalogue/store.ts";
import { blockChecksums } from "../../wire/checksum.ts";
import { connectPeer } from "../../wire/connect.ts";
import { listenPeers } from "../../wire/listen.ts";
import type { Peer } from "../../wire/peer.ts";
import { Service } from "../../wire/service.ts";
import { StoreServer } from "../store-server.ts";
import { contentOfExtents } from "./blocks.ts";
import { MemoryDisk } from "./memory-disk.ts";

export const clusterId = "c".repeat(32);
export const testGroup = 3;
export const timeoutMs = 5_000;

export interface TestStore {
  readonly number: number;
  readonly address: string;
  readonly disk: MemoryDisk;
  readonly lines: string[];
  readonly server: StoreServer;
  /** As a leader has it. */
  readonly leader: Peer;
  readonly client: Peer;
  stop(): Promise<void>;
}

export class TestCluster {
  readonly stores = new Map<number, TestStore>();
  readonly heartbeats: {
    store: number;
    failure: string | undefined;
    stall: string | undefined;
    isLeaving: boolean;
    badBlocks: number;
    scrub: ScrubReport | undefined;
  }[] = [];
  /** Of stores that have another number than their server. */
  readonly numbers = new Map<string, number>();
  /** Chunks that files have, and sessions that are over for good. */
  readonly mapped = new Set<number>();
  readonly over = new Set<number>();
  /** A store asks for one of these. */
  onJudge: () => void = () => {};
  readonly caughtUp: { store: number; group: number; generation: number }[] = [];
  /** What stores have said at their registrations. */
  readonly losses: { loss: string }[] = [];
  views: GroupView[] = [];
  liveSessions = [1, 2];
  heartbeatMs = 20;
  serveMs = 300;
  /** The last one that was started. */
  #leader: { address: string; close(): Promise<void> } | undefined;
  /** What leaders answer of leader and copy. */
  named: string[] = [];
  /** The connection of the store that registered last. */
  registered: Peer | undefined;
  /** What outlives a restart of a store. */
  readonly #disks = new Map<number, { disk: MemoryDisk; keyValue: MemoryKeyValueEngine }>();

  async startLeader(address = "127.0.0.1:0", term = 1, origin?: LedgerOrigin): Promise<string> {
    const service = new Service()
      .handle(registerStore, (body, _payload, peer) => {
        this.losses.push(body);
        this.registered = peer;
        return {
          store: this.numbers.get(body.serverId) ?? Number(body.serverId),
          lossSettled: true,
          views: this.views,
          liveSessions: this.liveSessions,
          sessionsBelow: 10,
          heartbeatMs: this.heartbeatMs,
          serveMs: this.serveMs,
          leaders: this.named,
        };
      })
      .handle(judgeDifferences, ({ chunks, sessions }) => {
        this.onJudge();
        return {
          mapped: chunks.map((chunk) => this.mapped.has(chunk)),
          over: sessions.map((session) => this.over.has(session)),
        };
      })
      .handle(storeHeartbeat, ({ store, failure, stall, isLeaving, badBlocks, scrub }) => {
        this.heartbeats.push({ store, failure, stall, isLeaving, badBlocks, scrub });
        return { ledgerTerm: 0, ledgerIndex: 0, leaders: this.named };
      })
      .handle(caughtUp, (body) => {
        this.caughtUp.push(body);
        return {};
      });
    const identity = () => ({ clusterId, serverId: "leader", term, origin });
    this.#leader = await listenPeers(quietPlatform([]), address, { identity, service });
    return this.#leader.address;
  }

  async stopLeader(): Promise<void> {
    await this.#leader?.close();
  }

  async startStore(number: number, leaders: readonly string[]): Promise<TestStore> {
    const lines: string[] = [];
    const kept = this.#disks.get(number) ?? { disk: new MemoryDisk(), keyValue: new MemoryKeyValueEngine() };
    this.#disks.set(number, kept);
    const platform = { ...quietPlatform(lines), ...kept };
    const service = new Service();
    const serverId = String(number);
    const listener = await listenPeers(platform, "127.0.0.1:0", { identity: () => ({ clusterId, serverId }), service });
    const { address } = listener;
    const ids = { serverId, clusterId, address, leaders, pid: 1, roles: ["store"] };
    const server = await StoreServer.start(platform, {
      ...{ directory: "store", besideDirectory: "server", ...ids },
      segmentBytes: 1 << 20,
    });
    server.register(service);
    const connect = (role: Role) => {
      const identity = { role, clusterId, peerId: "test", description: "test" };
      return connectPeer(platform, address, identity, new Service(), timeoutMs);
    };
    const [leader, client] = [await connect("leader"), await connect("client")];
    const stop = async () => {
      leader.close("over");
      client.close("over");
      await server.stop();
      await listener.close();
    };
    const store = { number, address, disk: kept.disk, lines, server, leader, client, stop };
    this.stores.set(number, store);
    return store;
  }

  /** Everything is gone from the directory of a store that is stopped; what is beside it is left. */
  emptyStore(number: number): void {
    const { disk } = this.#disks.get(number)!;
    for (const path of disk.files.keys()) if (path.startsWith("store/")) disk.files.delete(path);
    this.#disks.set(number, { disk, keyValue: new MemoryKeyValueEngine() });
  }

  /** The group's view with the states given, for the stores that run. */
  view(generation: number, states: Record<number, MemberState>): GroupView {
    const members = Object.entries(states).map(([store, state]) => {
      return { store: Number(store), state, address: this.stores.get(Number(store))?.address ?? "127.0.0.1:1" };
    });
    return { group: testGroup, generation, members };
  }

  /** The group goes on so, and all stores that run are told. */
  async setViews(generation: number, states: Record<number, MemberState>): Promise<void> {
    this.views = [this.view(generation, states)];
    for (const store of this.stores.values()) {
      await store.leader.request(setGroups, { views: this.views }, { timeoutMs });
    }
  }

  /** Waits until the leader has heard of all stores. */
  async registeredAll(): Promise<void> {
    const known = () => new Set(this.heartbeats.map(({ store }) => store));
    await until("all are registered", () => known().size === this.stores.size);
  }

  async stop(): Promise<void> {
    for (const store of this.stores.values()) await store.stop();
    await this.stopLeader();
  }
}

/** Writes as session 1 does. */
export async function writeTo(
  store: TestStore,
  target: { generation: number; chunk: number; session?: number },
  firstBlock: number,
  data: Uint8Array,
  version: Version,
): Promise<void> {
  const { generation, chunk, session = 1 } = target;
  const checksums = blockChecksums(data, chunk, firstBlock, version);
  const parts = [{ chunk, firstBlock, version, checksums }];
  const body = { session, group: testGroup, generation, parts, restores: false };
  const reply = await store.client.request(writeBlocks, body, { payload: [data], timeoutMs });
  for (const { code, reason } of reply.body.failed) throw new BrineError(code, reason);
}

/** First byte of each of the first blocks of a chunk, undefined for holes. */
export async function readFrom(
  store: TestStore,
  target: { generation: number; chunk: number },
  blockCount: number,
): Promise<(number | undefined)[]> {
  const body = { session: 1, group: testGroup, ...target, firstBlock: 0, blockCount };
  const reply = await store.client.request(readBlocks, body, { timeoutMs });
  const extents = reply.body.extents.map(({ version, ...extent }) => {
    return { ...extent, stamp: { version, generation: 0, session: 0 }, segment: 0, offset: 0 };
  });
  return contentOfExtents(extents, reply.payload, blockCount);
}

/** Flips a bit in each block that is full of this byte. */
export function spoil(store: TestStore, fill: number): void {
  for (const [path, file] of store.disk.files) {
    if (!path.endsWith(".segment")) continue;
    for (const page of file.pages.values()) if (page[0] === fill && page[4095] === fill) page[7]! ^= 1;
  }
}

/** Waits for something to become true, with a deadline. */
export async function until(what: string, isTrue: () => boolean): Promise<void> {
  for (let turn = 0; turn < 6000; turn++) {
    if (isTrue()) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new Error(`${what}: not within 30 s`);
}

function quietPlatform(lines: string[]): Platform {
  return realPlatform({ logLevel: "debug", logTo: (line) => void lines.push(line) });
}
