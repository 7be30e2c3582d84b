/** The operator of a simulated cluster: what stores and placement rules are changed while applications work, if any. */
import type { State } from "../namespace/state.ts";
import { checkPlacement } from "./checkers/placement.ts";
import type { SimulatedCluster } from "./cluster.ts";
import { MemberChanges } from "./member-changes.ts";
import { RuleChanges } from "./rule-changes.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import type { SimulationOptions } from "./simulation-result.ts";

export class Operator {
  readonly #members: MemberChanges | undefined;
  readonly #rules: RuleChanges | undefined;

  constructor(
    { members, rules }: SimulationOptions,
    cluster: SimulatedCluster,
    random: SimulatedRandom,
    wait: (ms: number) => Promise<void>,
  ) {
    if (members) this.#members = new MemberChanges(cluster, random.fork("members"), wait);
    if (rules) this.#rules = new RuleChanges(cluster, random.fork("rules"), wait);
  }

  /** Before the applications begin. */
  async start(): Promise<void> {
    await this.#rules?.start();
  }

  /** Until `over`; then back to what was at the start. */
  async run(over: () => boolean): Promise<void> {
    await Promise.all([this.#members?.run(over), this.#rules?.run(over)]);
  }

  /** When nobody changes anything any more. */
  async settle(): Promise<void> {
    await this.#rules?.applyToAll();
  }

  /** Throws Violation. */
  check(state: State): void {
    if (this.#rules !== undefined) checkPlacement(state);
  }
}
