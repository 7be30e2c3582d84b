/** A wait with an end. */
import type { Clock } from "../platform/clock.ts";

/** The promise's value, or undefined if it takes longer than this. */
export async function within<T>(promise: Promise<T>, clock: Clock, timeoutMs: number): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = clock.startTimer(timeoutMs, () => late.resolve(undefined));
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    timer.cancel();
  }
}
