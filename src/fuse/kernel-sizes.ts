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
 * Both wait for a page that somebody has locked. So the page is a random one of 2^50: nobody can have asked for it.
 *
 * The kernel takes the file position after a write with O_APPEND from its own size, and compares that with RLIMIT_FSIZE. So the size
 * stays as it was while a file is open for appending here, unless it has mapped memory: a lost store is worse than a wrong
 * lseek(SEEK_CUR). One answer may set the size back: that to a SETATTR, written but not yet taken by its task, of which the
 * kernel asks no version.
 */
import type { Random } from "../platform/random.ts";
import type { OpenFiles } from "./handles.ts";
import type { NodeNumbers } from "./layout.ts";
import type { MappedPages } from "./mapped-pages.ts";
import { pageInvalidation, store } from "./notify-messages.ts";
import type { FuseTransport } from "./transport.ts";

const pageBytes = 4096n;
/** The kernel's sizes end at 2^63. */
const farBytes = 2n ** 62n;
const farPagesHigh = 2 ** 18;
const farPagesLow = 2 ** 32;

export interface KernelSizesParts {
  readonly transport: Pick<FuseTransport, "notify">;
  readonly random: Random;
  readonly numbers: NodeNumbers;
  readonly openFiles: OpenFiles;
  readonly pages: Pick<MappedPages, "mayHave">;
}

export class KernelSizes {
  readonly #parts: KernelSizesParts;

  constructor(parts: KernelSizesParts) {
    this.#parts = parts;
  }

  /** The lease goes. Returns whether the kernel has forgotten the attributes with the size. */
  leaseGoes(node: number): boolean {
    const { numbers, openFiles, pages } = this.#parts;
    const inode = numbers.inodeOf(node);
    if (!openFiles.hasInode(inode)) return false;
    return (openFiles.appenderCount(inode) === 0 || pages.mayHave(node)) && this.#forget(node);
  }

  /** Pages are about to be given that may be written to: before their READ is answered, unless it is behind the end. */
  givesPages(node: number): void {
    if (this.#parts.openFiles.appenderCount(this.#parts.numbers.inodeOf(node)) > 0) this.#forget(node);
  }

  /** False: the kernel doesn't know the node, or not yet. */
  #forget(node: number): boolean {
    const { transport, random } = this.#parts;
    const page = BigInt(random.below(farPagesHigh)) * BigInt(farPagesLow) + BigInt(random.below(farPagesLow));
    const offset = farBytes + page * pageBytes;
    if (transport.notify(store(node, offset, 1)) !== "done") return false;
    return transport.notify(pageInvalidation(node, offset, Number(pageBytes))) === "done";
  }
}
