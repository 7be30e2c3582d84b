/**
 * What an operator of a ledger with two copies lives through while applications work: the leader dies for good, is cut off or
 * paused, or seems to be well, and its copy is promoted, by the rules alone (`brine ledger promote`, without accepting a loss); the copy
 * or both are away for a while. In the end there are two copies again, in step.
 */
import { BrineError, hasCode } from "../errors/brine-error.ts";
import { forgetCopy, setWitness } from "../wire/catalogue/ledger.ts";
import { Attempts } from "./attempts.ts";
import type { SimulatedCluster } from "./cluster.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { SimulatedServer } from "./simulated-server.ts";

/** Around a leader's leave to serve, and the time that a promotion waits for it. */
const awayMs = [500, 15_000] as const;
/** A person notices, and acts. */
const thoughtMs = [0, 3_000] as const;
/** Then it is brought back: nobody serves meanwhile, and whoever waits for others (faults.ts) doesn't wait much longer. */
const deadMsMax = 45_000;
const againMs = 100;
/** Clients and stores that had lost the leader find it again well within this, and hear of the new copy. */
const foundMs = 2_000;
/** What a promotion says where only the leader's disk helps (docs/operations.md). */
const onlyLeaderHasAll = /copy of the ledger is (behind|not whole)/;
/** A leader that starts again leads well within this, where enough others answer. */
const forgottenMsMax = 20_000;

export class LedgerChanges {
  readonly #cluster: SimulatedCluster;
  readonly #random: SimulatedRandom;
  readonly #wait: (ms: number) => Promise<void>;
  readonly #attempts: Attempts;
  /** How often what was done. */
  readonly done = new Map<string, number>();
  #newCopies = 0;

  constructor(cluster: SimulatedCluster, random: SimulatedRandom, wait: (ms: number) => Promise<void>) {
    this.#cluster = cluster;
    this.#random = random;
    this.#wait = wait;
    this.#attempts = new Attempts(cluster, "LEDGER");
  }

