/**
 * What is there at once, or comes later. Nearly all operations are served from memory: a promise for each of them, and for
 * each function on its way, would cost more than the operation. So what is on that way returns `Soon`, and goes on with
 * these instead of `await`, `catch` and `finally`; what is seldom taken is written with `async` as everywhere.
 */
export type Soon<T> = T | Promise<T>;

/** Goes on with the value: in this very turn if it is there. */
export function whenThere<T, R>(value: Soon<T>, next: (value: T) => Soon<R>): Soon<R> {
  return value instanceof Promise ? value.then(next) : next(value);
}

/**
 * Runs `last` when the body has ended, however it did. The outcome is there in the next turn of microtasks (`finally` takes
 * more): whoever `last` lets go on doesn't overtake it.
 */
export function afterwards<T>(body: () => Soon<T>, last: () => void): Soon<T> {
  const ended = (value: T): T => {
    last();
    return value;
  };
  const failed = (error: unknown): never => {
    last();
    throw error;
  };
  let outcome: Soon<T>;
  try {
    outcome = body();
  } catch (error) {
    return failed(error);
  }
  return outcome instanceof Promise ? outcome.then(ended, failed) : ended(outcome);
}

/** Runs `failed` with the body's error; the outcome is then its. */
export function ifItFails<T>(body: () => Soon<T>, failed: (error: unknown) => Soon<T>): Soon<T> {
  let outcome: Soon<T>;
  try {
    outcome = body();
  } catch (error) {
    return failed(error);
  }
  return outcome instanceof Promise ? outcome.catch(failed) : outcome;
}
