/** Open files and directories by the number that the kernel has for them (fh). */
import type { FileSystem, Handle } from "../client/file-system.ts";
import { FileError } from "../errors/file-error.ts";

/**
 * One open of the kernel. O_APPEND can be switched by fcntl(2) after the open, and pages written back from mapped memory
 * must go where they belong although their file was opened with it: then the second handle is opened beside the first.
 */
export class OpenFile {
  readonly #fileSystem: FileSystem;
  readonly #append: boolean;
  readonly handle: Handle;
  #other: Promise<Handle> | undefined;
  #closed = false;

  constructor(fileSystem: FileSystem, handle: Handle, append: boolean) {
    this.#fileSystem = fileSystem;
    this.handle = handle;
    this.#append = append;
  }

  /** The handle that appends, or the one that does not. Undefined if it has to be opened first: `openOther`. */
  handleFor(append: boolean): Handle | undefined {
    return append === this.#append ? this.handle : undefined;
  }

  /** Rejects with what opening it failed with; the next call tries again. */
  openOther(): Promise<Handle> {
    if (this.#other === undefined) {
      const opening = this.#fileSystem.open(this.handle.inode, { append: !this.#append });
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

export class OpenFiles {
  readonly #files = new Map<number, OpenFile>();
  #next = 1;

  add(file: OpenFile): number {
    const number = this.#next++;
    this.#files.set(number, file);
    return number;
  }

  /** Throws FileError EBADF for a number that is not open. */
  get(number: number | undefined): OpenFile {
    const file = number === undefined ? undefined : this.#files.get(number);
    if (file === undefined) throw new FileError("EBADF");
    return file;
  }

  close(number: number | undefined): void {
    const file = this.get(number);
    this.#files.delete(number!);
    file.close();
  }

  closeAll(): void {
    for (const file of this.#files.values()) file.close();
    this.#files.clear();
  }
}