  /** One after the other until `over`. */
  async run(over: () => boolean): Promise<void> {
    const changes = {
      promotion: () => this.#promote(this.#copy),
      death: () => this.#death(),
      crash: () => this.#crash(),
      cut: () => this.#cut(),
      pause: () => this.#pause(),
      copyAway: () => this.#away([this.#copy]),
      witness: () => this.#witness(),
      bothAway: () => this.#away(this.#cluster.metadataServers),
    };
    while (!over()) {
      await this.#wait(this.#random.between(50, 1_500));
      // A witness that is lost with its machine is one failure; with another one nobody could lead before that is over.
      while (this.#cluster.stores.some(({ losing }) => losing === "machine")) await this.#wait(againMs);
      const kind = this.#random.pick(Object.keys(changes) as (keyof typeof changes)[]);
      await this.#inTurn(kind, async () => {
        if (over()) return;
        await changes[kind]();
        this.#count(kind);
      });
    }
  }

  /**
   * A server that is away takes its store with it, which may have the only good copy of what is rotten elsewhere; and a leader that is
   * cut off gives up one store before it knows that it doesn't hear the others either.
   */
  #inTurn(kind: string, change: () => Promise<void>): Promise<void> {
    const { metadataServers, copyTurns } = this.#cluster;
    const haveStores = metadataServers.some(({ plan }) => plan.roles.includes("store"));
    return haveStores || kind === "cut" ? copyTurns.take(change) : change();
  }

  get #copy(): SimulatedServer {
    const { leader, metadataServers } = this.#cluster;
    return metadataServers.find((server) => server !== leader)!;
  }

  /** Undefined if it leads now, else why not. Where the leader is well, it is refused. */
  async #promote(server: SimulatedServer): Promise<string | undefined> {
    try {
      await this.#cluster.promote(server, { oldLeaderIsOff: false });
      this.#attempts.log("promoted", { server: server.plan.name });
      this.#count("promoted");
      return undefined;
    } catch (error) {
      if (!(error instanceof BrineError)) throw error;
      this.#attempts.log("not promoted", { server: server.plan.name, reason: error.message });
      return error.message;
    }
  }

  /** The leader is away, and an operator doesn't wait for it. */
  async #crash(): Promise<void> {
    const { leader } = this.#cluster;
    const copy = this.#copy;
    this.#attempts.log("crash", { server: leader.plan.name });
    leader.kill({ power: this.#random.chance(0.5) });
    await this.#wait(this.#random.between(...thoughtMs));
    const back = this.#wait(this.#random.between(...awayMs)).then(() => leader.start());
    await this.#promote(copy);
    await back;
  }

  /**
   * The leader never comes back with what it had, unless it turns out that only it has everything, or nobody can tell: the others that
   * vote are away for long, or there are none.
   */
  async #death(): Promise<void> {
    const { leader } = this.#cluster;
    const copy = this.#copy;
    this.#attempts.log("death", { server: leader.plan.name });
    leader.kill({ power: true });
    const { scheduler } = this.#cluster.world;
    const untilUs = scheduler.nowUs + deadMsMax * 1_000;
    while (leader.down && scheduler.nowUs < untilUs) {
      await this.#wait(this.#random.between(...thoughtMs));
      if (!copy.serving) copy.start();
      const reason = await this.#promote(copy);
      if (reason !== undefined && onlyLeaderHasAll.test(reason)) break;
      if (reason !== undefined) continue;
      // Another fault's end may have started it again.
      if (!leader.down) break;
      if (!leader.plan.roles.includes("store") && (await this.#replace(leader))) return;
      // Whoever leads may have taken long to refuse it, and the end of all faults has started the lost one meanwhile, with what it had.
      if (!leader.down) break;
      leader.loseMetadata();
      this.#count("lost");
      break;
    }
    leader.start();
  }

  /** A new machine in the place of a lost copy. That one may run again: nobody believes it anything. */
  async #replace(lost: SimulatedServer): Promise<boolean> {
    if (!(await this.#forget(lost))) return false;
    this.#count("forgotten");
    this.#cluster.leaveOut(lost);
    if (this.#random.chance(0.5)) lost.start();
    this.#newCopies += 1;
    this.#cluster.addCopy(`copy${this.#newCopies}`, this.#random.pick(["required", "preferred"]));
    // One after the other is replaced, as an operator does it. Who is away meanwhile, and knows none of the two that are left, wouldn't find them.
    await this.#cluster.allThere();
    await this.#wait(foundMs);
    return true;
  }

  /** The leader knows no such copy any more. It may die before it has recorded that; without a witness it then needs the lost one to lead again. */
  async #forget(lost: SimulatedServer): Promise<boolean> {
    const forgetting = this.#cluster.request(forgetCopy, { address: lost.address });
    const answered = forgetting.then(
      () => true,
      () => true,
    );
    if (!(await Promise.race([answered, this.#wait(forgottenMsMax).then(() => false)]))) lost.start();
    try {
      await forgetting;
    } catch (error) {
      this.#attempts.log("not forgotten", { server: lost.plan.name, reason: (error as Error).message });
      // The ledger has no such copy: an earlier try has taken effect, and its answer was lost.
      if (!hasCode(error, "invalid")) return false;
    }
    return true;
  }

  /** Any store's server takes the witness's place; refused where it can't be done safely. */
  async #witness(): Promise<void> {
    const { address } = this.#random.pick(this.#cluster.stores);
    try {
      await this.#cluster.request(setWitness, { address });
      this.#count("new witness");
    } catch (error) {
      this.#attempts.log("no new witness", { address, reason: (error as Error).message });
    }
  }

  async #cut(): Promise<void> {
    const { fabric } = this.#cluster.world;
    const { leader, servers, clients } = this.#cluster;
    const copy = this.#copy;
    const others = servers.filter((server) => server !== leader).map(({ host }) => host.name);
    // Some of the clients may be on its side.
    const apart = this.#random.pick([[], clients.slice(0, 1), clients]);
    const names = [...others, ...apart.map(({ host }) => host.name)];
    const forMs = this.#random.between(...awayMs);
    this.#attempts.log("cut", { server: leader.plan.name, forMs, clients: apart.length });
    for (const client of clients) client.silentFor(forMs);
    const { name } = leader.host;
    const links = names.flatMap((other) => [fabric.link(name, other), fabric.link(other, name)]);
    for (const link of links) link.setCut(true);
    const over = this.#wait(forMs).then(() => {
      for (const link of links) link.setCut(false);
    });
    await this.#wait(this.#random.between(...thoughtMs));
    await this.#promote(copy);
    await over;
  }

  async #pause(): Promise<void> {
    const { leader, clients } = this.#cluster;
    const copy = this.#copy;
    const { incarnation } = leader.host;
    if (incarnation === undefined || incarnation.paused) return;
    const forMs = this.#random.between(...awayMs);
    this.#attempts.log("pause", { server: leader.plan.name, forMs });
    for (const client of clients) client.silentFor(forMs);
    incarnation.pause();
    const over = this.#wait(forMs).then(() => incarnation.resume());
    await this.#wait(this.#random.between(...thoughtMs));
    await this.#promote(copy);
    await over;
  }

  async #away(victims: readonly SimulatedServer[]): Promise<void> {
    this.#attempts.log("away", { servers: victims.map(({ plan }) => plan.name).join() });
    const power = this.#random.chance(0.5);
    for (const victim of victims) victim.kill({ power });
    const back = victims.map(async (victim) => {
      await this.#wait(this.#random.between(...awayMs));
      victim.start();
    });
    await Promise.all(back);
  }

  #count(what: string): void {
    this.done.set(what, (this.done.get(what) ?? 0) + 1);
  }
}
