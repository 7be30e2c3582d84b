/**
 * Pages of mapped memory that the kernel may have, and how they are taken from it.
 *
 * All files are opened for direct I/O, so only mmap(2) and exec make pages, and each is read before it is used: by a READ
 * of whole pages that, other than read(2), names no lock owner. Nodes of which no such READ was answered have none.
 *
 * INVAL_INODE of all pages
 * - makes the kernel write what is dirty, by WRITEs that must be answered meanwhile;
 * - waits for each page that the kernel has asked for and not been given;
 * - drops the rest.
 *
 * So it blocks, and goes out on a thread of its own (transport/notifier.ts). The difficulty are READs that come while it
 * runs. Answered, their pages may stay in the kernel, if it has passed them already. Not answered, it may wait for them for
 * ever. Hence:
 *
 * 1. READs for pages that come while it runs are held here.
 * 2. If it has not finished after 2 ms, it may be waiting for one of them: all that are held go on to the file system, under
 *    the lease that is leaving.
 * 3. If any did, it is sent once more. Each time, the tasks whose READs are held stand still; so it ends.
 * 4. READs that are still held go on when the lease has been given back, and wait for the next one.
 */
import type { Clock } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import { pageInvalidation } from "./notify-messages.ts";
import type { FuseTransport } from "./transport.ts";
import { within } from "./within.ts";

/** An invalidation that waits for nobody takes some 50 µs. One that waits does so for long: it is looked at less and less. */
const patienceFirstMs = 2;
const patienceLastMs = 50;
/** From then on the log says every so often that the kernel has not given up its pages. */
const reportAfterMs = 5_000;

interface Forgetting {
  readonly done: Promise<void>;
  held: (() => void)[];
}

export class MappedPages {
  readonly #transport: FuseTransport;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Nodes of which pages were given to the kernel. At most as many as it knows. */
  readonly #paged = new Set<number>();
  readonly #forgetting = new Map<number, Forgetting>();

  constructor(parts: { transport: FuseTransport; clock: Clock; logger: Logger }) {
    this.#transport = parts.transport;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
  }

  /** A READ for pages has come. Wait for the promise, if there is one, before asking the file system. */
  reading(node: number): Promise<void> | undefined {
    const forgetting = this.#forgetting.get(node);
    this.#transport.prepareNotify();
    if (forgetting === undefined) {
      this.#paged.add(node);
      return undefined;
    }
    return new Promise((resolve) => {
      forgetting.held.push(() => {
        this.#paged.add(node);
        resolve();
      });
    });
  }

  mayHave(node: number): boolean {
    return this.#paged.has(node) || this.#forgetting.has(node);
  }

  /** The kernel has forgotten the node, and its pages with it. */
  gone(node: number): void {
    this.#paged.delete(node);
  }

  /** Resolves when the kernel has no page of the node that was given to it before. Never rejects. */
  forget(node: number): Promise<void> {
    const underWay = this.#forgetting.get(node);
    if (underWay !== undefined) return underWay.done;
    if (!this.#paged.has(node)) return Promise.resolve();
    const held: (() => void)[] = [];
    const done = Promise.withResolvers<void>();
    const forgetting = { done: done.promise, held };
    this.#forgetting.set(node, forgetting);
    void this.#run(node, forgetting).then(() => {
      done.resolve();
      // Whoever waits for us ends the lease in the microtasks that follow. Only then do the others go on.
      this.#clock.startTimer(0, () => {
        this.#forgetting.delete(node);
        release(forgetting);
      });
    });
    return done.promise;
  }

  /** The connection has ended: nothing is held any more. */
  stop(): void {
    for (const forgetting of this.#forgetting.values()) release(forgetting);
  }

  async #run(node: number, forgetting: Forgetting): Promise<void> {
    const startMs = this.#clock.nowMs();
    let reportMs = reportAfterMs;
    for (let wasServed = true; wasServed; ) {
      wasServed = false;
      this.#paged.delete(node);
      let patienceMs = patienceFirstMs;
      const sent = this.#transport.notifyBlocking(pageInvalidation(node)).then(() => true);
      while (!(await within(sent, this.#clock, patienceMs))) {
        wasServed ||= forgetting.held.length > 0;
        release(forgetting);
        patienceMs = Math.min(patienceMs * 2, patienceLastMs);
        const waitedMs = this.#clock.nowMs() - startMs;
        if (waitedMs < reportMs) continue;
        reportMs *= 2;
        this.#logger.warn("the kernel does not give up its pages of a file", { inode: node, waitedMs });
      }
    }
  }
}

function release(forgetting: Forgetting): void {
  const { held } = forgetting;
  forgetting.held = [];
  for (const go of held) go();
}
