/**
 * A model of the kernel between applications and the file system: caches of names and attributes, pages of mapped files, and
 * the locks that it holds while a request is unanswered. Applications make system calls here; what the caches can answer
 * never gets to the file system. The file system has it forget what can become wrong (KernelCaches).
 *
 * It stands for Linux with FUSE 7.45 (fs/fuse), all files opened with FOPEN_DIRECT_IO. What matters:
 *
 * 1. Answers are used some time after they were given, with the time-outs that they came with (kernel-device.ts).
 * 2. Changes in a directory hold its lock alone until they are answered, lookups hold it shared; attributes, writes and
 *    fsync hold the file's. Forgetting names and attributes takes no lock.
 * 3. Dropping a file's pages waits for reads and write-backs of pages, one page after the other. Direct reads and writes lock
 *    no page.
 * 4. O_APPEND: the kernel says at which offset, by the size that it knows. It may be wrong.
 */
import type { AttributeChange, Attributes, FileSystem, Handle, KernelCaches } from "../client/file-system.ts";
import { Loan } from "../client/loan.ts";
import type { Soon } from "../client/soon.ts";
import { FileError } from "../errors/file-error.ts";
import type { FileOperation, Outcome } from "./file-operation.ts";
import type { Incarnation } from "./incarnation.ts";
import { KernelCachesModel } from "./kernel-caches.ts";
import { KernelDevice } from "./kernel-device.ts";
import { KernelExtendedAttributes } from "./kernel-extended-attributes.ts";
import { KernelLocks } from "./kernel-locks.ts";
import { KernelNames } from "./kernel-names.ts";
import { KernelPages, pageBytes, pageRange } from "./kernel-pages.ts";
import { KernelRanges } from "./kernel-ranges.ts";
import { ServedPages } from "./served-pages.ts";
import type { SimulatedRandom } from "./simulated-random.ts";
import { taggedBytes } from "./tagged-data.ts";

type Operation<K extends FileOperation["kind"]> = Extract<FileOperation, { kind: K }>;

type OpenFileOperation = Operation<
  "read" | "write" | "allocate" | "copyRange" | "load" | "store" | "sync" | "close" | "lock" | "unlock"
>;

export interface SystemCallResult {
  /** Undefined: the call was not made after all. */
  readonly outcome: Outcome | undefined;
  /** Of open, and of a create that opens. */
  readonly handle?: Handle;
}

const done: SystemCallResult = { outcome: { kind: "done" } };
/** Attempts to have a page and valid attributes at the same time. */
const storeAttemptsMax = 8;
/** Calls that change what is kept of the inode. */
const changesOfInode: ReadonlySet<string> = new Set([
  "setAttributes",
  "write",
  "allocate",
  "copyRange",
  "setExtended",
  "removeExtended",
  "setAccessList",
]);
/** Between a store and its msync. */
const dirtyUsMax = 60_000;
/** Listings that bring attributes along. */
const readDirectoryPlusChance = 0.5;

export class SimulatedKernel implements KernelCaches {
  readonly #fileSystem: FileSystem;
  readonly #device: KernelDevice;
  readonly #caches: KernelCachesModel;
  readonly #locks = new KernelLocks();
  readonly #names: KernelNames;
  readonly #extended: KernelExtendedAttributes;
  readonly #ranges: KernelRanges;
  readonly #pages: KernelPages;
  readonly #mappings: ServedPages;
  readonly #random: SimulatedRandom;
  /** Handles through which pages are read and written. */
  readonly #mappedThrough = new Map<number, Set<Handle>>();
  /** By inode: loads and stores under way in mapped memory. */
  readonly #accesses = new Map<number, Set<Promise<unknown>>>();

