/**
 * The directory that is to be mounted on: found, checked, freed of a mount whose server has died.
 *
 * Uses fs directly: it is about the directory of this machine that the kernel shall mount on.
 */
import { constants } from "node:fs";
import { open, readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { BrineError } from "../../errors/brine-error.ts";
import type { Clock } from "../../platform/clock.ts";
import { tryLock } from "../../platform/libc.ts";
import { within } from "../within.ts";
import { listMounts, type MountEntry, runUnmount } from "./mount-points.ts";

/** A mount whose server is alive answers stat(2) at once, a dead one fails at once; a silent one is in use. */
const probeTimeoutMs = 2_000;

/** Absolute and without symlinks. The directory itself is not looked at: a stale mount on it would fail. */
export async function canonicalDirectory(path: string): Promise<string> {
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

/** What is mounted on the directory, the topmost last. */
export async function mountsOn(directory: string): Promise<MountEntry[]> {
  return (await listMounts()).filter((mount) => mount.directory === directory);
}

/** True if there was one. Errors: BrineError `busy` if something that works is mounted there. */
export async function clearStaleMounts(directory: string, clock: Clock): Promise<boolean> {
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

/**
 * Takes the directory, which nothing is mounted on, until `release`: of two processes that want to mount there at the same time
 * one is refused, instead of covering the other's mount. (The lock is on what will be below the mount, so it holds up nobody later.)
 * Errors: those of checkDirectory; `busy` (another process mounts there now, or has just done it).
 */
export async function takeDirectory(directory: string): Promise<{ release(): Promise<void> }> {
  let file: Awaited<ReturnType<typeof open>>;
  try {
    file = await open(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    throw directoryError(directory, error);
  }
  try {
    if (!mayLock(file.fd) || (await mountsOn(directory)).length > 0) {
      throw new BrineError("busy", `another process mounts something on ${directory}`, {
        advice: `see what it is: findmnt ${directory}`,
      });
    }
    await checkDirectory(directory);
  } catch (error) {
    await file.close();
    throw error;
  }
  return { release: () => file.close() };
}

/** Where directories can't be locked (on some network file systems) nobody is refused. */
function mayLock(descriptor: number): boolean {
  try {
    return tryLock(descriptor);
  } catch {
    return true;
  }
}

/** True for a mount whose connection has ended. */
export async function isStale(directory: string, clock: Clock): Promise<boolean> {
  const probe = stat(directory).then(
    () => false,
    (error: NodeJS.ErrnoException) => error.code === "ENOTCONN" || error.code === "ECONNABORTED",
  );
  return (await within(probe, clock, probeTimeoutMs)) === true;
}

/** Errors: BrineError `notFound`, `invalid` (not a directory), `busy` (not empty), `refused`. */
export async function checkDirectory(directory: string): Promise<void> {
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
