/** Which lease is enough for whom. */
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import type { Node } from "./node.ts";

export interface Waiter {
  readonly mode: LeaseMode;
  /** Reads or writes file data: served while the kernel gives up its pages, which may be waiting for this very request. */
  readonly forData: "read" | "write" | undefined;
  /** The split lease does as well. */
  readonly takesSplit: boolean;
  readonly resolve: (node: Node) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * For those who come while the kernel gives up its pages: only the one READ comes then that this may be waiting for, and its
 * page goes with the others. Whoever reads it might want to change it, and do so before it goes: under a shared lease that is
 * the known defect of docs/promises.md (P1), because its write-back waits for the exclusive one.
 */
export function servesNow(node: Node, { forData, mode }: Waiter): boolean {
  if (forData === undefined || node.mode === undefined) return false;
  return forData === "read" || satisfies(node.mode, mode);
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