  constructor(fileSystem: FileSystem, incarnation: Incarnation, nowMs: () => number, random: SimulatedRandom) {
    this.#fileSystem = fileSystem;
    this.#random = random;
    this.#device = new KernelDevice(incarnation, random.fork("device"));
    this.#caches = new KernelCachesModel(nowMs);
    const parts = { fileSystem, device: this.#device, caches: this.#caches, locks: this.#locks };
    this.#names = new KernelNames(parts);
    this.#extended = new KernelExtendedAttributes(parts);
    this.#pages = new KernelPages({
      readPage: (inode, page) => this.#readPage(inode, page),
      writePage: (inode, page, bytes) => this.#writePage(inode, page, bytes),
      sizeOf: (inode) => this.#caches.size(inode),
    });
    this.#ranges = new KernelRanges(parts, this.#pages);
    this.#mappings = new ServedPages(incarnation, (inode, page) => this.#pages.drop(inode, pageRange(page)));
    fileSystem.attach(this);
  }

  /** True if some answer has told of the inode: nobody can ask for another. */
  knows(inode: number): boolean {
    return inode === this.#fileSystem.root || this.#caches.type(inode) !== undefined;
  }

  forgetNames(): void {
    this.#caches.forgetNames();
  }

  /** With the size of a file that is open: what is written back of its pages is whole, and cut by the file system (fuse/kernel-sizes.ts). */
  forgetAttributes(inode: number): void {
    this.#caches.forgetAttributes(inode);
    if ((this.#mappedThrough.get(inode)?.size ?? 0) > 0) this.#caches.forgetSize(inode);
  }

  forgetPages(inode: number): Promise<void> {
    return this.#mappings.forget(inode);
  }

  mayHavePages(inode: number): boolean {
    return this.#pages.has(inode);
  }

  /** One system call. `handle` is that of calls on open files, `source` that of a file to copy from. Errors: FileError. */
  async perform(operation: FileOperation, handle?: Handle, source?: Handle): Promise<SystemCallResult> {
    const { inode, kind } = operation as { inode?: number; kind: string };
    if (inode === undefined || !changesOfInode.has(kind)) return this.#perform(operation, handle, source);
    return this.#caches.changing({ inodes: [inode] }, () => this.#perform(operation, handle, source));
  }

  async #perform(operation: FileOperation, handle?: Handle, source?: Handle): Promise<SystemCallResult> {
    switch (operation.kind) {
      case "lookup":
        return this.#names.lookup(operation);
      case "create":
        return this.#names.create(operation);
      case "link":
        return this.#names.link(operation);
      case "unlink":
      case "removeDirectory":
        return this.#names.remove(operation);
      case "rename":
        return this.#names.rename(operation);
      case "exchange":
        return this.#names.exchange(operation);
      case "readDirectory":
        return this.#names.readDirectory(operation, this.#random.chance(readDirectoryPlusChance));
      case "open":
        return this.#open(operation);
      case "setExtended":
      case "getExtended":
      case "listExtended":
      case "removeExtended":
      case "setAccessList":
      case "getAccessList":
        return this.#extended.perform(operation);
      case "createUnnamed":
        return this.#names.createUnnamed(operation);
      case "getAttributes":
        return attributesResult(await this.#attributes(operation.inode));
      case "setAttributes":
        return attributesResult(await this.#setAttributes(operation.inode, operation.change));
      case "readLink": {
        const { inode } = operation;
        const target = await this.#ask("readlink", () => this.#fileSystem.readLink(inode));
        return { outcome: { kind: "target", target } };
      }
      default:
        return handle === undefined ? this.#onInode(operation) : this.#onHandle(operation, handle, source);
    }
  }

  /** Opens the file for this call only. */
  async #onInode(operation: OpenFileOperation): Promise<SystemCallResult> {
    const handle = await this.#ask("open", () => this.#fileSystem.open(operation.inode, {}));
    try {
      return await this.#onHandle(operation, handle);
    } finally {
      await this.#close(operation.inode, handle);
    }
  }

  async #onHandle(operation: OpenFileOperation, handle: Handle, source?: Handle): Promise<SystemCallResult> {
    switch (operation.kind) {
      case "read":
        return this.#read(operation, handle);
      case "write":
        return this.#write(operation, handle);
      case "allocate":
        return this.#ranges.allocate(operation, handle);
      case "copyRange":
        return this.#ranges.copy(operation, source!, handle);
      case "load":
        return this.#load(operation, handle);
      case "store":
        return this.#store(operation, handle);
      case "sync":
        await this.#sync(handle);
        return done;
      case "close":
        return this.#close(operation.inode, handle);
      default:
        return this.#lock(operation, handle);
    }
  }

  #ask<A>(label: string, serve: () => Soon<A>): Promise<A> {
    return this.#device.ask(label, serve, (answer) => answer);
  }

  // --- attributes ---

  async #attributes(inode: number): Promise<Attributes> {
    const cached = this.#caches.attributes(inode);
    if (cached !== undefined) return cached;
    const asked = this.#caches.moment();
    const { attributes, validMs } = await this.#device.ask(
      "getattr",
      () => this.#fileSystem.getAttributes(inode),
      (answer) => ({ attributes: answer.attributes, validMs: this.#fileSystem.attributesValidMs(inode) }),
    );
    this.#caches.keepAttributes(attributes, validMs, asked);
    return attributes;
  }

  /** The kernel takes this answer for newer than everything, so it comes without a time. */
  #setAttributes(inode: number, change: AttributeChange): Promise<Attributes> {
    return this.#locks.locked(inode, "exclusive", async () => {
      if (change.size !== undefined)
        await this.#pages.drop(inode, {
          start: Math.floor(change.size / pageBytes) * pageBytes,
          end: Number.POSITIVE_INFINITY,
        });
      const attributes = await this.#ask("setattr", () => this.#fileSystem.setAttributes(inode, change));
      this.#caches.keepAttributes(attributes, 0, undefined);
      return attributes;
    });
  }

  // --- open files ---

  async #open({ inode, truncate, append }: Operation<"open">): Promise<SystemCallResult> {
    const open = () => this.#ask("open", () => this.#fileSystem.open(inode, { truncate, append }));
    if (!truncate) return { ...done, handle: await open() };
    return this.#locks.locked(inode, "exclusive", async () => {
      await this.#pages.drop(inode);
      const handle = await open();
      this.#caches.forgetAttributes(inode);
      return { ...done, handle };
    });
  }

  async #close(inode: number, handle: Handle): Promise<SystemCallResult> {
    const mapping = this.#mappedThrough.get(inode);
    if (mapping?.has(handle)) {
      // A mapping goes when nobody is in it any more, and the file stays open until then.
      await Promise.allSettled(this.#accesses.get(inode) ?? []);
      if (mapping.size === 1) await this.#pages.drop(inode);
      mapping.delete(handle);
    }
    try {
      await this.#ask("flush", async () => this.#fileSystem.flush(handle));
    } finally {
      this.#fileSystem.close(handle);
    }
    return done;
  }

  async #read({ inode, offset, length }: Operation<"read">, handle: Handle): Promise<SystemCallResult> {
    await this.#pages.writeBack(inode, offset, offset + length);
    const loan = new Loan();
    try {
      const buffers = await this.#ask("read", () => this.#fileSystem.read(handle, offset, length, undefined, { loan }));
      return { outcome: { kind: "data", bytes: Buffer.concat(buffers) } };
    } finally {
      loan.end();
    }
  }

  #write({ inode, offset, length, tag, durableBy }: Operation<"write">, handle: Handle): Promise<SystemCallResult> {
    return this.#locks.locked(inode, "exclusive", async () => {
      const at = offset ?? this.#caches.size(inode);
      await this.#pages.drop(inode, { start: at, end: at + length });
      const data = taggedBytes(tag, 0, length);
      const write = () => this.#fileSystem.write(handle, at, data, { killPrivileges: false });
      // With direct I/O the kernel leaves O_SYNC to the file system, in the same request (fuse/requests/data.ts).
      const serve = async () => {
        const written = await write();
        await this.#fileSystem.sync(handle);
        return written;
      };
      try {
        const written = await this.#ask("write", durableBy === undefined ? write : serve);
        return { outcome: { kind: "written", length: written } };
      } finally {
        data.fill(0); // it was the file system's only until the answer: nobody may use it later
        this.#caches.forgetAttributes(inode);
        this.#caches.written(inode, at + length);
        // Pages that came in meanwhile are older than the write.
        await this.#pages.drop(inode, { start: at, end: at + length });
      }
    });
  }

  #sync(handle: Handle): Promise<void> {
    const { inode } = handle;
    return this.#locks.locked(inode, "exclusive", async () => {
      await this.#pages.writeBack(inode);
      await this.#ask("fsync", () => this.#fileSystem.sync(handle));
    });
  }

  async #lock(operation: Operation<"lock" | "unlock">, handle: Handle): Promise<SystemCallResult> {
    const { owner, start, end } = operation;
    const range = { kind: "posix" as const, owner: BigInt(owner), start, end };
    if (operation.kind === "unlock") {
      await this.#ask("unlock", () => this.#fileSystem.unlock(handle, range));
    } else {
      const { mode, wait } = operation;
      await this.#ask("lock", () => this.#fileSystem.setLock(handle, { ...range, mode, pid: owner }, wait));
    }
    return done;
  }

  // --- mapped files ---

  async #load({ inode, offset, length }: Operation<"load">, handle: Handle): Promise<SystemCallResult> {
    this.#maps(inode, handle);
    const bytes = await this.#accessing(inode, this.#pages.load(inode, offset, length));
    return { outcome: bytes && { kind: "data", bytes } };
  }

  /**
   * Stores, and some time later msync(2): until that has returned, the bytes are on their way. Meanwhile nobody on this
   * machine writes the file directly: the page would come back with what it had before, as on every file system.
   */
  #store(operation: Operation<"store">, handle: Handle): Promise<SystemCallResult> {
    this.#maps(operation.inode, handle);
    const stored = this.#locks.locked(operation.inode, "exclusive", () => this.#storeAlone(operation));
    return this.#accessing(operation.inode, stored);
  }

  async #storeAlone({ inode, offset, length, tag }: Operation<"store">): Promise<SystemCallResult> {
    const bytes = taggedBytes(tag, 0, length);
    // Who stores has looked at the size before: what lies behind the end that the kernel knows never reaches the file.
    const mayStore = () => this.#caches.attributes(inode) !== undefined;
    for (let attempt = 0; ; attempt++) {
      if (attempt === storeAttemptsMax) return { outcome: undefined };
      await this.#attributes(inode);
      if (await this.#pages.store(inode, offset, bytes, mayStore)) break;
    }
    if (this.#random.chance(0.5)) await this.#device.idle(this.#random.below(dirtyUsMax));
    await this.#pages.writeBack(inode, offset, offset + length);
    return done;
  }

  async #readPage(inode: number, page: number): Promise<Uint8Array> {
    const handle = this.#mapping(inode);
    const read = async () => this.#fileSystem.read(handle, page * pageBytes, pageBytes, undefined, { pages: "change" });
    return Buffer.concat(await this.#ask("read page", () => this.#mappings.read(inode, page, read)));
  }

  async #writePage(inode: number, page: number, bytes: Uint8Array): Promise<void> {
    const handle = this.#mapping(inode);
    const serve = () =>
      this.#fileSystem.write(handle, page * pageBytes, bytes, { killPrivileges: false, withinSize: true });
    await this.#ask("write page", serve);
    this.#caches.forgetAttributes(inode);
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

function attributesResult(attributes: Attributes): SystemCallResult {
  return { outcome: { kind: "attributes", attributes } };
}
