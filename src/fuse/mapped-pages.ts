/**
 * Pages of mapped memory that the kernel may have, and how they are taken from it.
 *
 * All files are opened for direct I/O, so only mmap(2) and exec make pages, and each is read before it is used: by a READ
 * of whole pages that, other than read(2), names no lock owner. Nodes of which no such READ was answered have none.
 *
 * INVAL_INODE of pages
 * - makes the kernel write what is dirty, by WRITEs that must be answered meanwhile;
 * - waits for each page that the kernel has asked for and not been given;
 * - drops the rest.
 *
 * So it blocks, and goes out on a thread of its own (transport/notifier.ts). The difficulty are READs that come while it
 * runs. Answered, their pages may stay in the kernel, if it has passed them already. Not answered, it may wait for them for
 * ever. Hence:
 *
 * 1. From the start on, READs for pages that come are held here.
 * 2. In rounds: everything is invalidated but the pages of READs that are held now. Nobody can see those.
 * 3. If a round has not finished after 2 ms, it may be waiting for a READ that came after its start: those go on to the
 *    file system, under the lease that is leaving. Then there is another round.
 * 4. The tasks whose READs are held stand still, and whoever could disturb a round is held by the next. So it ends.
 * 5. READs that are still held go on when the lease has been given back, and wait for the next one.
 */
import type { Clock } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import { pageInvalidation } from "./notify-messages.ts";
import type { FuseTransport } from "./transport.ts";
import { within } from "./within.ts";

/** An invalidation that waits for nobody takes some 50 µs. One that waits for a WRITE does so for longer. */
const patienceFirstMs = 2;
const patienceLastMs = 50;
/** From then on the log says every so often that the kernel has not given up its pages. */
const reportAfterMs = 5_000;

interface HeldRead {
  readonly start: number;
  readonly end: number;
  readonly go: () => void;
}

interface Forgetting {
  readonly done: Promise<void>;
  readonly held: Set<HeldRead>;
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
  reading(node: number, offset: number, size: number): Promise<void> | undefined {
    const forgetting = this.#forgetting.get(node);
    if (forgetting === undefined) {
      if (this.#paged.size === 0) this.#transport.prepareNotify();
      this.#paged.add(node);
      return undefined;
    }
    return new Promise((resolve) => {
      const go = () => {
        this.#paged.add(node);
        resolve();
      };
      forgetting.held.add({ start: offset, end: offset + size, go });
    });
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
    const done = Promise.withResolvers<void>();
    const forgetting = { done: done.promise, held: new Set<HeldRead>() };
    this.#forgetting.set(node, forgetting);
    void this.#run(node, forgetting).then(() => {
      done.resolve();
      // Whoever waits for us ends the lease in the microtasks that follow. Only then do the others go on.
      this.#clock.startTimer(0, () => {
        this.#forgetting.delete(node);
        letGo(forgetting.held, forgetting.held);
      });
    });
    return done.promise;
  }

  /** The connection has ended: nothing is held any more. */
  stop(): void {
    for (const { held } of this.#forgetting.values()) letGo(held, held);
  }

  async #run(node: number, { held }: Forgetting): Promise<void> {
    const report = this.#reporter(node);
    for (let disturbed = true; disturbed; ) {
      disturbed = false;
      this.#paged.delete(node);
      const left = new Set(held);
      for (const { offset, length } of rangesBeside(left)) {
        const sent = this.#transport.notifyBlocking(pageInvalidation(node, offset, length)).then(() => true);
        for (let patienceMs = patienceFirstMs; !(await within(sent, this.#clock, patienceMs)); ) {
          report();
          const late = [...held].filter((one) => !left.has(one));
          disturbed ||= late.length > 0;
          letGo(held, late);
          patienceMs = late.length > 0 ? patienceFirstMs : Math.min(patienceMs * 2, patienceLastMs);
        }
      }
    }
  }

  #reporter(node: number): () => void {
    const startMs = this.#clock.nowMs();
    let reportMs = reportAfterMs;
    return () => {
      const waitedMs = this.#clock.nowMs() - startMs;
      if (waitedMs < reportMs) return;
      reportMs *= 2;
      this.#logger.warn("the kernel does not give up its pages of a file", { inode: node, waitedMs });
    };
  }
}

function letGo(held: Set<HeldRead>, which: Iterable<HeldRead>): void {
  for (const one of [...which]) {
    held.delete(one);
    one.go();
  }
}

/** What lies between and behind these. A length of 0 reaches to the end of all files. */
function rangesBeside(reads: ReadonlySet<HeldRead>): { offset: number; length: number }[] {
  const ranges: { offset: number; length: number }[] = [];
  let offset = 0;
  for (const { start, end } of [...reads].sort((a, b) => a.start - b.start)) {
    if (start > offset) ranges.push({ offset, length: start - offset });
    offset = Math.max(offset, end);
  }
  ranges.push({ offset, length: 0 });
  return ranges;
}
