/**
 * Mounts a FileSystem on a directory, and takes it off again.
 *
 * Before: the directory must be there, empty, and no mount point. A stale mount (its server has died: ENOTCONN) is
 * cleared. After: `ended` tells when the kernel has let go, whoever asked for it: `unmount`, umount(8), an abort.
 * A process must not use files on a mount that it serves itself: it would wait for its own answer.
 */
import type { FileSystem } from "../client/file-system.ts";
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { Platform } from "../platform/platform.ts";
import { type FuseServer, serveFuse } from "./fuse-server.ts";
import { linux61Minor } from "./protocol.ts";
import { type FuseDevice, openFuseDevice, openFuseDeviceBy } from "./transport/device.ts";
import { mountAsUser } from "./transport/fusermount.ts";
import { type Guard, startGuard } from "./transport/guard.ts";
import { kernelTasks } from "./transport/kernel-tasks.ts";
import {
  canonicalDirectory,
  checkDirectory,
  clearStaleMounts,
  isStale,
  mountsOn,
  takeDirectory,
} from "./transport/mount-directory.ts";
import { isRoot, listMounts, type MountEntry, runMount, runUnmount } from "./transport/mount-points.ts";
import { within } from "./within.ts";

/** INIT is the kernel's first request and needs nobody else: seconds would mean that the kernel is stuck. */
const readyTimeoutMs = 10_000;
/** Once all requests are answered, a notification that blocks in the kernel gets on within milliseconds. */
const quietTimeoutMs = 2_000;
/** Files that are still open at a lazy unmount get this long to be closed before their connection is cut. */
const detachGraceMs = 2_000;

export interface MountFuseOptions {
  readonly directory: string;
  /** Shown in /proc/mounts: `HOST:PORT/VOLUME`. */
  readonly source: string;
  readonly readOnly: boolean;
  readonly fileSystem: FileSystem;
  readonly platform: Pick<Platform, "clock" | "logger" | "random">;
  /** Take no more than these of the kernel's features, to run as on an older kernel. */
  readonly featureMask?: bigint;
  /** False: other file systems can be mounted inside, and names are asked for each time. Default: true. */
  readonly keepNames?: boolean;
  /** Further options of mount(8), such as `nosuid`. */
  readonly kernelFlags?: readonly string[];
  /** Mounted by an ordinary user: others may use it, too, if /etc/fuse.conf allows that. By root they always may. */
  readonly allowOther?: boolean;
  /** False: read /dev/fuse through the thread pool, as where Node does not give out its Pipe class. */
  readonly usePipe?: boolean;
}

export interface FuseMount {
  /** The mount point, absolute and without symlinks. */
  readonly directory: string;
  /**
   * Detaches the directory at once; gives files that are open on it 2 s, then cuts them off (ENOTCONN). Resolves when
   * nothing more comes from the kernel. Idempotent. The FileSystem is not ended: that is its owner's next step.
   */
  unmount(): Promise<void>;
  /** Resolves with the reason when the mount has ended, by `unmount` or from outside. */
  readonly ended: Promise<string>;
  /** The guard has cut it off, because this process was stopped for longer than its session lasts. */
  readonly wasCut: boolean;
}

/**
 * Mounts and serves. Resolves when the kernel and the server have agreed, so that files can be used. Errors: BrineError
 * `notFound` (no directory), `invalid` (not a directory), `busy` (not empty, or mounted already), `refused` (no FUSE, no
 * permission), `versionMismatch` (kernel too old).
 */
export async function mountFuse(options: MountFuseOptions): Promise<FuseMount> {
  const { clock, logger } = options.platform;
  const directory = await canonicalDirectory(options.directory);
  if (await clearStaleMounts(directory, clock)) logger.for("fuse").warn("cleared a stale mount", { directory });
  const { device, entry } = await mountedOn(directory, options);
  const { descriptor } = device;
  const noGuard = (reason: string) => {
    const what = "no guard: old pages of mapped memory would stay while this process is stopped";
    logger.for("fuse").warn(what, { directory, reason });
    return undefined;
  };
  const guard = await startGuard(entry?.device ?? "", descriptor, () => noGuard("its process has ended")).catch(
    (error) => noGuard(String(error)),
  );
  const server = serveFuse(options.fileSystem, device, {
    platform: options.platform,
    tasks: kernelTasks,
    featureMask: options.featureMask,
    keepNames: options.keepNames,
    minorMax: options.featureMask === undefined ? undefined : linux61Minor,
  });
  if (guard !== undefined) server.watchedBy(guard);
  const mount = new Mount(directory, entry?.device ?? "", { device, server, guard, clock });
  try {
    const ready = server.ready.then(() => true);
    if (!(await within(ready, clock, readyTimeoutMs))) {
      throw new BrineError("timedOut", `the kernel does not begin to talk to the mount on ${directory}`);
    }
  } catch (error) {
    await mount.unmount();
    throw error;
  }
  logger
    .for("fuse")
    .info("mounted", { directory, source: options.source, readOnly: options.readOnly, way: device.way });
  return mount;
}

