/** What all parts of the metadata server share. */
import type { Namespace } from "../namespace/namespace.ts";
import type { Logger } from "../platform/logger.ts";
import type { Platform } from "../platform/platform.ts";
import type { Committer } from "./committer.ts";
import type { LeaseBounds } from "./lease-limits.ts";
import type { Lifetime } from "./lifetime.ts";
import type { Timeouts } from "./timeouts.ts";
import type { Waits } from "./waits.ts";

export interface Leader {
  readonly platform: Platform;
  readonly log: Logger;
  readonly timeouts: Timeouts;
  readonly leaseBounds: LeaseBounds;
  readonly lifetime: Lifetime;
  /** For queries; changes go through the committer. */
  readonly namespace: Namespace;
  readonly committer: Committer;
  readonly waits: Waits;
}
