/** A whole cluster on simulated hosts: servers, clients, and the administrator who makes the volume and asks for the state. */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { sleep } from "../platform/clock.ts";
import type { Platform } from "../platform/platform.ts";
import {
  type ClusterStatus,
  checkChunks,
  createVolume,
  type MissingChunk,
  orderScrub,
  readStatus,
} from "../wire/catalogue/admin.ts";
import { type LedgerRule, promoteLedger } from "../wire/catalogue/ledger.ts";
import { connectPeer } from "../wire/connect.ts";
import type { Method } from "../wire/method.ts";
import type { Peer } from "../wire/peer.ts";
import { Service } from "../wire/service.ts";
import { checkHealthy } from "./checkers/healthy.ts";
import { Violation } from "./checkers/violation.ts";
import { CopyTurns } from "./copy-turns.ts";
import type { Hooks } from "./hooks.ts";
import { owner } from "./model-operations.ts";
import { type ClientEvents, type ClientMount, SimulatedClient } from "./simulated-mount.ts";
import type { World } from "./simulated-platform.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import { addressOf, clusterId, type ServerPlan, SimulatedServer } from "./simulated-server.ts";

/** As the quickstart has it: one server with both roles, one with a store only. */
const combinedLayout: readonly ServerPlan[] = [
  { name: "alpha", roles: ["metadata", "store"] },
  { name: "beta", roles: ["store"] },
];

/** Metadata and stores can fail apart. */
const separateLayout: readonly ServerPlan[] = [
  { name: "meta", roles: ["metadata"] },
  { name: "alpha", roles: ["store"] },
  { name: "beta", roles: ["store"] },
];

/** A store that is away for so long is given up: several times in a simulation. */
export const rebuildAfterMs = 4_000;

/** Disks get full one after the other: two copies, so that some groups are full while others have room. */
const threeStoreLayout: readonly ServerPlan[] = [...separateLayout, { name: "gamma", roles: ["store"] }];

/** More stores than copies, and a leader that soon gives up on those that are away. */
function memberLayout(): readonly ServerPlan[] {
  const stores = ["alpha", "beta", "gamma", "delta"].map((name) => ({ name, roles: ["store" as const] }));
  return [{ name: "meta", roles: ["metadata"], timeouts: { rebuildAfterMs } }, ...stores];
}

/** The ledger has two copies, and a store's server is the witness. */
function copiesLayouts(copies: LedgerRule): readonly (readonly ServerPlan[])[] {
  const stores = ["alpha", "beta"].map((name) => ({ name, roles: ["store" as const] }));
  return [
    [{ name: "meta", roles: ["metadata"] }, { name: "copy", roles: ["metadata"], copies }, ...stores],
    [
      { name: "meta", roles: ["metadata", "store"] },
      { name: "copy", roles: ["metadata", "store"], copies },
      { name: "alpha", roles: ["store"] },
    ],
  ];
}

export function layoutFor(
  { members, rules, copies, full }: { members?: boolean; rules?: boolean; copies?: boolean; full?: boolean },
  random: SimulatedRandom,
): readonly ServerPlan[] {
  if (members || rules) return memberLayout();
  // The ledger has room.
  if (full) return random.pick([separateLayout, threeStoreLayout]);
  return random.pick(copies ? copiesLayouts(random.pick(["required", "preferred"])) : [combinedLayout, separateLayout]);
}

export const volumeName = "home";
export const rootMode = 0o755;
const adminTimeoutMs = 3_000;
const adminRetryMs = 200;
/** A promotion waits for the old leader's leave to serve to end. */
const promotionTimeoutMs = 20_000;

export class SimulatedCluster {
  readonly world: World;
  /** Of operators and faults. */
  readonly copyTurns: CopyTurns;
  #servers: readonly SimulatedServer[] = [];
  readonly clients: readonly SimulatedClient[];
  readonly #makeServer: (plan: ServerPlan) => SimulatedServer;
  readonly #admin: Platform;
  #adminPeer: Peer | undefined;
  #leader: SimulatedServer | undefined;

