/**
 * The client: FileSystem over the wire. One instance is one mount; it has one session at a time.
 *
 * A session that the leader has ended takes its handles, leases and what was under way with it (EIO, later ESTALE). The
 * next operation on names opens a new session, and waits for it like for any server: so a mount that was cut off for a
 * while works again by itself, and only programs that had files open notice.
 */
import { FileError } from "../errors/file-error.ts";
import type { Attributes } from "../namespace/model.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import * as files from "./data-operations.ts";
import type {
  AttributeChange,
  DirectoryEntry,
  FileSystem,
  Handle,
  NewNode,
  OpenFlags,
  VolumeSpace,
} from "./file-system.ts";
import { MountSession } from "./mount-session.ts";
import * as names from "./name-operations.ts";
import { OpenHandle } from "./open-handle.ts";
import { type Operation, Waits, type WaitView } from "./waits.ts";

/** Servers that are just being started answer within it; a wrong address is told to whoever mounts after it. */
const mountPatienceMs = 5_000;
/** Unmounting waits so long for what is under way. */
const unmountPatienceMs = 30_000;

export interface MountOptions {
  readonly leaders: readonly Address[];
  readonly volume: string;
  /** Host, process and directory, for people. */
  readonly host: string;
  /** Default: false. Changes fail with EROFS. */
  readonly readOnly?: boolean;
  /** Operations fail with EIO when they have waited so long. Default: they wait as long as it takes. */
  readonly softTimeoutMs?: number;
}

export class Client implements FileSystem {
  readonly root: number;
  readonly #platform: Platform;
  readonly #options: MountOptions;
  readonly #waits: Waits;
  #mount: MountSession;
  #reopening: Promise<MountSession> | undefined;
  #unmounting: Promise<void> | undefined;

  private constructor(platform: Platform, options: MountOptions, mount: MountSession) {
    this.#platform = platform;
    this.#options = options;
    this.#mount = mount;
    this.#waits = new Waits(platform.clock, platform.logger.for("client"), options.softTimeoutMs);
    this.root = mount.session.volume.root;
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
    const { leaders, volume, host } = options;
    const mount = await MountSession.open(platform, {
      leaders,
      volume,
      host,
      clusterId: undefined,
      patienceMs: mountPatienceMs,
      wanted: () => true,
    });
    return new Client(platform, options, mount);
  }

  /** What operations wait for, the oldest first. */
  waits(): WaitView[] {
    return this.#waits.list();
  }

  lookup(parent: number, name: string, signal?: AbortSignal): Promise<Attributes | undefined> {
    return this.#run("lookup", parent, signal, (mount, operation) => names.lookup(mount, parent, name, operation));
  }

