/**
 * The only way out of brinefs. Everything that touches clock, randomness, disk, network or the database goes through
 * these interfaces, so that a whole cluster runs in one process on virtual time from one seed.
 */
import type { Metrics } from "../metrics/metrics.ts";
import type { Clock } from "./clock.ts";
import type { Disk } from "./disk.ts";
import type { KeyValueEngine } from "./key-value.ts";
import type { Logger } from "./logger.ts";
import type { Network } from "./network.ts";
import type { Random } from "./random.ts";

export interface Platform {
  readonly clock: Clock;
  readonly random: Random;
  readonly disk: Disk;
  readonly network: Network;
  readonly keyValue: KeyValueEngine;
  readonly logger: Logger;
  /** What the process counts and measures. */
  readonly metrics: Metrics;
}