  constructor(
    world: World,
    layout: readonly ServerPlan[],
    clientNames: readonly string[],
    hooks: Hooks,
    events: ClientEvents & { onDefect(error: Error): void },
  ) {
    this.world = world;
    const leaders = layout.filter(({ roles }) => roles.includes("metadata")).map(addressOf);
    this.#makeServer = (plan) => {
      const known = new Set([...leaders, ...this.metadataServers.map(({ address }) => address)]);
      return new SimulatedServer(world, plan, [...known], hooks, events.onDefect);
    };
    this.#servers = layout.map(this.#makeServer);
    const present = () => this.metadataServers.map(({ address }) => address);
    this.clients = clientNames.map((name) => new SimulatedClient(world, name, present, hooks, events));
    this.#admin = world.host("admin").boot().platform;
    this.copyTurns = new CopyTurns((ms) => sleep(this.#admin.clock, ms));
  }

  /** Those that are part of the cluster. */
  get servers(): readonly SimulatedServer[] {
    return this.#servers;
  }

  /** The one that leads; while none does, the one that led last. */
  get leader(): SimulatedServer {
    const known = this.metadataServers;
    this.#leader = known.find(({ metadata }) => metadata?.serving === true) ?? this.#leader;
    return this.#leader !== undefined && known.includes(this.#leader) ? this.#leader : known[0]!;
  }

  get mounts(): ClientMount[] {
    return this.clients.flatMap(({ current }) => current ?? []);
  }

  get metadataServers(): readonly SimulatedServer[] {
    return this.servers.filter(({ plan }) => plan.roles.includes("metadata"));
  }

  get stores(): readonly SimulatedServer[] {
    return this.servers.filter(({ plan }) => plan.roles.includes("store"));
  }

  /** A new machine with a store joins. */
  addStore(name: string): SimulatedServer {
    const server = this.#makeServer({ name, roles: ["store"] });
    this.#servers = [...this.#servers, server];
    server.start();
    return server;
  }

  /** A new machine joins as the ledger's copy. */
  addCopy(name: string, copies: LedgerRule): SimulatedServer {
    const server = this.#makeServer({ name, roles: ["metadata"], copies });
    this.#servers = [...this.#servers, server];
    server.start();
    return server;
  }

  /** It is no part of the cluster any more, and may run all the same. */
  leaveOut(server: SimulatedServer): void {
    this.#servers = this.#servers.filter((one) => one !== server);
  }

  /** A machine is lost for good, with its disk. */
  forget(server: SimulatedServer): void {
    server.lose();
    this.leaveOut(server);
  }

  /** Starts everything and makes the volume. Default: a copy on each store. */
  async start(replicas = this.stores.length): Promise<void> {
    for (const server of this.servers) server.start();
    await this.#ask((peer) =>
      peer.request(
        createVolume,
        { name: volumeName, replicas, inSyncMin: 1, ...owner, mode: rootMode },
        { timeoutMs: adminTimeoutMs },
      ),
    );
    for (const client of this.clients) client.start();
    for (const client of this.clients) await client.mount();
  }

  /** True if a store refuses the session, whatever the leader knows of it. */
  isFenced(session: number): boolean {
    return this.stores.some((server) => server.refuses(session));
  }

  async status(): Promise<ClusterStatus> {
    const { body } = await this.#ask((peer) => peer.request(readStatus, {}, { timeoutMs: adminTimeoutMs }));
    checkHealthy(body);
    return body;
  }

