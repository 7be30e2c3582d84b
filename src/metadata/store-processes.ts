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

interface NextProcess {
  readonly address: Address;
  readonly pid: number;
}

/** A refused process asks again within a second or so, as long as it runs. */
const rivalMs = 5_000;

export class StoreProcesses {
  readonly #rivals = new Map<number, NextProcess & { readonly atMs: number }>();

  /**
   * @param isStill `last` can't be serving until it registers again
   * Errors: notServing if another process than the one that registers may be.
   */
  check(last: ServingProcess | undefined, next: NextProcess, isStill: boolean, nowMs: number): void {
    if (last === undefined || isOnlyOne(last, next, isStill)) return;
    // Right after a process has ended the next one may have to wait: that is no problem of anybody's.
    if (last.peer !== undefined) this.#rivals.set(last.store, { ...next, atMs: nowMs });
    throw servedTwice(last, next);
  }

  /** The process that asks to serve a store which another one serves, as a problem for people; undefined: none. */
  problem(store: number, nowMs: number): string | undefined {
    const rival = this.#rivals.get(store);
    if (rival === undefined) return undefined;
    if (nowMs - rival.atMs > rivalMs) {
      this.#rivals.delete(store);
      return undefined;
    }
    return `is served, and process ${rival.pid} at ${rival.address} asks to serve it too, from the same data directory or a copy: it is refused. Stop it: a new store begins with an empty directory.`;
  }
}

function isOnlyOne(last: ServingProcess, next: NextProcess, isStill: boolean): boolean {
  if (!last.isSeen || isStill) return true;
  // Who listens at an address is the only one there: a process before it has ended, unless its connection is still open.
  return last.address === next.address && (last.pid === next.pid || last.peer === undefined);
}

function servedTwice(last: ServingProcess, next: NextProcess): BrineError {
  const what = `store ${last.store} is served by process ${last.pid} at ${last.address}`;
  return new BrineError(
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
