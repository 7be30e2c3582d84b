/**
 * How the process that serves a mount takes pages of mapped memory from the kernel (fuse/mapped-pages.ts has the same rules):
 * those that it has given, without those whose reads it has not answered, because nobody can have seen them. Reads that come
 * meanwhile are held: the kernel may wait for one of them, the process doesn't. All these are answered under the next lease.
 */
import type { Incarnation } from "./incarnation.ts";

interface Forgetting {
  readonly done: Promise<void>;
  readonly held: (() => void)[];
}

export class ServedPages {
  readonly #incarnation: Incarnation;
  readonly #drop: (inode: number, page: number) => Promise<void>;
  readonly #forgetting = new Map<number, Forgetting>();
  /** By inode: pages whose reads have been answered. */
  readonly #given = new Map<number, Set<number>>();
  /** Reads of pages that are not answered, and who waits for one to come. */
  readonly #unread = new Set<string>();
  readonly #onRead = new Map<string, () => void>();

  /** `drop` resolves when the kernel has not got the page that it had before. */
  constructor(incarnation: Incarnation, drop: (inode: number, page: number) => Promise<void>) {
    this.#incarnation = incarnation;
    this.#drop = drop;
  }

  /** Answers a read of a page. */
  async read<T>(inode: number, page: number, serve: () => Promise<T>): Promise<T> {
    const key = `${inode}/${page}`;
    this.#unread.add(key);
    this.#onRead.get(key)?.();
    try {
      const forgetting = this.#forgetting.get(inode);
      if (forgetting !== undefined) await new Promise<void>((resolve) => forgetting.held.push(resolve));
      const answer = await serve();
      this.#given.set(inode, (this.#given.get(inode) ?? new Set()).add(page));
      return answer;
    } finally {
      this.#unread.delete(key);
    }
  }

  /** Files of which pages were given and not taken back. */
  get given(): number[] {
    return [...new Set([...this.#given.keys(), ...this.#forgetting.keys()])];
  }

  forget(inode: number): Promise<void> {
    const underWay = this.#forgetting.get(inode);
    if (underWay !== undefined) return underWay.done;
    const done = Promise.withResolvers<void>();
    const forgetting: Forgetting = { done: done.promise, held: [] };
    this.#forgetting.set(inode, forgetting);
    // Answers that are decided on go out first: they take no more than the rest of this turn.
    this.#incarnation.after(0, "pages are to be forgotten", () => {
      void this.#dropGiven(inode).then(() => {
        done.resolve();
        // Whoever waits for it ends the lease at once. Only then do the others go on.
        this.#incarnation.after(0, "pages forgotten", () => {
          this.#forgetting.delete(inode);
          for (const go of forgetting.held) go();
        });
      });
    });
    return done.promise;
  }

  async #dropGiven(inode: number): Promise<void> {
    const pages = [...(this.#given.get(inode) ?? [])].sort((left, right) => left - right);
    this.#given.delete(inode);
    for (const page of pages) {
      const key = `${inode}/${page}`;
      if (this.#unread.has(key)) continue;
      const isRead = new Promise<void>((resolve) => this.#onRead.set(key, resolve));
      await Promise.race([this.#drop(inode, page), isRead]);
      this.#onRead.delete(key);
    }
  }
}
