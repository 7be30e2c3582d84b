/**
 * What a guard is told, so that it can act for a process that is stopped (transport/guard.ts), and how it stands in the file
 * that both share: numbers of 8 bytes, each written by one call.
 */
export interface PageWatch {
  /** Nobody else gets what the session holds before this moment, on the clock that runs through suspends. */
  standsUntil(untilMs: number): void;
  /** The kernel may have pages of the node. Idempotent, like the next. */
  hasPages(node: number): void;
  hasNone(node: number): void;
}

/** Offsets. A deadline of 0: none is known. From `nodes` on there is a node in each slot; 0: it is free. */
export const stateLayout = { deadline: 0, cut: 8, nodes: 16, slotBytes: 8 } as const;
