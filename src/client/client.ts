/**
 * The client: FileSystem over the wire. One instance is one mount; it has one session at a time.
 * A session that the leader has ended takes its handles, leases and what was under way with it (EIO, later ESTALE). The
 * next operation on names opens a new session, and waits for it like for any server: so a mount that was cut off for a
 * while works again by itself, and only programs that had files open notice.
 */
import { FileError } from "../errors/file-error.ts";
import type { Attributes, InodeRecord } from "../namespace/model.ts";
import type { Platform } from "../platform/platform.ts";
import type { LeaseMode } from "../wire/catalogue/leader.ts";
import { change } from "./changes.ts";
import { registerClientGauges } from "./client-gauges.ts";
import { copyRange } from "./copy-range.ts";
import * as files from "./data-operations.ts";
import type {
  Allocation,
  AttributeChange,
  DirectoryEntry,
  FileSystem,
  Handle,
  KernelCaches,
  LockRange,
  NewNode,
  OpenFlags,
  RangeCopy,
  ReadOptions,
  StopSignal,
  SyncScope,
  VolumeSpace,
  WriteOptions,
} from "./file-system.ts";
import type { MountSession } from "./mount-session.ts";
import { MountSessions, type MountTarget } from "./mount-sessions.ts";
import * as names from "./name-operations.ts";
import { OpenHandle, wanted } from "./open-handle.ts";
import { OperationMeter } from "./operation-meter.ts";
import { Placing } from "./placing.ts";
import { type Soon, whenThere } from "./soon.ts";
import { type Operation, Waits, type WaitView } from "./waits.ts";

/** Unmounting waits so long for what is under way. */
const unmountPatienceMs = 30_000;

export interface MountOptions extends MountTarget {
  /** Default: false. Changes fail with EROFS. */
  readonly readOnly?: boolean;
  /** Operations fail with EIO when they have waited so long. Default: they wait as long as it takes. */
  readonly softTimeoutMs?: number;
}

type Body<T> = (mount: MountSession, operation: Operation) => Soon<T>;

export class Client implements FileSystem {
  readonly root: number;
  readonly #platform: Platform;
  readonly #options: MountOptions;
  readonly #waits: Waits;
  readonly #sessions: MountSessions;
  #unmounting: Promise<void> | undefined;

  private constructor(platform: Platform, options: MountOptions, sessions: MountSessions, waits: Waits) {
    this.#platform = platform;
    this.#options = options;
    this.#sessions = sessions;
    this.#waits = waits;
    this.root = sessions.current.session.volume.root;
  }

  /**
   * Mounts a volume.
   *
   *     const fileSystem = await Client.mount(platform, { leaders: ["127.0.0.1:7411"], volume: "home", host: "me" });
   *
   * Errors: BrineError notFound (no such volume), wrongCluster, versionMismatch, refused; unreachable, notServing, …
   * when no server answered for some seconds.
   */
  static async mount(platform: Platform, options: MountOptions): Promise<Client> {
    const log = platform.logger.for("client");
    const waits = new Waits(platform.clock, log, options.softTimeoutMs, new OperationMeter(platform));
    const opened = options.readOnly === true ? { ...options, accessTimes: "none" as const } : options;
    const sessions = await MountSessions.open(platform, opened, waits);
    registerClientGauges(platform.metrics, waits, () => sessions.current);
    return new Client(platform, options, sessions, waits);
  }

  /** What operations wait for, the oldest first. */
  waits(): WaitView[] {
    return this.#waits.list();
  }

  /** The session that it has now, or had last. live: it is known to stand; leases count only then. */
  get session(): { readonly id: number; readonly live: boolean; readonly clusterId: string } {
    return this.#sessions.current.session;
  }

  /** Positions in the session's journal: of the last change that was answered, and of the last one that is durable. */
  get journalPositions(): { session: number; answered: number; durable: number } {
    return this.#sessions.current.journalPositions();
  }

  /** Leases as this client has them, for tests and the simulation's checkers. */
  leasesHeld(): { inode: number; mode: LeaseMode; grant: number }[] {
    return this.#sessions.current.holdings().leases;
  }

  /** How many leases are kept, for the same. */
  leaseCounts(): { kept: number; sparedMost: number } {
    return this.#sessions.current.leases.unused;
  }

  /** Records under a lease in which nothing is uncommitted: they are the leader's. */
  cachedRecords(): InodeRecord[] {
    return this.#sessions.current.cleanRecords();
  }

  attach(caches: KernelCaches): void {
    this.#sessions.caches = caches;
    const { liveForMs } = this.#sessions.current.session;
    caches.standsUntil?.(this.#platform.clock.nowMs() + liveForMs);
  }

  nameValidMs(directory: number): number {
    return this.#sessions.current.kernelMayKeep(directory, "kernelHasNames");
  }

  attributesValidMs(inode: number): number {
    return this.#sessions.current.kernelMayKeep(inode, "kernelHasAttributes");
  }

  lookup(parent: number, name: string, signal?: StopSignal): Soon<Attributes | undefined> {
    return this.#run("lookup", parent, signal, (mount, operation) => names.lookup(mount, parent, name, operation));
  }

  getAttributes(inode: number, signal?: StopSignal): Soon<{ attributes: Attributes; parent: number }> {
    return this.#run("getAttributes", inode, signal, (mount, operation) =>
      names.getAttributes(mount, inode, operation),
    );
  }

