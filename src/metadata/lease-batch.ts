/**
 * Leases on many inodes at once, as far as they can be had soon: those in the way are all recalled together, and what is
 * given back in time is taken; or, for who only supposes that he will need them, what nobody else has.
 */
import type { BrineError } from "../errors/brine-error.ts";
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import type { Waiter } from "./lease-waiters.ts";
import type { Leases } from "./leases.ts";
import type { Lifetime } from "./lifetime.ts";

export interface BatchRequest {
  readonly session: number;
  readonly inodes: readonly number[];
  readonly mode: LeaseMode;
  /** Undefined: nobody is recalled. */
  readonly withinMs: number | undefined;
}

/**
 * Resolves with the grants, 0 for inodes whose lease could not be had, or that the session has already or waits for; some
 * may have been replaced since they were given. Rejects if the session ends or has a new connection.
 */
export function takeSoon(leases: Leases, lifetime: Lifetime, request: BatchRequest): Promise<number[]> {
  const { session, inodes, mode, withinMs } = request;
  const { promise, resolve, reject } = Promise.withResolvers<number[]>();
  const grants: number[] = inodes.map(() => 0);
  const waiting = new Set<Waiter>();
  const grant = leases.nextGrant();
  for (const [index, inode] of inodes.entries()) {
    if (leases.limits.isFull(session)) break;
    // A split lease is never converted.
    if (leases.isConcerned(session, inode, mode) || leases.split.grantOf(session, inode) !== 0) continue;
    if (leases.takeNow(session, inode, mode, grant)) {
      grants[index] = grant;
      continue;
    }
    if (withinMs === undefined) continue;
    const done = (): void => {
      waiting.delete(waiter);
      if (waiting.size === 0) finish();
    };
    const granted = (given: number): void => {
      grants[index] = given;
      done();
    };
    const refused = (reason: BrineError): void => {
      reject(reason);
      done();
    };
    const waiter: Waiter = { session, inode, mode, forData: false, promise: undefined, granted, refused };
    waiting.add(waiter);
  }
  if (withinMs === undefined || waiting.size === 0) {
    resolve(grants);
    return promise;
  }
  const timer = lifetime.startTimer(withinMs, () => {
    for (const waiter of [...waiting]) leases.withdraw(waiter);
  });
  const finish = (): void => {
    timer.cancel();
    resolve(grants);
  };
  for (const waiter of [...waiting]) leases.enqueue(waiter);
  return promise;
}
