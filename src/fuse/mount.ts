/**
 * Mounts a FileSystem on a directory, and takes it off again.
 *
 * Before: the directory must be there, empty, and no mount point. A stale mount (its server has died: ENOTCONN) is
 * cleared. After: `ended` tells when the kernel has let go, whoever asked for it: `unmount`, umount(8), an abort.
 * A process must not use files on a mount that it serves itself: it would wait for its own answer.
 *
 * Uses fs directly: the checks are about the directory of this machine that the kernel shall mount on.
 */
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { FileSystem } from "../client/file-system.ts";
import { BrineError, hasCode } from "../errors/brine-error.ts";
import type { Clock } from "../platform/clock.ts";
import type { Platform } from "../platform/platform.ts";
import { type FuseServer, serveFuse } from "./fuse-server.ts";
import { type FuseDevice, openFuseDevice } from "./transport/device.ts";
import { kernelTasks } from "./transport/kernel-tasks.ts";
import { listMounts, type MountEntry, runMount, runUnmount } from "./transport/mount-points.ts";

/** INIT is the kernel's first request and needs nobody else: seconds would mean that the kernel is stuck. */
const readyTimeoutMs = 10_000;
/** Files that are still open at a lazy unmount get this long to be closed before their connection is cut. */
const detachGraceMs = 2_000;
/** A mount whose server is alive answers stat(2) at once, a dead one fails at once; a silent one is in use. */
const probeTimeoutMs = 2_000;

export interface MountFuseOptions {
  readonly directory: string;
  /** Shown in /proc/mounts: `HOST:PORT/VOLUME`. */
  readonly source: string;
  readonly readOnly: boolean;
  readonly fileSystem: FileSystem;
  readonly platform: Pick<Platform, "clock" | "logger">;
  /** Take no more than these of the kernel's features, to run as on an older kernel. */
  readonly featureMask?: bigint;
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
  await checkDirectory(directory);
  const device = openFuseDevice({ usePipe: options.usePipe !== false });
  const { descriptor } = device;
  try {
    await runMount({ descriptor, directory, source: options.source, readOnly: options.readOnly });
  } catch (error) {
    device.close();
    throw error;
  }
  const entry = (await mountsOn(directory)).at(-1);
  const server = serveFuse(options.fileSystem, device, {
    platform: options.platform,
    tasks: kernelTasks,
    featureMask: options.featureMask,
  });
  const mount = new Mount(directory, entry?.device ?? "", device, server, clock);
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

/**
 * Refuses early what `mountFuse` would refuse, so that nothing is started for a mount that can't be. A directory that is
 * missing is no error here: its owner may make it. Errors: as `mountFuse`.
 */
export async function checkMountPoint(path: string, clock: Clock): Promise<"ready" | "missing"> {
  openFuseDevice().close();
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
  readonly #clock: Clock;
  #unmounting: Promise<void> | undefined;

  constructor(directory: string, deviceNumber: string, device: FuseDevice, server: FuseServer, clock: Clock) {
    this.directory = directory;
    this.#deviceNumber = deviceNumber;
    this.#device = device;
    this.#server = server;
    this.#clock = clock;
    this.ended = server.ended.then(async (reason) => {
      // After an abort (/sys/fs/fuse/connections) the dead mount would stay on its directory.
      const wasThere = await this.#detach().catch(() => false);
      return wasThere && reason === "unmounted" ? "aborted from outside" : reason;
    });
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
    this.#device.close();
    await this.#server.ended;
    if (failure !== undefined) await this.#detach();
    await this.ended;
  }

  /** Takes this mount off its directory; false if it was there no more. */
  async #detach(): Promise<boolean> {
    const mounts = await mountsOn(this.directory);
    if (mounts.at(-1)?.device !== this.#deviceNumber) return false;
    await runUnmount(this.directory);
    return true;
  }
}

/** Absolute and without symlinks. The directory itself is not looked at: a stale mount on it would fail. */
async function canonicalDirectory(path: string): Promise<string> {
  const absolute = resolve(path);
  if (absolute === "/") throw new BrineError("busy", "can't mount on /");
  const mounts = await listMounts();
  if (mounts.some((mount) => mount.directory === absolute)) return absolute;
  try {
    const parent = await realpath(dirname(absolute));
    const beside = join(parent, basename(absolute));
    if (mounts.some((mount) => mount.directory === beside)) return beside;
    return await realpath(beside);
  } catch (error) {
    throw directoryError(path, error);
  }
}

async function mountsOn(directory: string): Promise<MountEntry[]> {
  return (await listMounts()).filter((mount) => mount.directory === directory);
}

/** True if there was one. Errors: BrineError `busy` if something that works is mounted there. */
async function clearStaleMounts(directory: string, clock: Clock): Promise<boolean> {
  let cleared = false;
  for (;;) {
    const top = (await mountsOn(directory)).at(-1);
    if (top === undefined) return cleared;
    const isFuse = top.type === "fuse" || top.type.startsWith("fuse.");
    if (!isFuse || !(await isStale(directory, clock))) {
      throw new BrineError("busy", `${directory} is mounted already (${top.source}, type ${top.type})`, {
        advice: `unmount it first: brine unmount ${directory}`,
      });
    }
    await runUnmount(directory);
    cleared = true;
  }
}

async function isStale(directory: string, clock: Clock): Promise<boolean> {
  const probe = stat(directory).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === "ENOTCONN" || error.code === "ECONNABORTED",
  );
  return (await within(probe, clock, probeTimeoutMs)) === true;
}

async function checkDirectory(directory: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (error) {
    throw directoryError(directory, error);
  }
  if (names.length > 0) {
    throw new BrineError("busy", `${directory} is not empty`, { advice: "mount on an empty directory" });
  }
}

function directoryError(directory: string, error: unknown): BrineError {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === "ENOENT") {
    return new BrineError("notFound", `there is no directory ${directory}`, { advice: `mkdir -p ${directory}` });
  }
  if (code === "ENOTDIR") return new BrineError("invalid", `${directory} is not a directory`);
  return new BrineError("refused", `can't use ${directory}: ${code ?? String(error)}`, { cause: error });
}

/** The promise's value, or undefined if it takes longer than this. */
async function within<T>(promise: Promise<T>, clock: Clock, timeoutMs: number): Promise<T | undefined> {
  const late = Promise.withResolvers<undefined>();
  const timer = clock.startTimer(timeoutMs, () => late.resolve(undefined));
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    timer.cancel();
  }
}
