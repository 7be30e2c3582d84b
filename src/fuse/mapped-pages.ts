/**
 * Pages of mapped memory that the kernel may have, and how they are taken from it.
 *
 * All files are opened for direct I/O, so only mmap(2) and exec make pages, and each is read before it is used: by a READ
 * of whole pages that, other than read(2), names no lock owner. What was answered to such READs the kernel may have; of
 * nothing else it has pages.
 *
 * INVAL_INODE of pages
 * - makes the kernel write what is dirty, by WRITEs that must be answered meanwhile;
 * - waits for each page in its range that the kernel has asked for and not been given;
 * - drops the rest.
 *
 * So it blocks, and goes out on a thread of its own (transport/notifier.ts). The difficulty are READs without an answer.
 * Those that came before wait for a lease, and won't get it before the present one is given back (a READ for memory that
 * may be written to needs the exclusive one, when only the shared one may be here): who waits for them waits for ever.
 * Those that come while it runs may be answered or not: answered, their pages may stay in the kernel, if it has passed
 * them already. Hence:
 *
 * 1. From the start on, READs for pages that come are held here.
 * 2. Answers that are decided on go out: they take no more than the microtasks of this turn.
 * 3. Only ranges that were given are invalidated, without those of READs that have no answer. Nobody can see those pages:
 *    the kernel asks for what it hasn't got.
 * 4. If one takes longer than 2 ms, it may be waiting for a page that the kernel has dropped by itself, short of memory, and
 *    asked for again since the start of this very range. Nobody can see that page either. So the call is left to itself, and
 *    what else is in the range goes by calls of their own, on other threads. (To answer the READ instead would be wrong:
 *    who reads may write, and the page would have to be written back under a lease that is too weak for it.) The tasks whose
 *    READs are held stand still, so it ends.
 * 5. The pages of a few nodes are taken at a time: who is late is stuck then, and not behind thousands of others. Who is stuck
 *    gives up its place.
 * 6. READs that are held go on when the lease has been given back, and are answered under the next one. Then the calls that
 *    were left come back, too; they drop what was just given, which costs another READ.
 */
import { type Clock, sleep } from "../platform/clock.ts";
import type { Logger } from "../platform/logger.ts";
import { pageInvalidation } from "./notify-messages.ts";
import { type ByteRange, overlap, PageRanges, without } from "./page-ranges.ts";
import type { PageWatch } from "./page-watch.ts";
import { Places } from "./places.ts";
import type { FuseTransport } from "./transport.ts";
import { within } from "./within.ts";

/** An invalidation that waits for nobody takes some 50 µs. One that waits for a WRITE does so for longer. */
const patienceFirstMs = 2;
const patienceLastMs = 50;
const nodesAtOnce = 16;
/** From then on the log says every so often that the kernel has not given up its pages. */
const reportAfterMs = 5_000;

/** A READ for pages. */
export interface PageRead {
  /** Resolves when the file system may be asked; undefined: at once. */
  readonly held: Promise<void> | undefined;
  /**
   * What was found reaches to the end of the file only. Resolves when READs of what is before it have been answered, to find it
   * anew; undefined: they have. The kernel takes the end from the first such answer, and leaves out the others.
   */
  readsBefore(): Promise<void> | undefined;
  /** Call it in the turn in which the answer is written. */
  answered(): void;
  /** There is no data in the answer. */
  failed(): void;
}

interface UnansweredRead extends ByteRange {
  readonly ended: PromiseWithResolvers<void>;
}

interface HeldRead extends ByteRange {
  readonly go: () => void;
}

/** What the kernel has of one node, and is waiting for. */
interface NodePages {
  readonly given: PageRanges;
  /** With the file system. */
  readonly unanswered: Set<UnansweredRead>;
  readonly held: Set<HeldRead>;
  forgetting: Promise<void> | undefined;
  /** How many forgettings, and turns after them, there are in which READs are held. */
  holders: number;
}

/** What happens to who takes longer than it should. */
interface Late {
  readonly report: () => void;
  readonly end: () => void;
}

export class MappedPages {
  readonly #transport: FuseTransport;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Told which nodes have pages. */
  #watch: PageWatch | undefined;
  /** Nodes that have pages, or are about to. At most as many as the kernel knows. */
  readonly #nodes = new Map<number, NodePages>();
  readonly #places = new Places(nodesAtOnce);

  constructor(parts: { transport: FuseTransport; clock: Clock; logger: Logger }) {
    this.#transport = parts.transport;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
  }

