/** Which lease is enough for whom. */
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import type { Node } from "./node.ts";

/** Recalling it from a client that has died takes as long as a session lives, and its fencing. */
export const leaseTimeoutMs = 60_000;

export interface Waiter {
  readonly mode: LeaseMode;
  /** Reads or writes file data: served while the kernel gives up its pages, which may be waiting for this very request. */
  readonly forData: "read" | "write" | undefined;
  /** The split lease does as well. */
  readonly takesSplit: boolean;
  readonly resolve: (node: Node) => void;
  readonly reject: (error: unknown) => void;
}

export interface Queue {
  waiters: Waiter[];
  /** The leader has been asked and has not answered. */
  asking: boolean;
}

/** For those who come while the kernel gives up its pages. It may be waiting for them, but not for READs (fuse/mapped-pages.ts). */
export function servesNow(node: Node, { forData, mode }: Waiter): boolean {
  return forData !== undefined && satisfies(node.mode, mode);
}

/** A chunk's lease that comes for nobody, when the split one is on its way out, goes with that. */
export function isSplitUnder({ mode, grant, leaving, uses }: Node, within: number): boolean {
  return mode === "split" && grant === within && (leaving === undefined || uses > 0);
}

export function serves(node: Node, { mode, takesSplit }: Waiter): boolean {
  return satisfies(node.mode, mode) || (takesSplit && node.mode === "split");
}

export function satisfies(held: LeaseMode | undefined, wanted: LeaseMode): boolean {
  return wanted === "split" ? held === "split" : held === "exclusive" || (held === "shared" && wanted === "shared");
}
