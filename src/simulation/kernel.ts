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
 * 5. When the session's time is over, a guard takes pages from it, or cuts it off (kernel-guard.ts): every call then fails with
 *    ENOTCONN, and the process that serves it makes another.
 */
import type {
  AttributeChange,
  Attributes,
  FileSystem,
  Handle,
  KernelCaches,
  OpenFlags,
  SyncScope,
} from "../client/file-system.ts";
import { Loan } from "../client/loan.ts";
import type { Soon } from "../client/soon.ts";
import type { Clock } from "../platform/clock.ts";
import type { FileOperation, Outcome } from "./file-operation.ts";
import type { Incarnation } from "./incarnation.ts";
import { KernelCachesModel } from "./kernel-caches.ts";
import { KernelDevice, notConnected } from "./kernel-device.ts";
import { KernelExtendedAttributes } from "./kernel-extended-attributes.ts";
import { KernelGuard } from "./kernel-guard.ts";
import { KernelHandles } from "./kernel-handles.ts";
import { KernelLocks } from "./kernel-locks.ts";
import { KernelMemory } from "./kernel-memory.ts";
import { KernelNames } from "./kernel-names.ts";
import { pageBytes } from "./kernel-pages.ts";
import { KernelRanges } from "./kernel-ranges.ts";
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
  readonly #memory: KernelMemory;
  readonly #handles: KernelHandles;
  readonly #guard: KernelGuard;
  readonly #random: SimulatedRandom;
  readonly #onCut: () => void;

  /** `onCut`: the guard has cut it off, and nothing works any more; the process that serves it may not know yet. */
  constructor(
    fileSystem: FileSystem,
    incarnation: Incarnation,
    clock: Clock,
    random: SimulatedRandom,
    onCut: () => void = () => {},
  ) {
    this.#onCut = onCut;
    this.#fileSystem = fileSystem;
    this.#random = random;
    this.#device = new KernelDevice(incarnation, random.fork("device"));
    this.#caches = new KernelCachesModel(() => clock.nowMs());
    this.#handles = new KernelHandles(fileSystem);
    const { handles, device, caches, locks } = {
      handles: this.#handles,
      device: this.#device,
      caches: this.#caches,
      locks: this.#locks,
    };
    const parts = { fileSystem, device, caches, locks, handles };
    this.#names = new KernelNames(parts);
    this.#extended = new KernelExtendedAttributes(parts);
    const attributes = (inode: number) => this.#attributes(inode);
    this.#memory = new KernelMemory({ ...parts, incarnation, random, attributes });
    this.#ranges = new KernelRanges(parts, this.#memory.pages);
    this.#guard = new KernelGuard({
      ...{ incarnation, clock, random: random.fork("guard") },
      filesWithPages: () => this.#memory.given,
      forgetNames: () => this.forgetNames(),
      forget: (inode) => this.#memory.forget(inode),
      drop: (inode) => this.#memory.pages.drop(inode),
      cut: () => this.#cut(),
    });
    fileSystem.attach(this);
  }

  /** True if some answer has told of the inode: nobody can ask for another. */
  knows(inode: number): boolean {
    return inode === this.#fileSystem.root || this.#caches.type(inode) !== undefined;
  }

  /** The guard has cut it off. */
  get isCut(): boolean {
    return this.#device.isCut;
  }

  /** The process that serves it has found it cut: what was open is closed, and nothing is waited for any more. */
  end(): void {
    this.#handles.end();
  }

  standsUntil(untilMs: number): void {
    this.#guard.standsUntil(untilMs);
  }

  forgetNames(): void {
    this.#caches.forgetNames();
  }

  /** With the size of a file that is open: what is written back of its pages is whole, and cut by the file system (fuse/kernel-sizes.ts). */
  forgetAttributes(inode: number): void {
    this.#caches.forgetAttributes(inode);
    if (this.#memory.isMapped(inode)) this.#caches.forgetSize(inode);
  }

  forgetPages(inode: number): Promise<void> {
    return this.#memory.forget(inode);
  }

  settled(inode: number): Promise<void> | undefined {
    return this.#caches.settled(inode);
  }

  mayHavePages(inode: number): boolean {
    return this.#memory.pages.has(inode);
  }

  /** One system call. `handle` is that of calls on open files, `source` that of a file to copy from. Errors: FileError. */
  async perform(operation: FileOperation, handle?: Handle, source?: Handle): Promise<SystemCallResult> {
    if (this.isCut) throw notConnected();
    const { inode, kind } = operation as { inode?: number; kind: string };
    const perform = () => this.#perform(operation, handle, source);
    const changes = inode !== undefined && changesOfInode.has(kind);
    const result = await (changes ? this.#caches.changing({ inodes: [inode] }, perform) : perform());
    // What it was done on is gone, and pages that it has changed with it.
    if (this.isCut) throw notConnected();
    return result;
  }

  #cut(): void {
    this.#guard.end();
    this.#memory.pages.cut();
    this.#device.cut();
    this.#onCut();
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
    const handle = await this.#ask("open", () => this.#openHandle(operation.inode, {}));
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
        return this.#memory.load(operation, handle);
      case "store":
        return this.#memory.store(operation, handle);
      case "sync":
        await this.#sync(handle, operation.scope);
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
        await this.#memory.pages.drop(inode, {
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
    const open = () => this.#ask("open", () => this.#openHandle(inode, { truncate, append }));
    if (!truncate) return { ...done, handle: await open() };
    return this.#locks.locked(inode, "exclusive", async () => {
      await this.#memory.pages.drop(inode);
      const handle = await open();
      this.#caches.forgetAttributes(inode);
      return { ...done, handle };
    });
  }

  async #openHandle(inode: number, flags: OpenFlags): Promise<Handle> {
    return this.#handles.opened(await this.#fileSystem.open(inode, flags));
  }

  async #close(inode: number, handle: Handle): Promise<SystemCallResult> {
    await this.#memory.unmap(inode, handle);
    try {
      await this.#ask("flush", async () => this.#fileSystem.flush(handle));
    } finally {
      if (!this.isCut) this.#handles.close(handle);
    }
    return done;
  }

  async #read({ inode, offset, length }: Operation<"read">, handle: Handle): Promise<SystemCallResult> {
    await this.#memory.pages.writeBack(inode, offset, offset + length);
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
      await this.#memory.pages.drop(inode, { start: at, end: at + length });
      const data = taggedBytes(tag, 0, length);
      // Where the end is the process knows, and takes pages of it back itself (fuse/requests/data.ts).
      const dropPages = () => (offset === undefined ? this.#memory.forget(inode) : undefined);
      const write = async () => {
        await dropPages();
        const written = await this.#fileSystem.write(handle, at, data, { killPrivileges: false });
        await dropPages();
        return written;
      };
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
        await this.#memory.pages.drop(inode, { start: at, end: at + length });
      }
    });
  }

  #sync(handle: Handle, scope: SyncScope | undefined): Promise<void> {
    const { inode } = handle;
    return this.#locks.locked(inode, "exclusive", async () => {
      await this.#memory.pages.writeBack(inode);
      await this.#ask("fsync", () => this.#fileSystem.sync(handle, undefined, scope));
    });
  }

  async #lock(operation: Operation<"lock" | "unlock">, handle: Handle): Promise<SystemCallResult> {
    const { owner, start, end } = operation;
    const range = { kind: "posix" as const, owner: BigInt(owner), start: BigInt(start), end: BigInt(end) };
    if (operation.kind === "unlock") {
      await this.#ask("unlock", () => this.#fileSystem.unlock(handle, range));
    } else {
      const { mode, wait } = operation;
      await this.#ask("lock", () =>
        this.#fileSystem.setLock(handle, { ...range, mode, pid: owner }, wait, this.#handles.signal),
      );
    }
    return done;
  }
}

function attributesResult(attributes: Attributes): SystemCallResult {
  return { outcome: { kind: "attributes", attributes } };
}
