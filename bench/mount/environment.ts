/** What a figure is measured on: a mount (or a local directory), how it is made cold, and how work on it is timed. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { Cluster, type Context, type Mount, root as repository, waitFor } from "../../test/system/cluster.ts";

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
  /** Kills the metadata server and starts it again. Resolves when the process says that it serves. */
  readonly restartLeader?: () => Promise<void>;
  /** Nothing of it is cached by client or kernel when this returns. */
  makeCold(): Promise<void>;
  /** Its processes; a local directory has none. */
  processes(): { role: string; pid: number }[];
}

export interface Memory {
  readonly role: string;
  readonly mebibytes: number;
  readonly most: number;
}

/** Resident memory of all processes, now and at most. */
export function memoryOf(place: Place): Memory[] {
  return place.processes().map(({ role, pid }) => {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    const value = (key: string) => Number(new RegExp(`${key}:\\s+(\\d+)`).exec(status)?.[1]) / 1024;
    return { role, mebibytes: value("VmRSS"), most: value("VmHWM") };
  });
}

/** In the unit of /proc/PID/stat, which is a hundredth of a second on all machines that matter. */
const ticksPerSecond = 100;

function cpuSecondsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "latin1")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

let lastCost = "";

/** What the last timed work cost the processes of the place: that doesn't move with other load as the time does. */
export function costOfLast(): string {
  return lastCost;
}

/** Runs what is measured. */
export async function timed<T>(place: Place, work: () => Promise<T>): Promise<T> {
  const before = new Map(place.processes().map(({ pid }) => [pid, cpuSecondsOf(pid)]));
  const result = await work();
  const costs = place
    .processes()
    .map(({ role, pid }) => `${role} ${(cpuSecondsOf(pid) - (before.get(pid) ?? 0)).toFixed(2)}`);
  lastCost = costs.length === 0 ? "" : `CPU s: ${costs.join(", ")}`;
  return result;
}

/** Runs a shell command, which is to be measured, and returns the seconds it took. */
export function measureShell(place: Place, command: string): Promise<number> {
  return timed(place, () => timeShell(command));
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
  const args = [script, name, place.root, ...values.map(String)];
  const { stdout } = await timed(place, () => run("python3", args, { timeout: timeoutMs }));
  return stdout.trim().split(/\s+/).map(Number);
}

/** A directory that isn't there yet, on the place. */
export function freshDirectory(place: Place): string {
  const path = join(place.root, `work-${process.pid}-${freshCount++}`);
  mkdirSync(path);
  return path;
}
let freshCount = 0;

export function fsyncOf(directory: string): string {
  return `python3 -c 'import os,sys; os.fsync(os.open(sys.argv[1], os.O_RDONLY))' ${directory}`;
}

export function dropKernelCaches(): void {
  writeFileSync("/proc/sys/vm/drop_caches", "3");
}

/** A cluster of two servers on `directory`, mounted. `copies`: the second one keeps a copy of the ledger, too. */
export async function startBrine(context: Context, directory: string, copies = false): Promise<Place> {
  const cluster = await Cluster.start(context, {
    directory,
    ...(copies && { secondOptions: ["--roles", "metadata,store"] }),
  });
  if (copies) {
    await waitFor("the ledger's copy to be in step", async () =>
      (await cluster.status()).metadata.startsWith("two copies"),
    );
  }
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
    restartLeader: async () => {
      await cluster.killServer(0);
      await cluster.startServer(0);
    },
    makeCold: async () => {
      await mount.unmount();
      dropKernelCaches();
      mount = await cluster.mount("mnt");
    },
    processes: () => [
      { role: "client", pid: mount.program.pid },
      ...cluster.servers.map((server, index) => ({ role: `server ${index + 1}`, pid: server.pid })),
    ],
  };
}

export function localPlace(label: string, directory: string): Place {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  return {
    label,
    root: directory,
    processes: () => [],
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
    processes: () => [],
    syncCommand: `sync -f ${directory}; ${fsyncOf(directory)}`,
    makeCold: async () => dropKernelCaches(),
  };
}
