/**
 * How the process that serves a mount takes pages of mapped memory from the kernel (fuse/mapped-pages.ts has the same rules):
 * reads of pages that come while the kernel drops pages are held; if it has not finished after some time, it may be waiting
 * for one of them, so they are served, and then it drops pages once more.
 */
import type { Incarnation } from "./incarnation.ts";

const patienceUs = 2_000;

interface Forgetting {
  readonly done: Promise<void>;
  held: (() => void)[];
}

export class ServedPages {
  readonly #incarnation: Incarnation;
  readonly #drop: (inode: number) => Promise<void>;
  readonly #forgetting = new Map<number, Forgetting>();

  /** `drop` resolves when the kernel has no page of the inode that it had before. */
  constructor(incarnation: Incarnation, drop: (inode: number) => Promise<void>) {
    this.#incarnation = incarnation;
    this.#drop = drop;
  }

  /** Resolves when a read for a page may be asked of the file system. */
  mayRead(inode: number): Promise<void> | undefined {
    const forgetting = this.#forgetting.get(inode);
    return forgetting && new Promise((resolve) => forgetting.held.push(resolve));
  }

  forget(inode: number): Promise<void> {
    const underWay = this.#forgetting.get(inode);
    if (underWay !== undefined) return underWay.done;
    const done = Promise.withResolvers<void>();
    const forgetting: Forgetting = { done: done.promise, held: [] };
    this.#forgetting.set(inode, forgetting);
    void this.#run(inode, forgetting).then(() => {
      done.resolve();
      // Whoever waits for it ends the lease at once. Only then do the others go on.
      this.#incarnation.after(0, "pages forgotten", () => {
        this.#forgetting.delete(inode);
        release(forgetting);
      });
    });
    return done.promise;
  }

  async #run(inode: number, forgetting: Forgetting): Promise<void> {
    for (let wasServed = true; wasServed; ) {
      wasServed = false;
      let isDropped = false;
      const dropped = this.#drop(inode).then(() => {
        isDropped = true;
      });
      while (!isDropped) {
        await Promise.race([dropped, this.#incarnation.delay(patienceUs, "patience with pages")]);
        if (isDropped) break;
        wasServed ||= forgetting.held.length > 0;
        release(forgetting);
      }
    }
  }
}

function release(forgetting: Forgetting): void {
  const { held } = forgetting;
  forgetting.held = [];
  for (const go of held) go();
}
