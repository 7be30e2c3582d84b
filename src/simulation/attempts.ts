/** What operators of the simulation ask for: logged under their name, and refused where the cluster can't do it now. */
import { type BrineError, type BrineErrorCode, hasCode } from "../errors/brine-error.ts";
import type { SimulatedCluster } from "./cluster.ts";

const refusals: readonly BrineErrorCode[] = ["refused", "invalid", "notFound", "busy"];

export class Attempts {
  readonly #cluster: SimulatedCluster;
  readonly #name: string;

  /** @param name before each line of the log: `MEMBERS`, `RULES` */
  constructor(cluster: SimulatedCluster, name: string) {
    this.#cluster = cluster;
    this.#name = name;
  }

  log(what: string, fields: Record<string, string | number>): void {
    this.#cluster.world.log.add("info", `${this.#name} ${what}`, fields);
  }

  /** True if it was done, false if it was refused. Errors: all others. */
  async make(request: () => Promise<unknown>, refused = refusals): Promise<boolean> {
    try {
      await request();
      return true;
    } catch (error) {
      if (!hasCode(error, ...refused)) throw error;
      this.log("refused", { reason: (error as BrineError).message });
      return false;
    }
  }
}
