/** What a figure is measured on: a mount (or a local directory), how it is made cold, and how work on it is timed. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Cluster, type Context, type Mount, root as repository } from "../../test/system/cluster.ts";

const run = promisify(execFile);
const timeoutMs = 1_800_000;

export interface Place {
  readonly label: string;
  /** The root of the mount, or a directory of the local file system. */
  readonly root: string;
  /** The command that makes all durable that was done. On a mount that is the fsync of its root, which means everything. */
  readonly syncCommand: string;
  /** A second mount of the same files; there is none of a local directory. */
  readonly other?: () => Promise<string>;
  /** Nothing of it is cached by client or kernel when this returns. */
  makeCold(): Promise<void>;
  /** Resident MiB of all its processes, now and at most; a local directory has none. */
  memory?(): { role: string; mebibytes: number; most: number }[];
}

/** Runs a shell command and returns the seconds it took. Throws with its output where it fails. */
export async function timeShell(command: string): Promise<number> {
  const startedMs = performance.now();
  await run("/bin/bash", ["-c", `set -euo pipefail; ${command}`], { timeout: timeoutMs, maxBuffer: 64 << 20 });
  return (performance.now() - startedMs) / 1000;
}

/** Runs a part of work.py and returns the numbers it prints. */
export async function timePython(name: string, place: Place, ...values: (string | number)[]): Promise<number[]> {
  const script = join(repository, "bench/mount/work.py");
  const { stdout } = await run("python3", [script, name, place.root, ...values.map(String)], { timeout: timeoutMs });
  return stdout.trim().split(/\s+/).map(Number);
}

/** A directory that isn't there yet, on the place. */
export function freshDirectory(place: Place): string {
  const path = join(place.root, `work-${process.pid}-${freshCount++}`);
  mkdirSync(path);
  return path;
}
let freshCount = 0;

function fsyncOf(directory: string): string {
  return `python3 -c 'import os,sys; os.fsync(os.open(sys.argv[1], os.O_RDONLY))' ${directory}`;
}

function dropKernelCaches(): void {
  writeFileSync("/proc/sys/vm/drop_caches", "3");
}

/** A cluster of two servers on `directory`, mounted. */
export async function startBrine(context: Context, directory: string): Promise<Place> {
  const cluster = await Cluster.start(context, { directory });
  let mount: Mount = await cluster.mount("mnt");
  let second: Mount | undefined;
  return {
    label: "brinefs",
    root: mount.point,
    syncCommand: fsyncOf(mount.point),
    other: async () => {
      second ??= await cluster.mount("other");
      return second.point;
    },
    makeCold: async () => {
      await mount.unmount();
      dropKernelCaches();
      mount = await cluster.mount("mnt");
    },
    memory: () => [
      { role: "client", ...memoryOf(mount.program.pid) },
      ...cluster.servers.map((server, index) => ({ role: `server ${index + 1}`, ...memoryOf(server.pid) })),
    ],
  };
}

export function localPlace(label: string, directory: string): Place {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  return {
    label,
    root: directory,
    syncCommand: `sync -f ${directory}`,
    makeCold: async () => {
      await timeShell("sync");
      dropKernelCaches();
    },
  };
}

/** A directory that something else serves: a peer's mount. It stays as warm as it is. */
export function givenPlace(label: string, directory: string): Place {
  return {
    label,
    root: directory,
    syncCommand: `sync -f ${directory}; ${fsyncOf(directory)}`,
    makeCold: async () => dropKernelCaches(),
  };
}

function memoryOf(pid: number): { mebibytes: number; most: number } {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const value = (key: string) => Number(new RegExp(`${key}:\\s+(\\d+)`).exec(status)?.[1]) / 1024;
  return { mebibytes: value("VmRSS"), most: value("VmHWM") };
}
