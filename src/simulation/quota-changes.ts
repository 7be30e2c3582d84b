/**
 * What an operator does with quotas while applications work and faults happen: sets small ones on the volume, on directories, on users and
 * groups, changes and removes them. Applications get EDQUOT then, and EXDEV at borders.
 */
import type { QuotaRequest } from "../metadata/quotas.ts";
import type { QuotaKind, QuotaLimits } from "../namespace/model.ts";
import { listQuotas, setQuota } from "../wire/catalogue/quotas.ts";
import { Attempts } from "./attempts.ts";
import { QuotaWatch } from "./checkers/quotas.ts";
import { type SimulatedCluster, volumeName } from "./cluster.ts";
import { owner } from "./model-operations.ts";
import type { SimulatedRandom } from "./simulated-random.ts";

/** Names that applications use for directories. */
const paths = ["/a", "/b", "/c", "/a", "/b", "/a/b", "/b/a", "/a/a"];
/** Small for files of up to three chunks, so that limits are met. */
const byteLimits = [40_000, 1_000_000, 5_000_000, 30_000_000];
const inodeLimits = [3, 8, 15];
/** Those that applications give files to. */
const othersMax = 9;
const againMs = 500;
const noLimits: QuotaLimits = { bytes: undefined, inodes: undefined };

export class QuotaChanges {
  readonly watch: QuotaWatch;
  readonly #cluster: SimulatedCluster;
  readonly #random: SimulatedRandom;
  readonly #wait: (ms: number) => Promise<void>;
  readonly #attempts: Attempts;

  constructor(cluster: SimulatedCluster, random: SimulatedRandom, wait: (ms: number) => Promise<void>, volume: number) {
    this.#cluster = cluster;
    this.#random = random;
    this.#wait = wait;
    this.#attempts = new Attempts(cluster, "QUOTA");
    this.watch = new QuotaWatch(volume);
  }

  /** Before the applications begin. */
  async start(): Promise<void> {
    await this.#set({ kind: "user", id: owner.uid, path: "", ends: false, limits: this.#limits() });
  }

  /** One change after the other until `over`. */
  async run(over: () => boolean): Promise<void> {
    while (!over()) {
      await this.#wait(this.#random.between(1, this.#random.pick([20, 200, 2_000])));
      if (!over()) await this.#change();
    }
  }

  /** Resolves when everything is counted. */
  async settle(): Promise<void> {
    for (;;) {
      const { quotas } = await this.#cluster.request(listQuotas, { volume: volumeName, all: true });
      if (!quotas.some(({ counting }) => counting)) return;
      await this.#wait(againMs);
    }
  }

  async #change(): Promise<void> {
    const kind = this.#random.weighted({ tree: 6, user: 3, group: 1, volume: 2 }) as QuotaKind;
    const isOwner = this.#random.chance(0.7);
    const someone = this.#random.below(othersMax);
    const of = { volume: 0, tree: 0, user: isOwner ? owner.uid : someone, group: isOwner ? owner.gid : someone };
    const path = kind === "tree" ? this.#random.pick(paths) : "";
    const ends = this.#random.chance(0.2);
    await this.#set({ kind, id: of[kind], path, ends, limits: ends ? noLimits : this.#limits() });
  }

  #limits(): QuotaLimits {
    const bytes = this.#random.pick(byteLimits);
    const inodes = this.#random.pick(inodeLimits);
    return this.#random.pick([
      { bytes, inodes: undefined },
      { bytes: undefined, inodes },
      { bytes, inodes },
    ]);
  }

  async #set(change: Omit<QuotaRequest, "volume">): Promise<void> {
    const { kind, id } = change;
    // Which directory has the path when the leader looks isn't known: it may be any.
    const subjects = kind === "tree" ? await this.#trees() : [{ kind, id }];
    for (const subject of subjects) this.watch.changes(subject);
    this.#attempts.log("set", { change: JSON.stringify(change) });
    const request = () => this.#cluster.request(setQuota, { volume: volumeName, ...change });
    await this.#attempts.make(request, ["invalid", "notFound", "busy"]);
    for (const subject of kind === "tree" ? await this.#trees() : subjects) this.watch.changed(subject);
  }

  /** The directories with quotas. */
  async #trees(): Promise<{ kind: "tree"; id: number }[]> {
    const { quotas } = await this.#cluster.request(listQuotas, { volume: volumeName, all: false });
    const trees = quotas.filter(({ quota }) => quota.subject.kind === "tree");
    return trees.map(({ quota }) => ({ kind: "tree", id: quota.subject.id }));
  }
}