  /** As an operator asks: until the leader answers. Errors: what it refuses. */
  async request<Q, R>(method: Method<Q, R>, request: Q): Promise<R> {
    const answer = await this.#ask<R | BrineError>(async (peer) => {
      try {
        return (await peer.request(method, request, { timeoutMs: adminTimeoutMs })).body;
      } catch (error) {
        if (hasCode(error, "refused", "invalid", "notFound", "busy")) return error;
        throw error;
      }
    });
    if (answer instanceof BrineError) throw answer;
    return answer;
  }

  /** `brine ledger promote`. Errors: what it refuses, and those of the connection. */
  async promote(server: SimulatedServer, how: { oldLeaderIsOff: boolean }): Promise<void> {
    const peer = await this.#connect(server.address);
    try {
      await peer.request(promoteLedger, { ...how, acceptLoss: false }, { timeoutMs: promotionTimeoutMs });
    } finally {
      peer.close("asked");
    }
  }

  /** One look of `brine check --repair` at the whole cluster. Errors: those of the requests. */
  async checkChunks(): Promise<MissingChunk[]> {
    const peer = await this.#connect();
    const missing: MissingChunk[] = [];
    try {
      const { body: status } = await peer.request(readStatus, {}, { timeoutMs: adminTimeoutMs });
      for (const { group } of status.groups) {
        for (let [after, done] = [0, false]; !done; ) {
          const request = { group, after, repair: true };
          const { body } = await peer.request(checkChunks, request, { timeoutMs: adminTimeoutMs });
          for (const one of body.missing) missing.push(one);
          ({ upTo: after, done } = body);
        }
      }
      return missing;
    } finally {
      peer.close("checked");
    }
  }

  /** Resolves when each group has all its copies, in sync, and nothing is left to delete or to move. */
  async whole(): Promise<void> {
    for (;;) {
      const { groups, chunksToDelete, healing, metadata } = await this.status();
      const isWhole = ({ members, replicas }: ClusterStatus["groups"][number]) =>
        members.length === replicas && members.every(({ state }) => state === "inSync");
      const isCopied = this.metadataServers.length === 1 || metadata.startsWith("two copies");
      if (groups.every(isWhole) && chunksToDelete === 0 && healing === undefined && isCopied) return;
      await sleep(this.#admin.clock, adminRetryMs);
    }
  }

  /** The same, and the leader hears of all stores: one that has just started says of them what it knows from before. */
  async allThere(): Promise<void> {
    for (;;) {
      await this.whole();
      if ((await this.#scrubs()).areThere) return;
      await sleep(this.#admin.clock, adminRetryMs);
    }
  }

  /** Resolves when the leader has told all stores that are there. */
  async orderScrub(): Promise<void> {
    await this.request(orderScrub, { store: "", volume: "" });
  }

  async #scrubs() {
    const { servers, badRanges } = await this.status();
    const stores = servers.filter(({ store }) => store !== 0);
    const areThere = stores.every(({ state }) => state === "online");
    return { scrubs: stores.map(({ scrub }) => scrub), areThere, badRanges };
  }

  /** Resolves with when they began, once none runs and all stores are there: an order reaches nobody else. */
  async #scrubsEnded(): Promise<Set<number>> {
    for (;;) {
      const { scrubs, areThere } = await this.#scrubs();
      if (areThere && scrubs.every((scrub) => scrub?.endedMs !== 0))
        return new Set(scrubs.map((scrub) => scrub?.beganMs ?? 0));
      await sleep(this.#admin.clock, adminRetryMs);
    }
  }

  /**
   * All stores read and repair everything. Resolves when they are done, with what they have found.
   * Errors: Violation (something is bad although another member is whole).
   */
  async scrubbed(): Promise<{ badBlocks: number; differingBlocks: number }> {
    // One that goes on from before may have found what has passed since.
    const before = await this.#scrubsEnded();
    await this.orderScrub();
    for (;;) {
      await sleep(this.#admin.clock, adminRetryMs);
      const { scrubs, badRanges } = await this.#scrubs();
      const isDone = (scrub: (typeof scrubs)[number]) =>
        scrub?.isOrdered === true && scrub.endedMs !== 0 && !before.has(scrub.beganMs);
      if (!scrubs.every(isDone)) continue;
      const [bad] = badRanges;
      if (bad !== undefined) throw new Violation("rot is repaired", `chunk ${bad.chunk} is bad on store ${bad.stores}`);
      const sum = (what: "badBlocks" | "differingBlocks") => scrubs.reduce((all, scrub) => all + scrub![what], 0);
      return { badBlocks: sum("badBlocks"), differingBlocks: sum("differingBlocks") };
    }
  }

  /** All clients; ends when no session is left. Errors: Violation. */
  async unmount(): Promise<void> {
    const ended = new Set<number>();
    for (const client of this.clients) {
      const { client: mounted } = await client.mount();
      ended.add(mounted.session.id);
      await mounted.unmount();
    }
    for (;;) {
      const { sessions } = await this.status();
      const left = sessions.filter(({ session }) => ended.has(session));
      if (left.length > 0) throw new Violation("unmount ends the session", `${left.length} are left`);
      // Those of clients that were killed while they mounted, or got no answer when they did, end when their time is over.
      if (sessions.length === 0) return;
      await sleep(this.#admin.clock, adminRetryMs);
    }
  }

  /** Asks the leader until it answers. */
  async #ask<R>(question: (peer: Peer) => Promise<R>): Promise<R> {
    for (;;) {
      try {
        this.#adminPeer ??= await this.#connect();
        return await question(this.#adminPeer);
      } catch (error) {
        this.world.log.add("debug", "admin: no answer", { error: (error as Error).message });
        this.#adminPeer?.close("no answer");
        this.#adminPeer = undefined;
        await sleep(this.#admin.clock, adminRetryMs);
      }
    }
  }

  #connect(address = this.leader.address): Promise<Peer> {
    const identity = { role: "admin" as const, clusterId, peerId: "", description: "the simulation's administrator" };
    return connectPeer(this.#admin, address, identity, new Service(), adminTimeoutMs);
  }
}
