/** Advisory locks of one memory file system: who has what, who waits. */
import type { Handle, LockRange } from "../../client/file-system.ts";
import { FileError } from "../../errors/file-error.ts";

type Range = Pick<LockRange, "kind" | "owner" | "start" | "end">;

interface Held {
  readonly handle: Handle;
  readonly lock: LockRange;
}

interface Waiter extends Held {
  readonly granted: () => void;
}

export class MemoryLocks {
  readonly #held: Held[] = [];
  readonly #waiters = new Set<Waiter>();

  /** Locks held and waits, for tests that look for leaks. */
  get count(): number {
    return this.#held.length + this.#waiters.size;
  }

  test(handle: Handle, lock: LockRange): LockRange | undefined {
    return this.#held.find((held) => held.handle.inode === handle.inode && conflict(held.lock, lock))?.lock;
  }

  async set(handle: Handle, lock: LockRange, wait: boolean, signal?: AbortSignal): Promise<void> {
    if (this.test(handle, lock) === undefined) {
      this.#replace(handle, lock);
      return;
    }
    if (!wait) throw new FileError("EAGAIN");
    if (signal?.aborted === true) throw new FileError("EINTR");
    await new Promise<void>((granted, reject) => {
      const waiter = { handle, lock, granted };
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", () => {
        if (this.#waiters.delete(waiter)) reject(new FileError("EINTR"));
      });
    });
  }

  unlock(handle: Handle, range: Range): void {
    this.#remove(handle.inode, range);
    this.#grant();
  }

  /** The handle was closed: its locks go, whoever owns them. */
  release(handle: Handle): void {
    for (const held of this.#held.filter((one) => one.handle === handle))
      this.#held.splice(this.#held.indexOf(held), 1);
    this.#grant();
  }

  #replace(handle: Handle, lock: LockRange): void {
    this.#remove(handle.inode, lock);
    this.#held.push({ handle, lock });
  }

  /** What lies beside the range stays. */
  #remove(inode: number, range: Range): void {
    for (const held of [...this.#held]) {
      const { handle, lock } = held;
      if (handle.inode !== inode || lock.kind !== range.kind || lock.owner !== range.owner) continue;
      if (lock.start > range.end || lock.end < range.start) continue;
      this.#held.splice(this.#held.indexOf(held), 1);
      if (lock.start < range.start) this.#held.push({ handle, lock: { ...lock, end: range.start - 1n } });
      if (lock.end > range.end) this.#held.push({ handle, lock: { ...lock, start: range.end + 1n } });
    }
  }

  #grant(): void {
    for (const waiter of this.#waiters) {
      if (this.test(waiter.handle, waiter.lock) !== undefined) continue;
      this.#waiters.delete(waiter);
      this.#replace(waiter.handle, waiter.lock);
      waiter.granted();
    }
  }
}

function conflict(a: LockRange, b: LockRange): boolean {
  if (a.kind !== b.kind || a.owner === b.owner || (a.mode === "shared" && b.mode === "shared")) return false;
  return a.start <= b.end && b.start <= a.end;
}
