/** An open file or directory: which inode, under which session, how it was read so far. */
import { FileError } from "../errors/file-error.ts";
import type { Handle, OpenFlags } from "./file-system.ts";
import type { MountSession } from "./mount-session.ts";
import { ReadPattern } from "./reader.ts";

export class OpenHandle implements Handle {
  readonly inode: number;
  readonly append: boolean;
  readonly pattern = new ReadPattern();
  readonly #mount: MountSession;
  #closed = false;

  constructor(mount: MountSession, inode: number, flags: OpenFlags) {
    this.#mount = mount;
    this.inode = inode;
    this.append = flags.append === true;
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

  close(): void {
    this.#closed = true;
    if (!this.#mount.ended) this.#mount.holds.close(this.inode);
  }
}