  /** From now on this one is told. */
  attach(watch: PageWatch): void {
    this.#watch = watch;
    for (const [node, { given }] of this.#nodes) if (!given.isEmpty) watch.hasPages(node);
  }

  /** A READ for pages has come. */
  reading(node: number, offset: number, size: number): PageRead {
    const pages = this.#pagesOf(node);
    const range = { start: offset, end: offset + size, ended: Promise.withResolvers<void>() };
    let held: Promise<void> | undefined;
    if (pages.holders === 0) pages.unanswered.add(range);
    else {
      held = new Promise((resolve) => {
        const go = () => {
          pages.unanswered.add(range);
          resolve();
        };
        pages.held.add({ start: range.start, end: range.end, go });
      });
    }
    const end = (given: boolean) => {
      pages.unanswered.delete(range);
      range.ended.resolve();
      if (given) {
        this.#watch?.hasPages(node);
        pages.given.add(range);
      } else this.#drop(node, pages);
    };
    const readsBefore = () => [...pages.unanswered].find(({ start }) => start < offset)?.ended.promise;
    return { held, readsBefore, answered: () => end(true), failed: () => end(false) };
  }

  /** The kernel has forgotten the node, and its pages with it. */
  gone(node: number): void {
    const pages = this.#nodes.get(node);
    if (pages === undefined) return;
    pages.given.take();
    this.#watch?.hasNone(node);
    this.#drop(node, pages);
  }

  /** Resolves when the kernel has no page of the node that was given to it before. Never rejects. */
  forget(node: number): Promise<void> {
    if (!this.mayHave(node)) return Promise.resolve();
    const pages = this.#nodes.get(node)!;
    pages.forgetting ??= this.#forget(node, pages);
    return pages.forgetting;
  }

  /** Whether there is anything to forget of the node. */
  mayHave(node: number): boolean {
    const pages = this.#nodes.get(node);
    if (pages === undefined) return false;
    return pages.forgetting !== undefined || !pages.given.isEmpty || pages.unanswered.size > 0;
  }

  /** Of all nodes. */
  forgetAll(): void {
    for (const node of [...this.#nodes.keys()]) void this.forget(node);
  }

  /** The connection has ended: nothing is held any more. */
  stop(): void {
    for (const { held } of this.#nodes.values()) letGo(held, held);
  }

  #pagesOf(node: number): NodePages {
    let pages = this.#nodes.get(node);
    if (pages === undefined) {
      if (this.#nodes.size === 0) this.#transport.prepareNotify();
      pages = { given: new PageRanges(), unanswered: new Set(), held: new Set(), forgetting: undefined, holders: 0 };
      this.#nodes.set(node, pages);
    }
    return pages;
  }

  #drop(node: number, { given, unanswered, held, holders }: NodePages): void {
    if (given.isEmpty && unanswered.size + held.size + holders === 0) this.#nodes.delete(node);
  }

  async #forget(node: number, pages: NodePages): Promise<void> {
    pages.holders += 1;
    const place = this.#places.take();
    if (place !== undefined) await place;
    if (pages.unanswered.size > 0) await sleep(this.#clock, 0);
    const late = this.#whenLate(node);
    while (!pages.given.isEmpty) {
      for (const range of pages.given.take()) await this.#invalidate(node, pages, range, late);
    }
    late.end();
    pages.forgetting = undefined;
    this.#watch?.hasNone(node);
    // Whoever waits for us ends the lease in the microtasks that follow, or calls us again. Only then do the others go on.
    void sleep(this.#clock, 0).then(() => {
      pages.holders -= 1;
      if (pages.holders > 0) return;
      letGo(pages.held, pages.held);
      this.#drop(node, pages);
    });
  }

  async #invalidate(node: number, pages: NodePages, range: ByteRange, late: Late): Promise<void> {
    const { unanswered, held } = pages;
    for (const part of without(range, [...unanswered, ...held])) {
      const sent = this.#transport.notifyBlocking(pageInvalidation(node, part.start, part.end - part.start));
      const done = sent.then(() => true);
      for (let patienceMs = patienceFirstMs; !(await within(done, this.#clock, patienceMs)); ) {
        late.report();
        if ([...held].some((one) => overlap(one, part))) {
          await this.#invalidate(node, pages, part, late);
          break;
        }
        patienceMs = Math.min(patienceMs * 2, patienceLastMs);
      }
    }
  }

  /** Has a place, which it gives up once. */
  #whenLate(node: number): Late {
    const startMs = this.#clock.nowMs();
    let reportMs = reportAfterMs;
    let hasPlace = true;
    const end = () => {
      if (hasPlace) this.#places.leave();
      hasPlace = false;
    };
    const report = () => {
      end();
      const waitedMs = this.#clock.nowMs() - startMs;
      if (waitedMs < reportMs) return;
      reportMs *= 2;
      this.#logger.warn("the kernel does not give up its pages of a file", { inode: node, waitedMs });
    };
    return { report, end };
  }
}

function letGo(held: Set<HeldRead>, which: Iterable<HeldRead>): void {
  for (const one of [...which]) {
    held.delete(one);
    one.go();
  }
}