/** Mounts on a directory that nothing is mounted on. `entry`: as the kernel lists it; undefined if it is gone again. */
async function mountedOn(
  directory: string,
  options: MountFuseOptions,
): Promise<{ device: FuseDevice; entry: MountEntry | undefined }> {
  const taken = await takeDirectory(directory);
  try {
    const device = await mountedDevice(directory, options);
    return { device, entry: (await mountsOn(directory)).at(-1) };
  } finally {
    await taken.release();
  }
}

/** Has the kernel mount it: by mount(8), or for an ordinary user by fusermount3. */
async function mountedDevice(directory: string, options: MountFuseOptions): Promise<FuseDevice> {
  const { source, readOnly, kernelFlags = [], allowOther = false } = options;
  const usePipe = options.usePipe !== false;
  if (!isRoot()) {
    const asked = { directory, source, readOnly, allowOther, kernelFlags };
    return openFuseDeviceBy((nonBlocking) => mountAsUser({ ...asked, nonBlocking }), { usePipe });
  }
  const device = openFuseDevice({ usePipe });
  try {
    await runMount({ descriptor: device.descriptor, directory, source, readOnly, kernelFlags });
    return device;
  } catch (error) {
    device.close();
    throw error;
  }
}

/**
 * Refuses early what `mountFuse` would refuse, so that nothing is started for a mount that can't be. A directory that is
 * missing is no error here: its owner may make it. Errors: as `mountFuse`.
 */
export async function checkMountPoint(path: string, clock: Clock): Promise<"ready" | "missing"> {
  if (isRoot()) openFuseDevice().close();
  let directory: string;
  try {
    directory = await canonicalDirectory(path);
  } catch (error) {
    if (hasCode(error, "notFound")) return "missing";
    throw error;
  }
  await clearStaleMounts(directory, clock);
  await checkDirectory(directory);
  return "ready";
}

class Mount implements FuseMount {
  readonly directory: string;
  readonly ended: Promise<string>;
  readonly #deviceNumber: string;
  readonly #device: FuseDevice;
  readonly #server: FuseServer;
  readonly #guard: Guard | undefined;
  readonly #clock: Clock;
  #unmounting: Promise<void> | undefined;
  #hasEnded = false;

  constructor(
    directory: string,
    deviceNumber: string,
    parts: { device: FuseDevice; server: FuseServer; guard: Guard | undefined; clock: Clock },
  ) {
    const { device, server, guard, clock } = parts;
    this.directory = directory;
    this.#deviceNumber = deviceNumber;
    this.#device = device;
    this.#server = server;
    this.#guard = guard;
    this.#clock = clock;
    this.ended = server.ended.then(async (reason) => {
      this.#hasEnded = true;
      guard?.dismiss();
      // After an abort (/sys/fs/fuse/connections) the dead mount would stay on its directory.
      const wasThere = await this.#detach().catch(() => false);
      return wasThere && reason === "unmounted" ? "aborted from outside" : reason;
    });
  }

  get wasCut(): boolean {
    return this.#guard?.hasCut() ?? false;
  }

  unmount(): Promise<void> {
    this.#unmounting ??= this.#unmount();
    return this.#unmounting;
  }

  async #unmount(): Promise<void> {
    let failure: unknown;
    try {
      await this.#detach();
      await within(this.#server.ended, this.#clock, detachGraceMs);
    } catch (error) {
      failure = error; // umount hangs or fails: cut the connection, then try again
    }
    await this.#unblock();
    // It has the descriptor too: closing ours alone would not end the connection.
    this.#guard?.dismiss();
    this.#device.close();
    await this.#server.ended;
    if (failure !== undefined) await this.#detach();
    await this.ended;
  }

  /**
   * A notification that waits in the kernel keeps the descriptor open: closing it would end nothing, and the process could
   * not exit. It waits for answers of ours: so all are given.
   */
  async #unblock(): Promise<void> {
    const quiet = this.#device.quiet().then(() => true);
    if (await within(quiet, this.#clock, 0)) return;
    this.#server.abandon();
    await within(quiet, this.#clock, quietTimeoutMs);
  }

  /**
   * Takes this mount off its directory, also if one above that was renamed; false if it was there no more. Device numbers are used
   * again: once the connection has ended, what has ours and answers is somebody else's mount.
   */
  async #detach(): Promise<boolean> {
    const mounts = await listMounts();
    const own = mounts.filter(({ device }) => device === this.#deviceNumber);
    // Several elsewhere are somebody's bind mounts.
    const here = own.find(({ directory }) => directory === this.directory) ?? (own.length === 1 ? own[0] : undefined);
    if (here === undefined || mounts.findLast(({ directory }) => directory === here.directory) !== here) return false;
    if (this.#hasEnded && !(await isStale(here.directory, this.#clock))) return false;
    await runUnmount(here.directory);
    return true;
  }
}
