/**
 * What the kernel is told to forget (KernelCaches of the FileSystem). Pages: see mapped-pages.ts.
 *
 * **Names**: INC_EPOCH makes all of the mount's be asked for again, and takes no lock (Linux 6.16). A name counts for the
 * epoch in which the kernel *asked* for it, so answers on their way are outdated, too. Where the kernel lacks it no name is
 * kept in the first place (replies.ts): INVAL_ENTRY would wait for the directory's lock, which the kernel holds while a
 * CREATE there is unanswered.
 *
 * **Attributes**: INVAL_INODE with a negative offset takes no lock either. It counts up the inode's version of attributes,
 * so the kernel drops what older requests of its own bring later. Two kinds of answer on their way are left:
 *
 * - those that the kernel takes without looking at the version (SETATTR, MKDIR, …) never allow it to keep attributes:
 *   replies.ts. But CREATE does for a moment, and the lease waits for it (`settled`);
 * - the one from which the kernel learns of the node. INVAL_INODE says ENOENT then, and the kernel would keep what that
 *   answer says. So names are forgotten as well, which leads whoever goes by a path to a LOOKUP, and the node is
 *   *uncertain*: the kernel is told again a little later, and before the next request about the node is answered, until it
 *   knows the node or has said FORGET.
 *
 * The **size** of an open file, which the kernel uses unasked, goes with its attributes: kernel-sizes.ts.
 */
import type { KernelCaches } from "../client/file-system.ts";
import { type Clock, sleep, type Timer } from "../platform/clock.ts";
import type { KernelNodes } from "./kernel-nodes.ts";
import type { KernelSizes } from "./kernel-sizes.ts";
import type { NodeNumbers } from "./layout.ts";
import type { MappedPages } from "./mapped-pages.ts";
import { attributeInvalidation, incEpoch } from "./notify-messages.ts";
import type { PageWatch } from "./page-watch.ts";
import type { FuseTransport } from "./transport.ts";

/** Nodes that are told of again. The kernel has far fewer answers on their way; beyond it the oldest counts as known. */
const uncertainMax = 4_096;
/** A task that was answered runs within microseconds; on a busy machine it takes a while. */
const retryFirstMs = 1;
const retryLastMs = 100;
/** Before the session's time runs out the pages go: nothing blocks a process that runs. */
const pagesGoEarlierMs = 500;
/**
 * As long as the kernel keeps what it was told to keep for `newFileKeptMs` at most: it counts in ticks of 10 ms or less, and rounds
 * up.
 */
const newFileGoneMs = 25;
/** By then the task has its answer, or never gets it: the kernel throws it away with the task. */
const uncertainForMs = 10_000;

export interface NotificationParts {
  readonly transport: FuseTransport;
  readonly numbers: NodeNumbers;
  readonly known: KernelNodes;
  readonly pages: MappedPages;
  readonly sizes: KernelSizes;
  readonly clock: Clock;
}

export class Notifications implements KernelCaches {
  readonly #parts: NotificationParts;
  readonly #transport: FuseTransport;
  /** By node: since when. */
  readonly #uncertain = new Map<number, number>();
  #retryMs = retryFirstMs;
  #timer: Timer | undefined;
  #hasEpochs = false;
  /** Until when the session counts, as far as it is known. */
  #untilMs = 0;
  #lapse: Timer | undefined;
  #watch: PageWatch | undefined;

  constructor(parts: NotificationParts) {
    this.#parts = parts;
    this.#transport = parts.transport;
  }

  /** After INIT, when the agreed protocol has INC_EPOCH. Returns whether the kernel really does. */
  tryEpochs(): boolean {
    this.#hasEpochs = this.#transport.notify(incEpoch()) === "done";
    return this.#hasEpochs;
  }

  /** From now on this one is told as well. */
  watchedBy(watch: PageWatch): void {
    this.#watch = watch;
    watch.standsUntil(this.#untilMs);
    this.#parts.pages.attach(watch);
  }

  standsUntil(untilMs: number): void {
    this.#untilMs = untilMs;
    this.#watch?.standsUntil(untilMs);
    this.#lapse?.cancel();
    const { clock, pages } = this.#parts;
    const leftMs = Math.max(0, untilMs - pagesGoEarlierMs - clock.nowMs());
    this.#lapse = clock.startTimer(leftMs, () => pages.forgetAll());
  }

  forgetNames(): void {
    if (this.#hasEpochs) this.#transport.notify(incEpoch());
  }

  forgetAttributes(inode: number, isNamed = true): void {
    const node = this.#parts.numbers.nodeOf(inode);
    if (!this.#parts.known.has(node) || this.#forgetAttributesOf(node)) return;
    if (isNamed) this.forgetNames();
    if (this.#uncertain.size >= uncertainMax) this.#uncertain.delete(this.#uncertain.keys().next().value!);
    this.#uncertain.set(node, this.#parts.clock.nowMs());
    this.#retryMs = retryFirstMs;
    this.#schedule();
  }

  forgetPages(inode: number): Promise<void> {
    return this.#parts.pages.forget(this.#parts.numbers.nodeOf(inode));
  }

  mayHavePages(inode: number): boolean {
    return this.#parts.pages.mayHave(this.#parts.numbers.nodeOf(inode));
  }

  settled(inode: number): Promise<void> | undefined {
    const node = this.#parts.numbers.nodeOf(inode);
    return this.#parts.known.isNew(node) ? this.#settle(node) : undefined;
  }

  /** A request about this node has come: the kernel knows it now. */
  seen(node: number): void {
    this.#parts.known.seen(node);
    if (this.#uncertain.size > 0 && this.#uncertain.delete(node)) this.#forgetAttributesOf(node);
  }

  stop(): void {
    this.#uncertain.clear();
    this.#lapse?.cancel();
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  /**
   * Once the kernel knows the node, what it keeps of the answer that made it ends by itself soon. It can't be told to
   * forget that: it may be about to take the attributes, and does so without a look at their version.
   */
  async #settle(node: number): Promise<void> {
    const { clock, known } = this.#parts;
    let endMs = clock.nowMs() + uncertainForMs;
    let waitMs = retryFirstMs;
    for (let isKnown = false; known.isNew(node) && clock.nowMs() < endMs; ) {
      if (!isKnown && this.#transport.notify(attributeInvalidation(node)) !== "unknownNode") {
        isKnown = true;
        endMs = clock.nowMs() + newFileGoneMs;
        waitMs = retryFirstMs;
      }
      await sleep(clock, waitMs);
      if (!isKnown) waitMs = Math.min(waitMs * 2, retryLastMs);
    }
    known.seen(node);
  }

  /** False: the kernel doesn't know the node, or not yet. */
  #forgetAttributesOf(node: number): boolean {
    return this.#parts.sizes.leaseGoes(node) || this.#transport.notify(attributeInvalidation(node)) !== "unknownNode";
  }

  #retry(): void {
    const { clock, known } = this.#parts;
    for (const [node, sinceMs] of this.#uncertain) {
      const isOver = !known.has(node) || clock.nowMs() - sinceMs > uncertainForMs;
      if (isOver || this.#forgetAttributesOf(node)) this.#uncertain.delete(node);
    }
    this.#retryMs = Math.min(this.#retryMs * 2, retryLastMs);
    if (this.#uncertain.size > 0) this.#schedule();
  }

  #schedule(): void {
    this.#timer ??= this.#parts.clock.startTimer(this.#retryMs, () => {
      this.#timer = undefined;
      this.#retry();
    });
  }
}