  getAttributes(inode: number, signal?: AbortSignal): Promise<{ attributes: Attributes; parent: number }> {
    return this.#run("getAttributes", inode, signal, (mount, operation) =>
      names.getAttributes(mount, inode, operation),
    );
  }

  setAttributes(inode: number, change: AttributeChange, signal?: AbortSignal): Promise<Attributes> {
    return this.#change("setAttributes", inode, signal, (mount, operation) =>
      files.setAttributes(mount, inode, change, operation),
    );
  }

  create(parent: number, name: string, node: NewNode, signal?: AbortSignal): Promise<Attributes> {
    return this.#change("create", parent, signal, (mount, operation) =>
      names.create(mount, parent, name, node, false, operation),
    );
  }

  createAndOpen(
    parent: number,
    name: string,
    node: NewNode,
    flags: OpenFlags,
    signal?: AbortSignal,
  ): Promise<{ attributes: Attributes; handle: Handle }> {
    return this.#change("createAndOpen", parent, signal, async (mount, operation) => {
      const attributes = await names.create(mount, parent, name, node, true, operation);
      mount.holds.adopt(attributes.inode);
      return { attributes, handle: this.#handle(mount, attributes.inode, flags, operation) };
    });
  }

  link(inode: number, parent: number, name: string, signal?: AbortSignal): Promise<Attributes> {
    return this.#change("link", inode, signal, (mount, operation) => names.link(mount, inode, parent, name, operation));
  }

  unlink(parent: number, name: string, signal?: AbortSignal): Promise<void> {
    return this.#change("unlink", parent, signal, (mount, operation) =>
      names.remove(mount, "unlink", parent, name, operation),
    );
  }

  removeDirectory(parent: number, name: string, signal?: AbortSignal): Promise<void> {
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
    signal?: AbortSignal,
  ): Promise<void> {
    const to = { parent: newParent, name: newName };
    return this.#change("rename", parent, signal, (mount, operation) =>
      names.rename(mount, { parent, name }, to, flags.noReplace, operation),
    );
  }

  readLink(inode: number, signal?: AbortSignal): Promise<string> {
    return this.#run("readLink", inode, signal, (mount, operation) => names.readLink(mount, inode, operation));
  }

  open(inode: number, flags: OpenFlags, signal?: AbortSignal): Promise<Handle> {
    const run = flags.truncate === true ? this.#change.bind(this) : this.#run.bind(this);
    return run("open", inode, signal, async (mount, operation) => {
      await files.open(mount, inode, flags, operation);
      return this.#handle(mount, inode, flags, operation);
    });
  }

  close(handle: Handle): void {
    OpenHandle.of(handle).close();
  }

  read(handle: Handle, offset: number, length: number, signal?: AbortSignal): Promise<readonly Uint8Array[]> {
    return this.#waits.run("read", handle.inode, signal, async (operation) =>
      files.read(this.#open(handle), offset, length, operation),
    );
  }

  write(
    handle: Handle,
    offset: number,
    data: Uint8Array,
    options: { killPrivileges: boolean },
    signal?: AbortSignal,
  ): Promise<number> {
    return this.#waits.run("write", handle.inode, signal, async (operation) => {
      this.#checkWritable();
      return files.write(this.#open(handle), offset, data, options.killPrivileges, operation);
    });
  }

  sync(inode: number, signal?: AbortSignal): Promise<void> {
    return this.#waits.run("sync", inode, signal, (operation) => files.sync(this.#mount, inode, operation));
  }

  readDirectory(
    handle: Handle,
    after: number,
    limit: number,
    withAttributes: boolean,
    signal?: AbortSignal,
  ): Promise<readonly DirectoryEntry[]> {
    return this.#waits.run("readDirectory", handle.inode, signal, async (operation) => {
      const { mount, inode } = this.#open(handle);
      return names.readDirectory(mount, inode, after, limit, withAttributes, operation);
    });
  }

  statVolume(signal?: AbortSignal): Promise<VolumeSpace> {
    return this.#run("statVolume", this.root, signal, (mount, operation) => names.statVolume(mount, operation));
  }

  unmount(): Promise<void> {
    this.#unmounting ??= this.#unmount();
    return this.#unmounting;
  }

  async #unmount(): Promise<void> {
    const log = this.#platform.logger.for("client");
    if (!(await this.#waits.idle(unmountPatienceMs))) {
      const oldest = this.#waits.list()[0];
      log.warn("unmounting while operations wait", { ...oldest });
    }
    // A session that is being opened is waited for: it would be left behind.
    await this.#reopening?.catch(() => {});
    await this.#mount.close();
  }

  #open(handle: Handle): OpenHandle {
    if (this.#unmounting !== undefined) throw new FileError("ENOTCONN", "unmounted");
    return OpenHandle.of(handle);
  }

  /** A handle for a hold that was just taken; given back at once if nobody waits for it any more. */
  #handle(mount: MountSession, inode: number, flags: OpenFlags, operation: Operation): Handle {
    const handle = new OpenHandle(mount, inode, flags);
    if (operation.cancelled) handle.close();
    return handle;
  }

  #run<T>(
    name: string,
    inode: number,
    signal: AbortSignal | undefined,
    body: (mount: MountSession, operation: Operation) => Promise<T>,
  ): Promise<T> {
    return this.#waits.run(name, inode, signal, async (operation) => {
      if (this.#unmounting !== undefined) throw new FileError("ENOTCONN", "unmounted");
      const mount = this.#mount.ended ? await this.#reopen(operation) : this.#mount;
      return body(mount, operation);
    });
  }

  #change<T>(
    name: string,
    inode: number,
    signal: AbortSignal | undefined,
    body: (mount: MountSession, operation: Operation) => Promise<T>,
  ): Promise<T> {
    return this.#run(name, inode, signal, async (mount, operation) => {
      this.#checkWritable();
      return body(mount, operation);
    });
  }

  #checkWritable(): void {
    if (this.#options.readOnly === true) throw new FileError("EROFS");
  }

  /** A new session after the loss of one. All who need it wait for the same. */
  async #reopen(operation: Operation): Promise<MountSession> {
    operation.waitsFor = "a new session";
    const { clusterId } = this.#mount.session;
    const { leaders, volume, host } = this.#options;
    const wanted = () => this.#unmounting === undefined;
    const options = { leaders, volume, host, clusterId, patienceMs: Number.POSITIVE_INFINITY, wanted };
    this.#reopening ??= MountSession.open(this.#platform, options).finally(() => {
      this.#reopening = undefined;
    });
    this.#mount = await this.#reopening;
    operation.check();
    return this.#mount;
  }
}
