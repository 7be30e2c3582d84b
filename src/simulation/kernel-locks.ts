/**
 * The kernel's locks on inodes (i_rwsem): one holder alone, or many that only read, in the order of arrival. They are held
 * while requests are unanswered, so a file system that waits for a holder's end before it answers stands still for good.
 */
interface Waiter {
  readonly exclusive: boolean;
  readonly start: () => void;
}

class InodeLock {
  #readers = 0;
  #writer = false;
  readonly #waiters: Waiter[] = [];

  take(exclusive: boolean): Promise<void> | undefined {
    if (this.#waiters.length === 0 && this.#isFree(exclusive)) {
      this.#enter(exclusive);
      return undefined;
    }
    return new Promise((start) => this.#waiters.push({ exclusive, start }));
  }

  give(exclusive: boolean): void {
    if (exclusive) this.#writer = false;
    else this.#readers -= 1;
    for (let next = this.#waiters[0]; next !== undefined && this.#isFree(next.exclusive); next = this.#waiters[0]) {
      this.#waiters.shift();
      this.#enter(next.exclusive);
      next.start();
    }
  }

  #isFree(exclusive: boolean): boolean {
    return !this.#writer && (!exclusive || this.#readers === 0);
  }

  #enter(exclusive: boolean): void {
    if (exclusive) this.#writer = true;
    else this.#readers += 1;
  }
}

export class KernelLocks {
  readonly #locks = new Map<number, InodeLock>();

  /** Runs `body` with the inode's lock. */
  async locked<T>(inode: number, mode: "shared" | "exclusive", body: () => Promise<T>): Promise<T> {
    let lock = this.#locks.get(inode);
    if (lock === undefined) {
      lock = new InodeLock();
      this.#locks.set(inode, lock);
    }
    const exclusive = mode === "exclusive";
    const waiting = lock.take(exclusive);
    if (waiting !== undefined) await waiting;
    try {
      return await body();
    } finally {
      lock.give(exclusive);
    }
  }

  /** With the locks of both, taken in one order everywhere. */
  bothLocked<T>(left: number, right: number, body: () => Promise<T>): Promise<T> {
    if (left === right) return this.locked(left, "exclusive", body);
    const [first, second] = left < right ? [left, right] : [right, left];
    return this.locked(first, "exclusive", () => this.locked(second, "exclusive", body));
  }
}
