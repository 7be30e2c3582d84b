/**
 * Mapped files as programs use them: loads from memory and stores into it, and msync(2). Pages come and go through handles
 * that are open for it; a mapping goes when nobody is in it any more.
 */
import type { Handle } from "../client/file-system.ts";
import { FileError } from "../errors/file-error.ts";
import type { FileOperation, Outcome } from "./file-operation.ts";
import type { Incarnation } from "./incarnation.ts";
import type { KernelParts } from "./kernel-names.ts";
import { KernelPages, pageBytes, pageRange } from "./kernel-pages.ts";
import { ServedPages } from "./served-pages.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import { taggedBytes } from "./tagged-data.ts";

type Operation<K extends FileOperation["kind"]> = Extract<FileOperation, { kind: K }>;
/** Without an outcome: the call was not made after all. */
type Result = { readonly outcome: Outcome | undefined };

const done: Result = { outcome: { kind: "done" } };
/** Attempts to have a page and valid attributes at the same time. */
const storeAttemptsMax = 8;
/** Between a store and its msync. */
const dirtyUsMax = 60_000;

export interface KernelMemoryParts extends KernelParts {
  readonly incarnation: Incarnation;
  readonly random: SimulatedRandom;
  /** Has the kernel know the inode's attributes. */
  readonly attributes: (inode: number) => Promise<unknown>;
}

export class KernelMemory {
  readonly #parts: KernelMemoryParts;
  readonly pages: KernelPages;
  readonly #served: ServedPages;
  /** Handles through which pages are read and written. */
  readonly #mappedThrough = new Map<number, Set<Handle>>();
  /** By inode: loads and stores under way in mapped memory. */
  readonly #accesses = new Map<number, Set<Promise<unknown>>>();

  constructor(parts: KernelMemoryParts) {
    this.#parts = parts;
    this.pages = new KernelPages({
      readPage: (inode, page) => this.#readPage(inode, page),
      writePage: (inode, page, bytes) => this.#writePage(inode, page, bytes),
      sizeOf: (inode) => parts.caches.size(inode),
    });
    this.#served = new ServedPages(parts.incarnation, (inode, page) => this.pages.drop(inode, pageRange(page)));
  }

  isMapped(inode: number): boolean {
    return (this.#mappedThrough.get(inode)?.size ?? 0) > 0;
  }

  /** The process that serves the mount takes a file's pages back. */
  forget(inode: number): Promise<void> {
    return this.#served.forget(inode);
  }

  /** Files of which the process has given pages, and not taken them back. */
  get given(): number[] {
    return this.#served.given;
  }

  async load({ inode, offset, length }: Operation<"load">, handle: Handle): Promise<Result> {
    this.#maps(inode, handle);
    const bytes = await this.#accessing(inode, this.pages.load(inode, offset, length));
    return { outcome: bytes && { kind: "data", bytes } };
  }

  /**
   * Stores, and some time later msync(2): until that has returned, the bytes are on their way. Meanwhile nobody on this
   * machine writes the file directly: the page would come back with what it had before, as on every file system.
   */
  store(operation: Operation<"store">, handle: Handle): Promise<Result> {
    this.#maps(operation.inode, handle);
    const stored = this.#parts.locks.locked(operation.inode, "exclusive", () => this.#storeAlone(operation));
    return this.#accessing(operation.inode, stored);
  }

  /** The handle is being closed. */
  async unmap(inode: number, handle: Handle): Promise<void> {
    const mapping = this.#mappedThrough.get(inode);
    if (!mapping?.has(handle)) return;
    // A mapping goes when nobody is in it any more, and the file stays open until then.
    await Promise.allSettled(this.#accesses.get(inode) ?? []);
    if (mapping.size === 1) await this.pages.drop(inode);
    mapping.delete(handle);
  }

  async #storeAlone({ inode, offset, length, tag }: Operation<"store">): Promise<Result> {
    const { caches, attributes, random, device } = this.#parts;
    const bytes = taggedBytes(tag, 0, length);
    // Who stores has looked at the size before: what lies behind the end that the kernel knows never reaches the file.
    const mayStore = () => caches.attributes(inode) !== undefined;
    for (let attempt = 0; ; attempt++) {
      if (attempt === storeAttemptsMax) return { outcome: undefined };
      await attributes(inode);
      if (await this.pages.store(inode, offset, bytes, mayStore)) break;
    }
    if (random.chance(0.5)) await device.idle(random.below(dirtyUsMax));
    try {
      await this.pages.writeBack(inode, offset, offset + length);
    } catch (error) {
      // The process takes pages back that it has not written (fuse/requests/data.ts). For an instant they can be seen in memory still.
      await this.#served.forget(inode);
      throw error;
    }
    return done;
  }

  async #readPage(inode: number, page: number): Promise<Uint8Array> {
    const { fileSystem, device } = this.#parts;
    const handle = this.#mapping(inode);
    const read = async () => fileSystem.read(handle, page * pageBytes, pageBytes, undefined, { pages: "change" });
    const serve = () => this.#served.read(inode, page, read);
    return Buffer.concat(await device.ask("read page", serve, (answer) => answer));
  }

  async #writePage(inode: number, page: number, bytes: Uint8Array): Promise<void> {
    const { fileSystem, device, caches } = this.#parts;
    const handle = this.#mapping(inode);
    const options = { killPrivileges: false, withinSize: true };
    const serve = () => fileSystem.write(handle, page * pageBytes, bytes, options);
    await device.ask("write page", serve, (answer) => answer);
    caches.forgetAttributes(inode);
  }

  #maps(inode: number, handle: Handle): void {
    const handles = this.#mappedThrough.get(inode) ?? new Set();
    this.#mappedThrough.set(inode, handles.add(handle));
  }

  async #accessing<T>(inode: number, access: Promise<T>): Promise<T> {
    const accesses = this.#accesses.get(inode) ?? new Set();
    this.#accesses.set(inode, accesses.add(access));
    try {
      return await access;
    } finally {
      accesses.delete(access);
    }
  }

  #mapping(inode: number): Handle {
    const [handle] = this.#mappedThrough.get(inode) ?? [];
    if (handle === undefined) throw new FileError("EBADF", "nothing is mapped");
    return handle;
  }
}
