/**
 * fallocate(2) and copy_file_range(2), as the kernel makes them: with the lock of the file that is changed, and without its
 * pages of the range before and after (the kernel leaves those of a hole until the answer is there: what mapped memory shows
 * meanwhile on the same machine is its own affair).
 *
 * Left out: the kernel copies no further than the source's end as it last heard of it (docs/promises.md, kernels).
 */
import type { Handle } from "../client/file-system.ts";
import type { FileOperation, Outcome } from "./file-operation.ts";
import type { KernelParts } from "./kernel-names.ts";
import type { KernelPages } from "./kernel-pages.ts";

type Operation<K extends FileOperation["kind"]> = Extract<FileOperation, { kind: K }>;
type Result = { readonly outcome: Outcome };

export class KernelRanges {
  readonly #parts: KernelParts;
  readonly #pages: KernelPages;

  constructor(parts: KernelParts, pages: KernelPages) {
    this.#parts = parts;
    this.#pages = pages;
  }

  async allocate({ inode, offset, length, zero, grow }: Operation<"allocate">, handle: Handle): Promise<Result> {
    const { fileSystem } = this.#parts;
    const asked = { offset, length, zero, grow };
    await this.#changing(inode, offset, length, grow, "fallocate", () => fileSystem.allocate(handle, asked));
    return { outcome: { kind: "done" } };
  }

  /** `from` and `to`: different files. */
  async copy(operation: Operation<"copyRange">, from: Handle, to: Handle): Promise<Result> {
    const { inode, offset, source, sourceOffset, length } = operation;
    const { fileSystem, locks } = this.#parts;
    await locks.locked(source, "exclusive", () => this.#pages.writeBack(source, sourceOffset, sourceOffset + length));
    const asked = { from, offset: sourceOffset, to, toOffset: offset, length, killPrivileges: false };
    const copied = await this.#changing(inode, offset, length, true, "copy", () => fileSystem.copyRange(asked));
    return { outcome: { kind: "written", length: copied } };
  }

  #changing<T>(
    inode: number,
    offset: number,
    length: number,
    grows: boolean,
    label: string,
    serve: () => Promise<T>,
  ): Promise<T> {
    const { device, locks, caches } = this.#parts;
    const range = { start: offset, end: offset + length };
    return locks.locked(inode, "exclusive", async () => {
      await this.#pages.drop(inode, range);
      try {
        const answer = await device.ask(label, serve, (given) => given);
        if (grows) caches.written(inode, typeof answer === "number" ? offset + answer : range.end);
        return answer;
      } finally {
        caches.forgetAttributes(inode);
        await this.#pages.drop(inode, range);
      }
    });
  }
}
