/**
 * What a store loses for good, while all others have it: the index, everything, or the machine with it. Each happens alone, from full
 * membership until everything is whole again: what only one store has must not be lost.
 *
 *     index       it makes no sense any more, and is built anew from the segments
 *     everything  the store's directory is empty at the next start; its server knows that something was there
 *     machine     a new one with the same address takes its place, and has never been part of the cluster. An operator removes the
 *                 store that is gone, and has the new one take groups
 *
 * Another member may be about to leave its groups in the same moment, or to say that it has lost something. Then what is lost turns out to
 * be the last good copy, and is found again.
 */
import { changeStore, type StoreChange } from "../wire/catalogue/admin.ts";
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
    const areThere = servers.every(({ state }) => state === "online");
    const haveAll = groups.every(
      ({ members, replicas }) => members.length === replicas && members.every(({ state }) => state === "inSync"),
    );
    return areThere && haveAll && cluster.servers.every(({ serving }) => serving);
  }

  async index(victim: SimulatedServer): Promise<void> {
    this.#log("indexDamage", victim);
    victim.kill({ power: this.#parts.random.chance(0.5) });
    victim.damageIndex();
    await this.#parts.wait(this.#parts.durationMs());
    victim.start();
    await this.#whole();
  }

  async everything(victim: SimulatedServer): Promise<void> {
    const [number] = await this.#numbersOf(victim);
    await this.#lose("store", victim);
    victim.start();
    let isFound = false;
    await this.#whole(async () => {
      if (isFound || !(await this.#isLastIn(number!))) return;
      isFound = true;
      this.#find(victim);
    });
    victim.forgetLostStore();
  }

  async machine(victim: SimulatedServer): Promise<void> {
    const { wait, random } = this.#parts;
    const [number] = await this.#numbersOf(victim);
    await this.#lose("machine", victim);
    // The groups go on without the one that is gone while the new one runs at its address, or before.
    if (random.chance(0.7)) victim.start();
    while (await this.#isInSync(number!)) {
      if (await this.#isLastIn(number!)) {
        this.#find(victim);
        // The new machine may have become known meanwhile.
        await this.#whole(() => this.#removeAllBut(number!, victim));
        return;
      }
      await wait(pollMs);
    }
    victim.forgetLostStore();
    await this.#change(String(number), "remove");
    victim.start();
    await this.#change(victim.address, "add");
    await this.#whole();
  }

  async #lose(what: "store" | "machine", victim: SimulatedServer): Promise<void> {
    this.#log(`${what}Loss`, victim);
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

  /** @param look is called while it isn't */
  async #whole(look: () => Promise<void> = async () => {}): Promise<void> {
    while (!(await this.isWhole())) {
      await look();
      await this.#parts.wait(pollMs);
    }
  }

  async #change(store: string, change: StoreChange["change"]): Promise<void> {
    const { cluster, wait } = this.#parts;
    this.#attempts.log(change, { store });
    while (!(await this.#attempts.make(() => cluster.request(changeStore, { store, change })))) await wait(operatorMs);
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
