/** The operator of a simulated cluster: what of it is changed while applications work, if anything. */
import type { State } from "../namespace/state.ts";
import type { CopiesWatch } from "./checkers/copies.ts";
import { checkPlacement } from "./checkers/placement.ts";
import type { SimulatedCluster } from "./cluster.ts";
import { LedgerChanges } from "./ledger-changes.ts";
import { MemberChanges } from "./member-changes.ts";
import { QuotaChanges } from "./quota-changes.ts";
import { RuleChanges } from "./rule-changes.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { SimulationOptions } from "./simulation-result.ts";

export class Operator {
  readonly #members: MemberChanges | undefined;
  readonly #rules: RuleChanges | undefined;
  readonly #quotas: QuotaChanges | undefined;
  readonly #ledger: LedgerChanges | undefined;
  readonly #cluster: SimulatedCluster;

  constructor(
    { members, rules, quotas, copies }: SimulationOptions,
    cluster: SimulatedCluster,
    random: SimulatedRandom,
    wait: (ms: number) => Promise<void>,
    volume: number,
    copiesWatch: CopiesWatch,
  ) {
    this.#cluster = cluster;
    if (quotas) this.#quotas = new QuotaChanges(cluster, random.fork("quotas"), wait, volume);
    if (members) this.#members = new MemberChanges(cluster, random.fork("members"), wait, copiesWatch);
    if (rules) this.#rules = new RuleChanges(cluster, random.fork("rules"), wait);
    if (copies) this.#ledger = new LedgerChanges(cluster, random.fork("ledger"), wait);
  }

  /** What was done to the ledger's copies, how often. */
  get ledgerChanges(): ReadonlyMap<string, number> {
    return this.#ledger?.done ?? new Map();
  }

  /** Before the applications begin. */
  async start(): Promise<void> {
    await this.#rules?.start();
    await this.#quotas?.start();
  }

  /** Until `over`; then back to what was at the start. */
  async run(over: () => boolean): Promise<void> {
    const changes = [this.#members, this.#rules, this.#quotas, this.#ledger];
    await Promise.all(changes.map((some) => some?.run(over)));
    await this.#rules?.rest();
  }

  /** When nobody changes anything any more. */
  async settle(): Promise<void> {
    await this.#rules?.applyToAll();
    await this.#quotas?.settle();
  }

  /** What quotas refuse, the model doesn't foretell: it must have no effect. */
  refuses(errno: string): boolean {
    return this.#quotas !== undefined && (errno === "EDQUOT" || errno === "EXDEV");
  }

  /** While everything goes on. Throws Violation. */
  look(): void {
    const { metadata } = this.#cluster.leader;
    if (metadata !== undefined) this.#quotas?.watch.look(metadata);
  }

  /** Throws Violation. */
  check(state: State): void {
    if (this.#rules !== undefined) checkPlacement(state);
  }
}
