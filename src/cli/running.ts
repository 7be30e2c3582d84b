/**
 * DIR/run.json: what runs from a data directory now, so that `--data DIR` finds it. Written when it serves, removed at a
 * clean end; a process that died leaves it behind, therefore the start time of the process is in it.
 */
import { BrineError } from "../errors/brine-error.ts";
import type { Disk } from "../platform/disk.ts";
import type { LogLevel } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { absolutePath, isRunning, print, processStart, thisProcess } from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import { readJson, writeJson } from "./json-file.ts";
import { parseAddresses } from "./options.ts";

export interface Running {
  readonly pid: number;
  readonly start: string;
  /** Where status and administration are answered: metadata servers first. */
  readonly addresses: readonly Address[];
  /** Mount point, if this is a quickstart. */
  readonly mount?: string;
}

export async function writeRunning(
  disk: Disk,
  directory: string,
  running: Omit<Running, "pid" | "start">,
): Promise<void> {
  const { pid } = thisProcess;
  await writeJson(disk, `${directory}/run.json`, { pid, start: processStart(pid), ...running });
}

export async function removeRunning(disk: Disk, directory: string): Promise<void> {
  await disk.remove(`${directory}/run.json`);
}

/** What runs from the directory, or undefined if nothing does. */
export async function readRunning(disk: Disk, directory: string): Promise<Running | undefined> {
  const running = (await readJson(disk, `${directory}/run.json`)) as Running | undefined;
  return running !== undefined && isRunning(running.pid, running.start) ? running : undefined;
}

/** Where a quickstart keeps its data unless told otherwise, and so the cluster that is meant if nothing names one. */
export const defaultData = "./brine-data";

/** Of commands that `withCluster` made. */
export interface ClusterOptions {
  readonly data?: string;
}

/**
 * The servers of the cluster that the command line means, and this machine to ask them from: by addresses, by what runs in
 * `--data DIR`, by the environment's BRINE_CLUSTER, or else by what runs in ./brine-data. Errors: invalid, notFound.
 *
 * @param logLevel least important log lines to show
 */
export async function findCluster(
  address: string | undefined,
  options: ClusterOptions,
  logLevel: LogLevel = "warn",
): Promise<{ platform: Platform; addresses: readonly Address[] }> {
  const platform = realPlatform({ logLevel, logTo: print });
  const named = address ?? (options.data === undefined ? thisProcess.cluster : undefined);
  if (named === undefined) return { platform, addresses: (await requireRunning(platform.disk, options)).addresses };
  if (options.data === undefined) return { platform, addresses: parseAddresses(named) };
  throw new BrineError("invalid", `both ${address} and --data ${options.data} are given`, {
    advice: "give one of them",
  });
}

/** What runs in `--data DIR`. Error: notFound. */
export async function requireRunning(disk: Disk, options: ClusterOptions): Promise<Running> {
  const data = options.data ?? defaultData;
  const running = await readRunning(disk, absolutePath(data));
  if (running !== undefined) return running;
  throw new BrineError("notFound", `no brinefs is running from ${absolutePath(data)}`, {
    advice: `start it with "brine quickstart --data ${data}", or name the cluster: HOST:PORT, --data DIR, or BRINE_CLUSTER=HOST:PORT in the environment`,
  });
}
