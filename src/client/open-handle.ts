/** An open file or directory: which inode, under which session, how it was read so far, which errors it has been told. */
import { FileError } from "../errors/file-error.ts";
import { ReadPattern } from "./content/reader.ts";
import type { Handle, LockRange, OpenFlags } from "./file-system.ts";
import type { MountSession } from "./mount-session.ts";
import type { Node } from "./node.ts";
import type { Operation } from "./waits.ts";

export class OpenHandle implements Handle {
  readonly inode: number;
  readonly append: boolean;
  readonly node: Node;
  readonly pattern = new ReadPattern();
  /** It was read, and the time of that is in the inode if it belongs there: see access-times.ts. */
  isAccessed: boolean;
  readonly #mount: MountSession;
  #seenErrors: number;
  #closed = false;

  /** Counts as one of the node's handles from now on. The caller has the node under a lease. */
  constructor(mount: MountSession, node: Node, flags: OpenFlags) {
    this.#mount = mount;
    this.inode = node.inode;
    this.node = node;
    this.append = flags.append === true;
    this.isAccessed = flags.keepAccessTime === true;
    this.#seenErrors = node.errorCount;
    node.handles += 1;
  }

  /** The handle behind the opaque one. Errors: EBADF. */
  static of(handle: Handle): OpenHandle {
    if (!(handle instanceof OpenHandle) || handle.#closed) throw new FileError("EBADF");
    return handle;
  }

  /** What it was opened under. Errors: ESTALE if that session has ended: the inode may be gone since. */
  get mount(): MountSession {
    if (this.#mount.ended) throw new FileError("ESTALE", "opened in a session that has ended: open it again");
    return this.#mount;
  }

  /** Errors: EIO if changes of the inode were lost, and this handle has not been told. Once. */
  checkErrors(): void {
    const { errorCount } = this.node;
    if (errorCount === this.#seenErrors) return;
    this.#seenErrors = errorCount;
    throw new FileError("EIO", `changes of inode ${this.inode} were lost`);
  }

  /** Locks end with the session: nothing is to be done then. */
  async unlock(range: Omit<LockRange, "mode" | "pid">): Promise<void> {
    if (!this.#mount.ended) await this.#mount.locks.unlock(this.inode, range);
  }

  close(): void {
    this.#closed = true;
    if (this.#mount.ended) return;
    this.#mount.locks.closed(this);
    this.#mount.closed(this.node);
  }
}

/** A handle that was just opened; closed at once if nobody waits for it any more. */
export function wanted(handle: OpenHandle, operation: Operation): OpenHandle {
  if (operation.cancelled) handle.close();
  return handle;
}
