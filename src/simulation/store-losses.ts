/**
 * What a store loses for good, while others have it: the index, everything, or the machine with it. Each happens alone, from full
 * membership until everything is whole again: what only one store has must not be lost. Where an operator changes the cluster meanwhile,
 * it is seldom whole: there it is enough that each group of the store has another member, and all of them are in sync, until the store
 * itself is so again.
 *
 *     index       it makes no sense any more, and is built anew from the segments
 *     everything  the store's directory is empty at the next start; its server knows that something was there
 *     machine     a new one with the same address takes its place, and has never been part of the cluster. An operator removes the
 *                 store that is gone, and has the new one take groups, with the labels of the old one. If that was the ledger's
 *                 witness, the new one becomes it
 *
 * Another member may be about to leave its groups in the same moment, or to say that it has lost something. Then what is lost turns out to
 * be the last good copy, and is found again.
 */
import { type ClusterStatus, changeStore, type StoreChange } from "../wire/catalogue/admin.ts";
import { setWitness } from "../wire/catalogue/ledger.ts";
import { labelStore } from "../wire/catalogue/placement.ts";
import type { Method } from "../wire/method.ts";
import { Attempts } from "./attempts.ts";
import type { SimulatedCluster } from "./cluster.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { SimulatedServer } from "./simulated-server.ts";

const pollMs = 100;
const operatorMs = 500;

export interface StoreLossesParts {
  readonly cluster: SimulatedCluster;
  readonly random: SimulatedRandom;
  readonly wait: (ms: number) => Promise<void>;
  /** For how long what was lost is away. */
  readonly durationMs: () => number;
  /** Somebody changes the cluster meanwhile. */
  readonly isOperated: boolean;
}

export class StoreLosses {
  readonly #parts: StoreLossesParts;
  readonly #attempts: Attempts;

  constructor(parts: StoreLossesParts) {
    this.#parts = parts;
    this.#attempts = new Attempts(parts.cluster, "LOSS");
  }

  /** All stores are there, and have everything. */
  async isWhole(): Promise<boolean> {
    const { cluster } = this.#parts;
    // A leader that has just started says of members what it knows from before: one may have lost data since.
    const { groups, servers } = await cluster.status();
    const areThere = cluster.servers.every((server) => runsAsKnown(server, servers));
    const haveAll = groups.every(
      ({ members, replicas }) => members.length === replicas && members.every(({ state }) => state === "inSync"),
    );
    return areThere && haveAll;
  }

