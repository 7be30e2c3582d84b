/** What is looked at while everything goes on, between events and without an event of its own. */

import type { CopiesWatch } from "./checkers/copies.ts";
import { checkOneLeader } from "./checkers/leaders.ts";
import type { LeaseBoundsWatch } from "./checkers/lease-bounds.ts";
import { checkExclusive } from "./checkers/leases.ts";
import { checkServing } from "./checkers/serving.ts";
import type { StalledDisks } from "./checkers/stalled-disks.ts";
import type { WaitsWatch } from "./checkers/waits.ts";
import type { SimulatedCluster } from "./cluster.ts";
import type { Faults } from "./faults.ts";
import type { Operator } from "./operator.ts";
import type { Recorder } from "./recorder.ts";

/** All but the cheap ones are made after so many events. */
const stepsBetweenLooks = 20;

export interface StepChecksParts {
  readonly cluster: SimulatedCluster;
  readonly volume: number;
  readonly faults: Faults;
  readonly operator: Operator;
  readonly copiesWatch: CopiesWatch;
  readonly stalledDisks: StalledDisks;
  readonly leaseBounds: LeaseBoundsWatch;
  readonly waits: WaitsWatch;
  readonly recorder: Recorder;
  /** Somebody changes the cluster meanwhile. */
  readonly isOperated: boolean;
  /** Gets the first Violation; nothing is looked at after it. */
  readonly onFailure: (error: Error) => void;
}

export class StepChecks {
  readonly #parts: StepChecksParts;
  #steps = 0;

  constructor(parts: StepChecksParts) {
    this.#parts = parts;
  }

  /** From now on. */
  start(): void {
    try {
      this.#lookAlways();
      if (this.#steps % stepsBetweenLooks === 0) this.#look();
    } catch (error) {
      this.#parts.onFailure(error as Error);
      return;
    }
    this.#steps += 1;
    this.#parts.cluster.world.scheduler.afterSteps(1, () => this.start());
  }

  #lookAlways(): void {
    const { cluster, leaseBounds, volume, faults, isOperated, waits, recorder } = this.#parts;
    leaseBounds.look(cluster.mounts, cluster.leader.metadata, volume);
    if (!isOperated) waits.look(recorder.underWay, faults.wellSinceUs("leader"));
  }

  #look(): void {
    const { cluster, operator, copiesWatch, stalledDisks, faults, isOperated } = this.#parts;
    checkExclusive(cluster.mounts);
    operator.look();
    copiesWatch.look();
    checkOneLeader(cluster.metadataServers);
    const groups = cluster.leader.metadata?.inspectGroups();
    if (groups === undefined) return;
    checkServing(groups, cluster.stores);
    if (!isOperated) stalledDisks.look(groups, faults.wellSinceUs("stall"));
  }
}
