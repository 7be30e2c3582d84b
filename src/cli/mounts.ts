/**
 * The register of this machine's mounts: /run/brinefs/mounts/NAME.json says which process serves which directory, so that
 * `brine unmount` and `brine sync` know whom to wait for. Gone with a reboot, as the mounts are. Those of an ordinary user are in
 * a directory of his own.
 */
import { createHash } from "node:crypto";
import type { Disk } from "../platform/disk.ts";
import { isRunning, processStart, thisProcess, userDirectories } from "../platform/processes.ts";
import { readJson, writeJson } from "./json-file.ts";

const registerDirectory = `${userDirectories.running}/mounts`;

export interface RegisteredMount {
  readonly directory: string;
  readonly source: string;
  /** Whoever answers at the source's addresses now may be another one. */
  readonly clusterId: string;
  readonly pid: number;
  readonly start: string;
}

function fileOf(directory: string): string {
  return `${registerDirectory}/${createHash("sha256").update(directory).digest("hex").slice(0, 16)}.json`;
}

export async function registerMount(disk: Disk, directory: string, source: string, clusterId: string): Promise<void> {
  await disk.makeDirectory(registerDirectory);
  const { pid } = thisProcess;
  await writeJson(disk, fileOf(directory), { directory, source, clusterId, pid, start: processStart(pid) });
}

export async function unregisterMount(disk: Disk, directory: string): Promise<void> {
  await disk.remove(fileOf(directory));
}

/** The mount that a living process serves at the directory, or undefined. */
export async function findMount(disk: Disk, directory: string): Promise<RegisteredMount | undefined> {
  const mount = (await readJson(disk, fileOf(directory))) as RegisteredMount | undefined;
  return mount !== undefined && isRunning(mount.pid, mount.start) ? mount : undefined;
}

/** The mount that serves the path: the innermost directory above it that a living process has registered. */
export async function findMountOf(disk: Disk, path: string): Promise<RegisteredMount | undefined> {
  for (let directory = path; directory !== ""; directory = directory.slice(0, directory.lastIndexOf("/"))) {
    const mount = await findMount(disk, directory);
    if (mount !== undefined) return mount;
  }
  return undefined;
}