  /** True if nothing is lost with it. */
  async canLose(what: "index" | "everything" | "machine", victim: SimulatedServer): Promise<boolean> {
    if (!this.#parts.isOperated) return this.isWhole();
    // With a damaged index a store waits for another member; that one may leave the group meanwhile.
    if (what === "index") return false;
    // From here on nobody strikes a server that votes on the ledger's leader.
    if (what === "machine") victim.losing = what;
    const mayGo = await this.#isSpare(victim, what);
    if (!mayGo) victim.losing = undefined;
    return mayGo;
  }

  async index(victim: SimulatedServer): Promise<void> {
    this.#log("indexDamage", victim);
    victim.kill({ power: this.#parts.random.chance(0.5) });
    victim.damageIndex();
    await this.#parts.wait(this.#parts.durationMs());
    victim.start();
    await this.#over(victim);
  }

  async everything(victim: SimulatedServer): Promise<void> {
    const [number] = await this.#numbersOf(victim);
    await this.#lose("store", victim);
    victim.start();
    let isSettled = false;
    await this.#over(victim, async () => {
      if (isSettled) return;
      // Once it is taken in without what it has lost, others have that; and what only this store has is new.
      isSettled = runsAsKnown(victim, (await this.#parts.cluster.status()).servers);
      if (isSettled || !(await this.#isLastIn(number!))) return;
      isSettled = true;
      this.#find(victim);
    });
    victim.forgetLostStore();
  }

  async machine(victim: SimulatedServer): Promise<void> {
    const { wait, random, cluster, isOperated } = this.#parts;
    const [number] = await this.#numbersOf(victim);
    const { servers, metadata } = await cluster.status();
    const { labels } = servers.find(({ store }) => store === number)!;
    const wasWitness = metadata.includes(`witness ${victim.address};`);
    await this.#lose("machine", victim);
    // The groups go on without the one that is gone while the new one runs at its address, or before. Where an operator gives out groups
    // meanwhile, the new one would get some, and couldn't be taken away again.
    const givesOutGroups = isOperated && cluster.metadataServers.length === 1;
    if (!givesOutGroups && random.chance(0.7)) victim.start();
    while (await this.#isInSync(number!)) {
      if (await this.#isLastIn(number!)) {
        this.#find(victim);
        // The new machine may have become known meanwhile.
        await this.#over(victim, () => this.#removeAllBut(number!, victim));
        return;
      }
      await wait(pollMs);
    }
    victim.forgetLostStore();
    await this.#change(String(number), "remove");
    victim.start();
    await this.#change(victim.address, "add");
    if (labels.length > 0) await this.#untilDone(labelStore, { store: victim.address, labels });
    if (wasWitness) await this.#untilDone(setWitness, { address: victim.address });
    await this.#over(victim);
  }

  async #lose(what: "store" | "machine", victim: SimulatedServer): Promise<void> {
    this.#log(`${what}Loss`, victim);
    victim.losing = what;
    victim.kill({ power: what === "machine" || this.#parts.random.chance(0.5) });
    victim.loseStore(what);
    await this.#parts.wait(this.#parts.durationMs());
  }

  #find(victim: SimulatedServer): void {
    this.#log("what was lost is needed, and found again", victim);
    victim.kill({ power: false });
    victim.findStore();
    victim.start();
  }

  async #removeAllBut(number: number, victim: SimulatedServer): Promise<void> {
    for (const store of await this.#numbersOf(victim)) {
      if (store !== number) await this.#change(String(store), "remove");
    }
  }

  /** Every group that it is in has another member, and all of them are in sync and there; so are the ledger's copies, one of its voters goes. */
  async #isSpare(victim: SimulatedServer, what: "everything" | "machine"): Promise<boolean> {
    const { cluster } = this.#parts;
    const { groups, servers, metadata } = await cluster.status();
    if (what === "machine" && cluster.metadataServers.length > 1 && !metadata.startsWith("two copies")) return false;
    const online = servers.filter(({ state }) => state === "online").map(({ store }) => store);
    const [number, ...others] = servers.filter(({ address }) => address === victim.address).map(({ store }) => store);
    const its = groups.filter(({ members }) => members.some(({ store }) => store === number));
    const areWhole = its.every(
      ({ members }) =>
        members.length > 1 && members.every(({ store, state }) => state === "inSync" && online.includes(store)),
    );
    return victim.serving && others.length === 0 && its.length > 0 && areWhole;
  }

  /** It runs, and is in sync wherever it is a member. */
  async #isBack(victim: SimulatedServer): Promise<boolean> {
    const { groups, servers } = await this.#parts.cluster.status();
    const stores = servers.filter(({ address }) => address === victim.address);
    const isInSync = ({ members }: (typeof groups)[number]) =>
      members.every(({ store, state }) => state === "inSync" || stores.every((one) => one.store !== store));
    return runsAsKnown(victim, servers) && groups.every(isInSync);
  }

  /** @param look is called while it isn't */
  async #over(victim: SimulatedServer, look: () => Promise<void> = async () => {}): Promise<void> {
    const isOver = () => (this.#parts.isOperated ? this.#isBack(victim) : this.isWhole());
    while (!(await isOver())) {
      await look();
      await this.#parts.wait(pollMs);
    }
    victim.losing = undefined;
  }

  async #change(store: string, change: StoreChange["change"]): Promise<void> {
    this.#attempts.log(change, { store });
    await this.#untilDone(changeStore, { store, change });
  }

  async #untilDone<Q, R>(method: Method<Q, R>, request: Q): Promise<void> {
    const { cluster, wait } = this.#parts;
    while (!(await this.#attempts.make(() => cluster.request(method, request)))) await wait(operatorMs);
  }

  /** Stores at its address. */
  async #numbersOf({ address }: SimulatedServer): Promise<number[]> {
    const { servers } = await this.#parts.cluster.status();
    return servers.filter((server) => server.address === address && server.store !== 0).map(({ store }) => store);
  }

  async #inSync(): Promise<number[][]> {
    const { groups } = await this.#parts.cluster.status();
    return groups.map(({ members }) => members.filter(({ state }) => state === "inSync").map(({ store }) => store));
  }

  async #isInSync(store: number): Promise<boolean> {
    return (await this.#inSync()).some((members) => members.includes(store));
  }

  /** True if nobody else is in sync in some group. */
  async #isLastIn(store: number): Promise<boolean> {
    return (await this.#inSync()).some((members) => members.length === 1 && members[0] === store);
  }

  #log(kind: string, { host }: SimulatedServer): void {
    this.#parts.cluster.world.log.add("info", `FAULT ${kind}`, { host: host.name });
  }
}

/** It runs, as the leader knows by its process: before it has, it knows nothing of a loss either. */
function runsAsKnown({ address, serving, host }: SimulatedServer, known: ClusterStatus["servers"]): boolean {
  const own = known.filter((server) => server.address === address);
  return serving && own.every(({ state, pid }) => state === "online" && pid === host.incarnation?.pid);
}
