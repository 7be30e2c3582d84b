/**
 * The directory that is to be mounted on: found, checked, freed of a mount whose server has died.
 *
 * Uses fs directly: it is about the directory of this machine that the kernel shall mount on.
 */
import { readdir, realpath, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { BrineError } from "../../errors/brine-error.ts";
import type { Clock } from "../../platform/clock.ts";
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

async function isStale(directory: string, clock: Clock): Promise<boolean> {
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