  setAttributes(inode: number, change: AttributeChange, signal?: StopSignal): Soon<Attributes> {
    return this.#change("setAttributes", inode, signal, (mount, operation) =>
      files.setAttributes(mount, inode, change, operation),
    );
  }

  create(parent: number, name: string, node: NewNode, signal?: StopSignal): Soon<Attributes> {
    return this.#change("create", parent, signal, (mount, operation) =>
      names.create(mount, parent, name, node, operation, (attributes) => attributes),
    );
  }

  createAndOpen(
    parent: number,
    name: string | undefined,
    node: NewNode,
    flags: OpenFlags,
    signal?: StopSignal,
  ): Soon<{ attributes: Attributes; handle: Handle }> {
    return this.#change("createAndOpen", parent, signal, (mount, operation) => {
      const making = names.create(mount, parent, name, node, operation, (attributes) => ({
        attributes,
        handle: new OpenHandle(mount, mount.leases.get(attributes.inode)!, flags),
      }));
      return whenThere(making, (made) => {
        wanted(made.handle, operation);
        return made;
      });
    });
  }

  link(inode: number, parent: number, name: string, signal?: StopSignal): Soon<Attributes> {
    return this.#change("link", inode, signal, (mount, operation) => names.link(mount, inode, parent, name, operation));
  }

  unlink(parent: number, name: string, signal?: StopSignal): Soon<void> {
    return this.#change("unlink", parent, signal, (mount, operation) =>
      names.remove(mount, "unlink", parent, name, operation),
    );
  }

  removeDirectory(parent: number, name: string, signal?: StopSignal): Soon<void> {
    return this.#change("removeDirectory", parent, signal, (mount, operation) =>
      names.remove(mount, "rmdir", parent, name, operation),
    );
  }

  rename(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: { noReplace: boolean },
    signal?: StopSignal,
  ): Soon<void> {
    const asked = { kind: "rename", parent, name, newParent, newName, noReplace: flags.noReplace } as const;
    return this.#change("rename", parent, signal, (mount, operation) => names.rename(mount, asked, operation));
  }

  exchange(parent: number, name: string, newParent: number, newName: string, signal?: StopSignal): Soon<void> {
    const asked = { kind: "exchange", parent, name, newParent, newName } as const;
    return this.#change("exchange", parent, signal, (mount, operation) => names.rename(mount, asked, operation));
  }

  readLink(inode: number, signal?: StopSignal): Soon<string> {
    return this.#run("readLink", inode, signal, (mount, operation) => names.readLink(mount, inode, operation));
  }

  open(inode: number, flags: OpenFlags, signal?: StopSignal): Soon<Handle> {
    const run = flags.truncate === true ? this.#change.bind(this) : this.#run.bind(this);
    return run("open", inode, signal, (mount, operation) =>
      whenThere(files.open(mount, inode, flags, operation), (handle) => wanted(handle, operation)),
    );
  }

  flush(handle: Handle): void {
    OpenHandle.of(handle).checkErrors();
  }

  close(handle: Handle): void {
    OpenHandle.of(handle).close();
  }

  read(
    handle: Handle,
    offset: number,
    length: number,
    signal?: StopSignal,
    options?: ReadOptions,
  ): Soon<readonly Uint8Array[]> {
    return this.#waits.run("read", handle.inode, signal, (operation) =>
      files.read(this.#open(handle), { offset, length, ...options }, operation),
    );
  }

  write(handle: Handle, offset: number, data: Uint8Array, options: WriteOptions, signal?: StopSignal): Soon<number> {
    return this.#waits.run("write", handle.inode, signal, (operation) => {
      this.#checkWritable();
      return files.write(this.#open(handle), offset, data, options, operation);
    });
  }

  allocate(handle: Handle, asked: Allocation, signal?: StopSignal): Promise<void> {
    return this.#waits.run("allocate", handle.inode, signal, async (operation) => {
      this.#checkWritable();
      return files.allocate(this.#open(handle), asked, operation);
    });
  }

  seek(handle: Handle, offset: number, what: "data" | "hole", signal?: StopSignal): Promise<number> {
    return this.#waits.run("seek", handle.inode, signal, async (operation) =>
      files.seek(this.#open(handle), { offset, what }, operation),
    );
  }

  copyRange(copy: RangeCopy, signal?: StopSignal): Promise<number> {
    return this.#waits.run("copyRange", copy.to.inode, signal, async (operation) => {
      this.#checkWritable();
      return copyRange({ ...copy, from: this.#open(copy.from), to: this.#open(copy.to) }, operation);
    });
  }

  sync(handle: Handle, signal?: StopSignal, scope?: SyncScope): Promise<void> {
    return this.#waits.run("sync", handle.inode, signal, async (operation) =>
      files.sync(this.#open(handle), operation, scope),
    );
  }

  readDirectory(
    handle: Handle,
    after: number,
    limit: number,
    withAttributes: boolean,
    signal?: StopSignal,
  ): Promise<readonly DirectoryEntry[]> {
    return this.#waits.run("readDirectory", handle.inode, signal, async (operation) =>
      names.readDirectory(this.#open(handle), after, limit, withAttributes, operation),
    );
  }

  statVolume(inode: number, signal?: StopSignal): Soon<VolumeSpace> {
    return this.#run("statVolume", inode, signal, (mount, operation) => names.statVolume(mount, inode, operation));
  }

  getExtendedAttribute(inode: number, name: string, signal?: StopSignal): Soon<Uint8Array> {
    return this.#run("getExtendedAttribute", inode, signal, (mount, operation) =>
      names.getExtendedAttribute(mount, inode, name, operation),
    );
  }

  setExtendedAttribute(
    inode: number,
    name: string,
    value: Uint8Array,
    mode: "set" | "create" | "replace",
    signal?: StopSignal,
  ): Soon<void> {
    const asked = { kind: "setExtendedAttribute", inode, name, value, mode } as const;
    return this.#change("setExtendedAttribute", inode, signal, (mount, operation) =>
      change(mount, asked, operation, () => {}),
    );
  }

  setAccessControlList(
    inode: number,
    which: "access" | "default",
    list: Uint8Array | undefined,
    { killSetGroupId, permit }: { killSetGroupId: boolean } & Pick<AttributeChange, "permit">,
    signal?: StopSignal,
  ): Soon<void> {
    const asked = { inode, which, list: list ?? new Uint8Array(), killSetGroupId };
    return this.#change("setAccessControlList", inode, signal, (mount, operation) =>
      change(mount, { kind: "setAccessControlList", ...asked }, operation, () => {}, permit),
    );
  }

  listExtendedAttributes(inode: number, signal?: StopSignal): Soon<readonly string[]> {
    return this.#run("listExtendedAttributes", inode, signal, (mount, operation) =>
      names.listExtendedAttributes(mount, inode, operation),
    );
  }

  removeExtendedAttribute(inode: number, name: string, signal?: StopSignal): Soon<void> {
    const asked = { kind: "removeExtendedAttribute", inode, name } as const;
    return this.#change("removeExtendedAttribute", inode, signal, (mount, operation) =>
      change(mount, asked, operation, () => {}),
    );
  }

  testLock(handle: Handle, lock: LockRange, signal?: StopSignal): Promise<LockRange | undefined> {
    return this.#waits.run("testLock", handle.inode, signal, async (operation) =>
      this.#open(handle).mount.locks.test(handle.inode, lock, operation),
    );
  }

  setLock(handle: Handle, lock: LockRange, wait: boolean, signal?: StopSignal): Promise<void> {
    // The signal ends the wait, not the call: the lock may have been granted before.
    return this.#waits.run("setLock", handle.inode, undefined, async (operation) => {
      const open = this.#open(handle);
      return open.mount.locks.set(open, lock, wait, operation, signal);
    });
  }

  unlock(handle: Handle, range: Omit<LockRange, "mode" | "pid">): Promise<void> {
    return this.#waits.run("unlock", handle.inode, undefined, async () => OpenHandle.of(handle).unlock(range));
  }

  /** For who applies the volume's placement rules. */
  placing(): Placing {
    return new Placing((name, inode, body) => this.#change(name, inode, undefined, body));
  }

  unmount(): Promise<void> {
    this.#unmounting ??= this.#unmount();
    return this.#unmounting;
  }

  async #unmount(): Promise<void> {
    const log = this.#platform.logger.for("client");
    this.#sessions.current.locks.abortAll();
    if (!(await this.#waits.idle(unmountPatienceMs))) {
      const oldest = this.#waits.list()[0];
      log.warn("unmounting while operations wait", { ...oldest });
    }
    await this.#sessions.end();
    await this.#sessions.current.close();
  }

  #open(handle: Handle): OpenHandle {
    if (this.#unmounting !== undefined) throw new FileError("ENOTCONN", "unmounted");
    return OpenHandle.of(handle);
  }

  #run<T>(name: string, inode: number, signal: StopSignal | undefined, body: Body<T>): Soon<T> {
    return this.#waits.run(name, inode, signal, (operation) => {
      if (this.#unmounting !== undefined) throw new FileError("ENOTCONN", "unmounted");
      const { current } = this.#sessions;
      if (!current.ended) return body(current, operation);
      return this.#sessions.live(operation).then((mount) => body(mount, operation));
    });
  }

  #change<T>(name: string, inode: number, signal: StopSignal | undefined, body: Body<T>): Soon<T> {
    return this.#run(name, inode, signal, (mount, operation) => {
      this.#checkWritable();
      return body(mount, operation);
    });
  }

  #checkWritable(): void {
    if (this.#options.readOnly === true) throw new FileError("EROFS");
  }
}
