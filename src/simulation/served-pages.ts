/**
 * How the process that serves a mount takes pages of mapped memory from the kernel (fuse/mapped-pages.ts has the same rules):
 * pages whose reads it has not answered are left out, because the kernel would wait for them, and nobody can have seen them;
 * reads that come meanwhile are held. All those are answered under the next lease.
 */
import type { Incarnation } from "./incarnation.ts";

interface Forgetting {
  readonly done: Promise<void>;
  readonly held: (() => void)[];
}

export class ServedPages {
  readonly #incarnation: Incarnation;
  readonly #drop: (inode: number, isUnread: (page: number) => boolean) => Promise<void>;
  readonly #forgetting = new Map<number, Forgetting>();
  /** Reads of pages that are not answered. */
  readonly #unread = new Set<string>();

  /** `drop` resolves when the kernel has no page of the inode that it had before, but for the unread ones. */
  constructor(incarnation: Incarnation, drop: (inode: number, isUnread: (page: number) => boolean) => Promise<void>) {
    this.#incarnation = incarnation;
    this.#drop = drop;
  }

  /** Answers a read of a page. */
  async read<T>(inode: number, page: number, serve: () => Promise<T>): Promise<T> {
    const key = `${inode}/${page}`;
    this.#unread.add(key);
    try {
      const forgetting = this.#forgetting.get(inode);
      if (forgetting !== undefined) await new Promise<void>((resolve) => forgetting.held.push(resolve));
      return await serve();
    } finally {
      this.#unread.delete(key);
    }
  }

  forget(inode: number): Promise<void> {
    const underWay = this.#forgetting.get(inode);
    if (underWay !== undefined) return underWay.done;
    const done = Promise.withResolvers<void>();
    const forgetting: Forgetting = { done: done.promise, held: [] };
    this.#forgetting.set(inode, forgetting);
    // Answers that are decided on go out first: they take no more than the rest of this turn.
    this.#incarnation.after(0, "pages are to be forgotten", () => {
      void this.#drop(inode, (page) => this.#unread.has(`${inode}/${page}`)).then(() => {
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
}
