/**
 * What an operator does with stores while applications work and faults happen: more copies and fewer, and how few take writes, stores drained and taken
 * back, stopped and started, called slow, away for longer than they are waited for, dead for good, and new ones in their place. In the end all is as at the start:
 * as many copies, nobody draining.
 */
import { DiskError } from "../platform/disk.ts";
import { changeStore, type StoreChange, setCopies } from "../wire/catalogue/admin.ts";
import { Attempts } from "./attempts.ts";
import type { CopiesWatch } from "./checkers/copies.ts";
import { rebuildAfterMs, type SimulatedCluster, volumeName } from "./cluster.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { SimulatedServer } from "./simulated-server.ts";

export const replicasAtRest = 2;
const inSyncMinAtRest = 1;
const copiesMax = 3;
/** A store that is gone for good has a place in some groups for so long, before another fault may strike there too. */
const removalMsMax = 20_000;
const newStoresMax = 3;
const stopMsMax = 5_000;

export class MemberChanges {
  readonly #cluster: SimulatedCluster;
  readonly #random: SimulatedRandom;
  readonly #wait: (ms: number) => Promise<void>;
  readonly #attempts: Attempts;
  /** What was done, for the log of a failure. */
  readonly done = new Map<string, number>();
  readonly #watch: CopiesWatch;
  #newStores = 0;
  #inSyncMin = inSyncMinAtRest;

  constructor(
    cluster: SimulatedCluster,
    random: SimulatedRandom,
    wait: (ms: number) => Promise<void>,
    watch: CopiesWatch,
  ) {
    this.#cluster = cluster;
    this.#random = random;
    this.#wait = wait;
    this.#watch = watch;
    this.#attempts = new Attempts(cluster, "MEMBERS");
  }

  /** One change after the other until `over`; then back to what was at the start. */
  async run(over: () => boolean): Promise<void> {
    const take = (change: () => Promise<void>) => this.#cluster.copyTurns.take(change);
    const changes = {
      copies: () => this.#setCopies({ replicas: this.#random.between(1, copiesMax) }),
      minimum: () => this.#setCopies({ inSyncMin: this.#random.between(1, copiesMax) }),
      drain: () => this.#change(this.#random.pick(this.#cluster.stores), "drain"),
      add: () => this.#change(this.#random.pick(this.#cluster.stores), "add"),
      away: () => take(() => this.#away()),
      death: () => take(() => this.#death()),
      join: () => this.#join(),
      restart: () => take(() => this.#restart()),
      slow: () => this.#change(this.#random.pick(this.#cluster.stores), this.#random.pick(["slow", "notSlow"])),
    };
    await this.#setCopies({ inSyncMin: this.#random.between(1, replicasAtRest) });
    while (!over()) {
      await this.#wait(this.#random.between(100, 3_000));
      const kind = this.#random.pick(Object.keys(changes) as (keyof typeof changes)[]);
      if (over()) break;
      this.done.set(kind, (this.done.get(kind) ?? 0) + 1);
      await changes[kind]();
    }
    for (const store of this.#cluster.stores) await this.#change(store, "add");
    await this.#setCopies({ replicas: replicasAtRest, inSyncMin: inSyncMinAtRest });
  }

  async #setCopies(change: { replicas?: number; inSyncMin?: number }): Promise<void> {
    const { replicas, inSyncMin = this.#inSyncMin } = change;
    this.#attempts.log("copies", change);
    this.#watch.asked(inSyncMin);
    const request = { name: volumeName, replicas, inSyncMin: change.inSyncMin };
    const ask = () => this.#attempts.make(() => this.#cluster.request(setCopies, request));
    if (await this.#cluster.copyTurns.take(ask)) this.#inSyncMin = inSyncMin;
    this.#watch.set(this.#inSyncMin);
  }

  async #change(server: SimulatedServer, change: StoreChange["change"]): Promise<boolean> {
    this.#attempts.log(change, { store: server.plan.name });
    return this.#attempts.make(() => this.#cluster.request(changeStore, { store: server.address, change }));
  }

  /** Longer than it is waited for: its groups are elsewhere when it comes back. */
  async #away(): Promise<void> {
    const victim = this.#random.pick(this.#cluster.stores);
    if (victim.down || victim.losing !== undefined) return;
    this.#attempts.log("away", { store: victim.plan.name });
    victim.kill({ power: this.#random.chance(0.5) });
    await this.#wait(this.#random.between(rebuildAfterMs, 4 * rebuildAfterMs));
    victim.start();
  }

  /**
   * As by SIGTERM. Another fault may strike in the midst of it: then it doesn't come to an end by itself, or its disk is full and it ends
   * with an error.
   */
  async #restart(): Promise<void> {
    const victim = this.#random.pick(this.#cluster.stores);
    if (victim.down || victim.losing !== undefined || victim.plan.roles.includes("metadata")) return;
    this.#attempts.log("restart", { store: victim.plan.name });
    const stopping = victim.stop().catch((error: Error) => {
      if (!(error instanceof DiskError)) throw error;
      this.#attempts.log("not stopped", { store: victim.plan.name, reason: error.message });
    });
    await Promise.race([stopping, this.#wait(stopMsMax)]);
    if (!victim.down) victim.kill({ power: false });
    await this.#wait(this.#random.between(0, 1_000));
    // What it had may have been lost meanwhile.
    if (victim.losing === undefined) victim.start();
  }

  /** It never comes back, if it can be done without; its disk is gone with it. */
  async #death(): Promise<void> {
    const mayDie = ({ plan, down, losing }: SimulatedServer) =>
      !plan.roles.includes("metadata") && !down && losing === undefined;
    const candidates = this.#cluster.stores.filter(mayDie);
    if (candidates.length === 0 || this.#cluster.stores.length <= 3) return;
    const victim = this.#random.pick(candidates);
    this.#attempts.log("death", { store: victim.plan.name });
    victim.kill({ power: true });
    for (let waitedMs = 0; waitedMs < removalMsMax; waitedMs += 500) {
      if (await this.#change(victim, "remove")) {
        this.#cluster.forget(victim);
        return;
      }
      await this.#wait(500);
    }
    this.#attempts.log("needed after all", { store: victim.plan.name });
    victim.start();
  }

  async #join(): Promise<void> {
    if (this.#newStores >= newStoresMax) return;
    this.#newStores += 1;
    const server = this.#cluster.addStore(`new${this.#newStores}`);
    this.#attempts.log("join", { store: server.plan.name });
    await this.#wait(this.#random.between(100, 2_000));
    await this.#change(server, "add");
  }
}
