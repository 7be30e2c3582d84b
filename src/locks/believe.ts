/**
 * Takes a client's word for a lock that it holds, where another's may contradict: after a restart of the leader each client
 * states what it has, and one may not have heard yet of what became of a request. Its lock was then changed by its own
 * wish, before the other one was set. So of two locks that can't be together the later one stands.
 */
import { intersection, type LockedRange, overlap, type RangeLocks } from "./range-locks.ts";

/** Sets the range for the owner. Other owners lose what contradicts it and is older; of it goes what is older itself. */
export function believe<Owner>(locks: RangeLocks<Owner>, owner: Owner, range: LockedRange): void {
  locks.set(owner, range, range.mode, range.grant);
  for (;;) {
    const found = contradiction(locks, owner, range);
    if (found === undefined) return;
    const { own, other } = found;
    const both = intersection(own, other.range);
    const isOlder = own.grant < other.range.grant;
    const [loser, lost, winner] = isOlder ? [owner, own, other.range] : [other.owner, other.range, own];
    locks.set(loser, both, winner.mode === "shared" ? "shared" : undefined, lost.grant);
  }
}

function contradiction<Owner>(locks: RangeLocks<Owner>, owner: Owner, range: LockedRange) {
  for (const own of locks.of(owner)) {
    if (!overlap(own, range)) continue;
    const other = locks.conflict(owner, own, own.mode);
    if (other !== undefined) return { own, other };
  }
  return undefined;
}
