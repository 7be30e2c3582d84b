/**
 * Deadlocks among those who wait for locks, across files: fcntl(2) answers EDEADLK to the request that would close the
 * circle. Only locks in the way count; who waits for its turn behind others passes them after a while (lock-queue.ts).
 */
import type { LockQueue, LockRequest } from "./lock-queue.ts";

/** A request, and where it waits or would wait. */
export interface PlacedRequest<Owner extends object> {
  readonly queue: LockQueue<Owner>;
  readonly request: LockRequest<Owner>;
}

/**
 * Whether someone who is in the way of the request waits, directly or through others, for its owner.
 *
 * @param waitsOf what an owner waits for now
 */
export function wouldDeadlock<Owner extends object>(
  { queue, request }: PlacedRequest<Owner>,
  waitsOf: (owner: Owner) => Iterable<PlacedRequest<Owner>>,
): boolean {
  const seen = new Set<Owner>(queue.blockers(request));
  // Grows while it is walked through.
  for (const owner of seen) {
    if (owner === request.owner) return true;
    for (const waiting of waitsOf(owner)) {
      for (const blocker of waiting.queue.blockers(waiting.request)) seen.add(blocker);
    }
  }
  return false;
}
