/** Open files and directories by the number that the kernel has for them (fh). */
import type { FileSystem, Handle } from "../client/file-system.ts";
import { FileError } from "../errors/file-error.ts";

/**
 * One open of the kernel. O_APPEND can be switched by fcntl(2) after the open, and pages written back from mapped memory
 * must go where they belong although their file was opened with it: then the second handle is opened beside the first.
 */
export class OpenFile {
  readonly #fileSystem: FileSystem;
  readonly append: boolean;
  readonly handle: Handle;
  /** May write, also through mapped memory. */
  readonly write: boolean;
  /** A user has written by it: see requests/set-group-id.ts. */
  isWritten = false;
  #other: Promise<Handle> | undefined;
  #closed = false;

  constructor(fileSystem: FileSystem, handle: Handle, mode: { readonly append: boolean; readonly write: boolean }) {
    this.#fileSystem = fileSystem;
    this.handle = handle;
    this.append = mode.append;
    this.write = mode.write;
  }

  /** The handle that appends, or the one that does not. Undefined if it has to be opened first: `openOther`. */
  handleFor(append: boolean): Handle | undefined {
    return append === this.append ? this.handle : undefined;
  }

  /** Rejects with what opening it failed with; the next call tries again. */
  openOther(): Promise<Handle> {
    if (this.#other === undefined) {
      const opening = Promise.resolve(this.#fileSystem.open(this.handle.inode, { append: !this.append }));
      this.#other = opening;
      opening.catch(() => {
        this.#other = undefined;
      });
    }
    return this.#other;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#fileSystem.close(this.handle);
    this.#other?.then(
      (handle) => this.#fileSystem.close(handle),
      () => {},
    );
  }
}

/** How many open files an inode has, how many of them may write, and how many were opened to append. */
interface Counts {
  open: number;
  writers: number;
  appenders: number;
}

export class OpenFiles {
  readonly #files = new Map<number, OpenFile>();
  /** Only inodes that have open files. */
  readonly #counts = new Map<number, Counts>();
  #next = 1;

  add(file: OpenFile): number {
    const number = this.#next++;
    this.#files.set(number, file);
    this.#count(file, 1);
    return number;
  }

  has(number: number | undefined): boolean {
    return number !== undefined && this.#files.has(number);
  }

  /** Is one of its handles open? */
  hasInode(inode: number): boolean {
    return this.#counts.has(inode);
  }

  /** Throws FileError EBADF for a number that is not open. */
  get(number: number | undefined): OpenFile {
    const file = number === undefined ? undefined : this.#files.get(number);
    if (file === undefined) throw new FileError("EBADF");
    return file;
  }

  /** How many open files may write to the inode. */
  writerCount(inode: number): number {
    return this.#counts.get(inode)?.writers ?? 0;
  }

  /** How many were opened to append to it. */
  appenderCount(inode: number): number {
    return this.#counts.get(inode)?.appenders ?? 0;
  }

  close(number: number | undefined): void {
    const file = this.get(number);
    this.#files.delete(number!);
    this.#count(file, -1);
    file.close();
  }

  closeAll(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
    this.#counts.clear();
  }

  #count({ handle: { inode }, write, append }: OpenFile, by: number): void {
    const counts = this.#counts.get(inode) ?? { open: 0, writers: 0, appenders: 0 };
    counts.open += by;
    if (write) counts.writers += by;
    if (append) counts.appenders += by;
    if (counts.open === 0) this.#counts.delete(inode);
    else this.#counts.set(inode, counts);
  }
}
