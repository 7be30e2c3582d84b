/**
 * The sizes of open files that the kernel goes by without asking: it ends copy_file_range(2), sendfile(2), splice(2), Linux
 * AIO and io_uring with O_DIRECT at the size it last heard, gives SIGBUS for a page of mapped memory behind it, and cuts
 * there what it writes back of one (a store would be lost). When another client lets the file grow, that size is too small.
 *
 * There is no message that says "the size is not known". But one that is too large does no harm: all these calls then come to
 * us, a READ that ends early tells the kernel where the end is, and what it writes back of mapped memory is cut here
 * (FileSystem.write, `withinSize`). So before a lease on an open file goes, its size is made enormous:
 *
 * 1. STORE of one byte, far behind the end of any file. It raises the size, and the version of the attributes, so that
 *    answers on their way don't set it back.
 * 2. INVAL_INODE of the page that this has made. The next answer that has attributes brings the size as it is.
 *
 * Both wait for a page that somebody has locked. So the page is a random one of many: nobody can have asked for it.
 *
 * A write with RWF_APPEND (pwritev2) comes with that size as its offset, a lock (fcntl(2)) from SEEK_END with an offset that is
 * counted from it, and nothing else that says so. So it is remembered.
 *
 * The kernel takes the file position after a write with O_APPEND from its own size, and compares that with RLIMIT_FSIZE. So the size
 * stays as it was while a file is open for appending here: it is *old* then. It becomes enormous after all when memory of the file
 * is mapped: a lost store is worse than a wrong lseek(SEEK_CUR). But the READ that fills this memory, where it ends early, tells
 * the kernel nothing if the size has changed since it was sent, and sendfile(2) and splice(2), which use such READs, too, would go
 * on with zeros behind the end. So an old size becomes enormous before a READ of whole pages is answered, and some time after one
 * that ends early; and one that is not old stays.
 *
 * One answer may set the size back: that to a SETATTR, written but not yet taken by its task, of which the kernel asks no version.
 */
import type { Clock, Timer } from "../platform/clock.ts";
import type { Random } from "../platform/random.ts";
import type { OpenFiles } from "./handles.ts";
import type { NodeNumbers } from "./layout.ts";
import type { MappedPages } from "./mapped-pages.ts";
import { pageInvalidation, store } from "./notify-messages.ts";
import type { FuseTransport } from "./transport.ts";

const pageBytes = 4096n;
/** The kernel's sizes end at 2^63. A file's first enormous size is within 2^44 bytes from here. */
const firstBytes = 2n ** 62n;
const endBytes = 2n ** 63n - 2n ** 40n;
const firstPagesMax = 2 ** 32;
const stepPagesMax = 2 ** 26;
/** So far from the end of a file locks are told from others. Enormous sizes are further apart than that on both sides. */
const nearBytes = 2n ** 31n;
const stepPagesMin = 2 ** 21;
/** A task that was answered runs within microseconds, on a busy machine within some milliseconds, and copies what it has got by splice(2). */
const splicedWithinMs = 20;

export interface KernelSizesParts {
  readonly transport: Pick<FuseTransport, "notify">;
  readonly random: Random;
  readonly clock: Pick<Clock, "startTimer">;
  readonly numbers: NodeNumbers;
  readonly openFiles: OpenFiles;
  readonly pages: Pick<MappedPages, "mayHave">;
}

export class KernelSizes {
  readonly #parts: KernelSizesParts;
  /** The enormous sizes that the kernel has had for nodes: the first, and the last. At most as many as it knows nodes. */
  readonly #firstEnds = new Map<number, bigint>();
  readonly #ends = new Map<number, bigint>();
  /** Nodes whose size may be an old one, since their lease went while they were open for appending. */
  readonly #old = new Set<number>();
  /** By node: when its old size becomes enormous. */
  readonly #soon = new Map<number, Timer>();

  constructor(parts: KernelSizesParts) {
    this.#parts = parts;
  }

