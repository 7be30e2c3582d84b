/** What a simulation is given, and what comes of it. */
import type { LogLevel } from "../platform/logger.ts";
import type { FaultKind, FaultLevel } from "./fault-kinds.ts";
import type { Hooks } from "./hooks.ts";
import type { Kind, Weights } from "./workload-kinds.ts";

export interface SimulationOptions {
  readonly seed: number;
  /** File operations before the faults end. */
  readonly operations: number;
  readonly faults: FaultLevel | Readonly<Partial<Record<FaultKind, number>>>;
  readonly logLevel?: LogLevel;
  readonly hooks?: Hooks;
  /** Stores come and go for good, and the number of copies changes. */
  readonly members?: boolean;
  /** Placement rules and labels of stores change, and rules are applied. */
  readonly rules?: boolean;
  /** Quotas come, change and go. */
  readonly quotas?: boolean;
  /** So few leases may be kept that some are given back all the time: by the clients, or because the leader recalls them. */
  readonly fewLeases?: boolean;
  /** Stores are so small that clients fill them. */
  readonly full?: boolean;
  /** The ledger has two copies; leaders are lost, and their copies promoted. Alone. */
  readonly copies?: boolean;
  /** What applications do more of; default: as the seed says. */
  readonly more?: readonly Kind[];
  /** What applications do, and nothing else. */
  readonly only?: Weights;
}

export interface SimulationResult {
  readonly seed: number;
  readonly digest: string;
  readonly operations: number;
  /** How often which fault struck. */
  readonly faults: ReadonlyMap<FaultKind, number>;
  /** What was done to the ledger's copies, how often. */
  readonly ledgerChanges: ReadonlyMap<string, number>;
  readonly events: number;
  readonly virtualMs: number;
  /** Most states that were possible at one time: how much the history left open. */
  readonly configurations: number;
  /** Chunks on stores that nothing refers to: space that is lost until the store next catches up. */
  readonly leftBehind: number;
  /** Clients' hosts on which a call was told that there is no space. */
  readonly withoutSpace: ReadonlySet<string>;
  /** How often a disk was seen that had not answered for longer than its store may stay in its groups. */
  readonly stalledDisksSeen: number;
  /** The longest that an operation has waited while the metadata server was there and nothing else was wrong. */
  readonly longestWaitMs: number;
  /** How often a guard has cut a mount off. */
  readonly cutByGuard: number;
  /** The most leases that a client kept at one time, and that the leader knew of one. */
  readonly leasesKeptMost: Readonly<{ client: number; leader: number }>;
  /** The checker had to give up: what was checked until then is right. */
  readonly undecided: boolean;
  readonly failure: { readonly error: Error } | undefined;
  /** The end of the history, and of the log. */
  readonly history: readonly string[];
  readonly log: readonly string[];
}
