/**
 * Handles as the process that serves a mount has them: those that the kernel has opened and not closed. When the connection to
 * the kernel has ended, the process closes all of them, and what is opened by a request that was under way at that time.
 */
import type { FileSystem, Handle } from "../client/file-system.ts";

export class KernelHandles {
  readonly #fileSystem: FileSystem;
  readonly #open = new Set<Handle>();
  /** For calls that may wait without end. */
  readonly #ended = new AbortController();

  constructor(fileSystem: FileSystem) {
    this.#fileSystem = fileSystem;
  }

  /** Aborts when the connection has ended. */
  get signal(): AbortSignal {
    return this.#ended.signal;
  }

  opened<H extends Handle>(handle: H): H {
    if (this.#ended.signal.aborted) this.#fileSystem.close(handle);
    else this.#open.add(handle);
    return handle;
  }

  /** RELEASE. */
  close(handle: Handle): void {
    if (this.#open.delete(handle)) this.#fileSystem.close(handle);
  }

  /** The process has found that the connection has ended. */
  end(): void {
    this.#ended.abort();
    for (const handle of this.#open) this.#fileSystem.close(handle);
    this.#open.clear();
  }
}
