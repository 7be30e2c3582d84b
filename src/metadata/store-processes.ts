/**
 * Which processes may serve a store: none once it was removed, else one at a time. A data directory that was copied, and is served
 * from both places, would be two stores under one number: each has what the other hasn't, and the leader calls both in sync.
 *
 * A process is told by its address and its process id. Another one than the store's last is let in when that one can't be
 * serving any more; its groups have gone on without it by then, so that what comes back is compared before it counts.
 */
import { BrineError } from "../errors/brine-error.ts";
import type { Address } from "../platform/network.ts";

/** The process that registered last. */
export interface ServingProcess {
  readonly store: number;
  readonly address: Address;
  readonly pid: number;
  /** It is connected. */
  readonly peer: unknown;
  /** It has registered at this leader. */
  readonly isSeen: boolean;
}

/**
 * @param isStill `last` can't be serving until it registers again
 * Errors: notServing if another process than the one that registers may be.
 */
export function checkOneProcess(
  last: ServingProcess | undefined,
  next: { readonly address: Address; readonly pid: number },
  isStill: boolean,
): void {
  if (last === undefined || !last.isSeen || isStill) return;
  const isSamePlace = last.address === next.address;
  // Who listens at an address is the only one there: a process before it has ended, unless its connection is still open.
  if (isSamePlace && (last.pid === next.pid || last.peer === undefined)) return;
  const what = `store ${last.store} is served by process ${last.pid} at ${last.address}`;
  throw new BrineError(
    "notServing",
    `${what}, and process ${next.pid} at ${next.address} has the same data directory or a copy of it`,
    {
      advice: "stop one of the two: a copied directory is no second store, a new store begins with an empty one",
    },
  );
}

export function wasRemoved(store: number): BrineError {
  return new BrineError("refused", `store ${store} was removed from this cluster`, {
    advice: "start its server on an empty data directory: it joins as a new store",
  });
}
