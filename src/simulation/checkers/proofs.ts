/** What an outcome proves: that changes are durable, or that nothing was lost of which a handle would have been told. */
import type { FileOperation, Outcome } from "../file-operation.ts";
import type { Invocation } from "../model-operations.ts";
import { type Configuration, nothingLost } from "./configuration.ts";
import type { Timeline } from "./unsynced-log.ts";

/** A session that has ended, or may have. */
export interface SessionEnd {
  readonly id: number;
  readonly client: string;
  /** The process lives on, and gets a new session. */
  readonly survived: boolean;
}

/** The end of a session that its client survived. */
export interface SurvivedEnd {
  readonly id: number;
  readonly client: string;
  /** The number of the event from which on it may have come. */
  readonly possibleFrom: number;
}

/** What the checker knows beside its configurations. */
export class Knowledge implements Timeline {
  readonly called: Map<number, number>;
  readonly returned: Map<number, number>;
  /** Ends that clients survived. */
  readonly survived: SurvivedEnd[];
  /** Handles, by the operations that opened them, that have been told of what was lost. */
  readonly told: Set<number>;

  constructor(from?: Knowledge) {
    this.called = new Map(from?.called);
    this.returned = new Map(from?.returned);
    this.survived = [...(from?.survived ?? [])];
    this.told = new Set(from?.told);
  }
}

/** Of what proves changes durable when it returns: the operation that opened the handle. */
export function syncedBy(operation: FileOperation): number | undefined {
  if (operation.kind === "sync") return operation.handle;
  return operation.kind === "write" ? operation.durableBy : undefined;
}

/** The configuration with what the outcome proves; undefined if it says that something is durable which was lost. */
export function proved(
  configuration: Configuration,
  invocation: Invocation,
  outcome: Outcome,
  timeline: Knowledge,
): Configuration | undefined {
  const { operation, client, id } = invocation;
  const { model, log } = configuration;
  const { survived, told } = timeline;
  if (outcome.kind === "failed") return configuration;
  if (operation.kind === "lookup" && outcome.kind === "attributes") {
    const child = new Set([model.numbered(outcome.attributes.inode)!.key]);
    return { ...configuration, log: log.seen(invocation, child, new Map(), model, timeline) };
  }
  const handle = syncedBy(operation);
  if (handle === undefined) return configuration;
  const { key } = model.numbered((operation as { inode: number }).inode)!;
  const inode = key === 0 ? undefined : key;
  const before = log.synced(client, inode, timeline.called.get(id)!, model, timeline);
  // A synchronous write is durable itself.
  const synced = before.durable(new Set([id]), model, timeline);
  let after: Configuration | undefined = { ...configuration, log: synced };
  const openedAt = (told.has(handle) ? undefined : timeline.called.get(handle)) ?? Number.POSITIVE_INFINITY;
  for (const end of survived) {
    if (end.client !== client || openedAt > end.possibleFrom) continue;
    after = after && nothingLost(after, client, end.id, inode);
  }
  return after;
}
