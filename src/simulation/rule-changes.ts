/**
 * What an operator does with placement rules while applications work and faults happen: rules come, go and change places, stores get
 * other labels, copies are kept apart by another label, and the rules are applied to what is there, by a client that works for
 * an application at the same time. In the end all labels are as at the start, and the rules are applied once more: then every
 * chunk is where they say (checkers/placement.ts).
 */
import { type ApplyReport, RuleApplier } from "../client/apply-rules.ts";
import { FileError } from "../errors/file-error.ts";
import type { Label } from "../namespace/model.ts";
import { changeStore } from "../wire/catalogue/admin.ts";
import { changeRules, labelStore, type RulesChange, type ShownRule } from "../wire/catalogue/placement.ts";
import type { Method } from "../wire/method.ts";
import { Attempts } from "./attempts.ts";
import { type SimulatedCluster, volumeName } from "./cluster.ts";
import { MountDied } from "./mount.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { SimulatedServer } from "./simulated-server.ts";

/** Of the four stores, in their order: two have what a rule can ask for, one of them in each rack. */
const labelsAtRest: readonly Readonly<Record<string, string>>[] = [
  { disk: "ssd", rack: "r1" },
  { disk: "ssd", rack: "r2" },
  { disk: "hdd", rack: "r1" },
  { disk: "hdd", rack: "r2" },
];
/** Of names that applications use, in directories and in the root. */
const patterns: readonly Pick<ShownRule, "syntax" | "pattern">[] = [
  { syntax: "glob", pattern: "*" },
  { syntax: "glob", pattern: "**" },
  { syntax: "glob", pattern: "a" },
  { syntax: "glob", pattern: "[b-c]" },
  { syntax: "glob", pattern: "/a/**" },
  { syntax: "glob", pattern: "**/b/*" },
  { syntax: "expression", pattern: "^/[^/]+$" },
  { syntax: "expression", pattern: "[ac]$" },
];
const targets: readonly Readonly<Record<string, string>>[] = [{}, { disk: "ssd" }, { disk: "hdd" }];
/** What is done, of so many. Without rules nothing moves, and what has moved stays until there are others. */
const weights = { add: 8, remove: 3, move: 3, failureDomain: 1, label: 1 } as const;
const applyChance = 0.7;
const pausesMs = [0, 250] as const;
const rulesMax = 4;
const replicasMax = 2;
const againMs = 500;

export class RuleChanges {
  readonly #cluster: SimulatedCluster;
  readonly #random: SimulatedRandom;
  readonly #wait: (ms: number) => Promise<void>;
  readonly #attempts: Attempts;
  #ruleCount = 0;

  constructor(cluster: SimulatedCluster, random: SimulatedRandom, wait: (ms: number) => Promise<void>) {
    this.#cluster = cluster;
    this.#random = random;
    this.#wait = wait;
    this.#attempts = new Attempts(cluster, "RULES");
  }

  /** Before the applications begin. */
  async start(): Promise<void> {
    await this.#labelAsAtRest();
  }

  /** One change after the other until `over`. */
  async run(over: () => boolean): Promise<void> {
    const changes = {
      add: () => this.#add(),
      remove: () => this.#change({ kind: "remove", position: this.#position() }),
      move: () => this.#change({ kind: "move", position: this.#position(), to: this.#position() }),
      failureDomain: () => this.#change({ kind: "failureDomain", key: this.#random.pick(["host", "rack"]) }),
      label: () => this.#label(this.#random.pick(this.#cluster.stores), this.#random.pick(labelsAtRest)),
    };
    while (!over()) {
      await this.#wait(this.#random.between(...pausesMs));
      if (over()) break;
      await changes[this.#random.weighted(weights)]();
      if (this.#random.chance(applyChance)) await this.#apply();
    }
  }

  /** Labels as at the start; for stores that are gone there are new ones. */
  async rest(): Promise<void> {
    for (let number = 1; this.#cluster.stores.length < labelsAtRest.length; number++) {
      this.#cluster.addStore(`rest${number}`);
    }
    for (const { address } of this.#cluster.stores)
      await this.#untilDone(changeStore, { store: address, change: "add" });
    await this.#labelAsAtRest();
  }

  /** All files are where the rules say when it ends: nobody changes anything any more. */
  async applyToAll(): Promise<void> {
    for (;;) {
      const report = await this.#apply();
      if (report?.failed === 0) return;
      await this.#wait(againMs);
    }
  }

  async #add(): Promise<void> {
    if (this.#ruleCount >= rulesMax) return this.#change({ kind: "remove", position: 1 });
    const labels = labelsOf(this.#random.pick(targets));
    const rule = { ...this.#random.pick(patterns), replicas: this.#random.between(1, replicasMax), labels };
    return this.#change({ kind: "add", position: Math.min(1, this.#ruleCount), rule });
  }

  async #change(change: RulesChange["change"]): Promise<void> {
    this.#attempts.log(change.kind, { change: JSON.stringify(change) });
    await this.#attempts.make(async () => {
      const { rules } = await this.#cluster.request(changeRules, { volume: volumeName, change });
      this.#ruleCount = rules.length;
    });
  }

  async #labelAsAtRest(): Promise<void> {
    for (const [at, { plan, address }] of this.#cluster.stores.entries()) {
      const labels = labelsOf(labelsAtRest[at % labelsAtRest.length]!);
      this.#attempts.log("label", { store: plan.name, labels: JSON.stringify(labels) });
      await this.#untilDone(labelStore, { store: address, labels });
    }
  }

  async #label(server: SimulatedServer, labels: Readonly<Record<string, string>>): Promise<void> {
    this.#attempts.log("label", { store: server.plan.name, labels: JSON.stringify(labels) });
    await this.#attempts.make(() =>
      this.#cluster.request(labelStore, { store: server.address, labels: labelsOf(labels) }),
    );
  }

  /** By a client that may die over it. Undefined: it didn't come to an end. */
  async #apply(): Promise<ApplyReport | undefined> {
    const { client, death } = await this.#random.pick(this.#cluster.clients).mount();
    try {
      const report = await Promise.race([new RuleApplier(client, client.placing()).run(), death]);
      this.#attempts.log("applied", { moved: report.files, chunks: report.chunks, failed: report.failed });
      return report;
    } catch (error) {
      if (!(error instanceof MountDied) && !(error instanceof FileError)) throw error;
      this.#attempts.log("applying ended", { reason: error.message });
      return undefined;
    }
  }

  /** A store that has just been started is not known yet. */
  async #untilDone<Q, R>(method: Method<Q, R>, request: Q): Promise<void> {
    while (!(await this.#attempts.make(() => this.#cluster.request(method, request)))) await this.#wait(againMs);
  }

  #position(): number {
    return this.#random.between(1, Math.max(1, this.#ruleCount));
  }
}

function labelsOf(labels: Readonly<Record<string, string>>): Label[] {
  return Object.entries(labels).map(([key, value]) => ({ key, value }));
}