  /** The lease goes. Returns whether the kernel has forgotten the attributes with the size. */
  leaseGoes(node: number): boolean {
    const { numbers, openFiles, pages } = this.#parts;
    const inode = numbers.inodeOf(node);
    if (!openFiles.hasInode(inode)) return false;
    if (openFiles.appenderCount(inode) === 0 || pages.mayHave(node)) return this.#forget(node);
    this.#old.add(node);
    return false;
  }

  /** Pages are about to be given that may be written to, whole ones: before their READ is answered. */
  givesPages(node: number): void {
    if (this.#old.has(node)) this.#forget(node);
  }

  /** The same, after a READ has been answered that ends early: the kernel takes the end from it. */
  gavePagesToEnd(node: number): void {
    if (!this.#old.has(node) || this.#soon.has(node)) return;
    const timer = this.#parts.clock.startTimer(splicedWithinMs, () => {
      this.#soon.delete(node);
      this.givesPages(node);
    });
    this.#soon.set(node, timer);
  }

  /** One of the node's open files has been closed: perhaps the last that appends. */
  closed(node: number): void {
    const { numbers, openFiles } = this.#parts;
    const inode = numbers.inodeOf(node);
    if (!this.#old.has(node) || openFiles.appenderCount(inode) > 0) return;
    if (openFiles.hasInode(inode)) this.#forget(node);
    this.#old.delete(node);
  }

  /**
   * A write at this offset is one at the end of the file, wherever that is. It may come with an earlier enormous size, which has changed
   * since the kernel looked at it; nobody else asks for an offset between them, since none can be guessed.
   */
  isEnd(node: number, offset: bigint): boolean {
    const first = this.#firstEnds.get(node);
    return first !== undefined && offset >= first && offset <= this.#ends.get(node)!;
  }

  /** The kernel may go by an enormous size: what it would refuse for a size that grows it lets pass. */
  mayBeEnormous(node: number): boolean {
    return this.#ends.has(node);
  }

  /** What the kernel has counted from the end of the file, wherever that is: how far from it. Undefined: it has not. */
  fromEnd(node: number, offset: bigint): number | undefined {
    const end = this.#ends.get(node);
    if (end === undefined || offset < end - nearBytes || offset > end + nearBytes) return undefined;
    return Number(offset - end);
  }

  /** So much has been written at the end: the kernel has added it to its size. */
  appended(node: number, bytes: number): void {
    const end = this.#ends.get(node);
    if (end !== undefined) this.#ends.set(node, end + BigInt(bytes));
  }

  /** The kernel has forgotten the node. */
  gone(node: number): void {
    this.#ends.delete(node);
    this.#firstEnds.delete(node);
    this.#old.delete(node);
    this.#soon.get(node)?.cancel();
    this.#soon.delete(node);
  }

  stop(): void {
    for (const timer of this.#soon.values()) timer.cancel();
    this.#soon.clear();
  }

  /** False: the kernel doesn't know the node, or not yet. */
  #forget(node: number): boolean {
    const { transport } = this.#parts;
    const offset = this.#farOffset(node);
    if (transport.notify(store(node, offset, 1)) !== "done") return false;
    if (!this.#firstEnds.has(node) || offset < this.#ends.get(node)!) this.#firstEnds.set(node, offset + 1n);
    this.#ends.set(node, offset + 1n);
    this.#old.delete(node);
    return transport.notify(pageInvalidation(node, offset, Number(pageBytes))) === "done";
  }

  /** The kernel only raises a size: so each is larger than the one before, until there are no larger ones. */
  #farOffset(node: number): bigint {
    const { random } = this.#parts;
    const before = this.#ends.get(node) ?? 0n;
    const step = pageBytes * BigInt(stepPagesMin + random.below(stepPagesMax));
    const next = (before / pageBytes) * pageBytes + step;
    if (next > firstBytes && next < endBytes) return next;
    return firstBytes + pageBytes * BigInt(random.below(firstPagesMax));
  }
}
