/** `brine mount`: serves a volume at a directory, in the background unless told otherwise. */
import { Command } from "commander";
import { Client } from "../client/client.ts";
import { mountFuse } from "../fuse/mount.ts";
import { idleCoresHint } from "../platform/idle-cores.ts";
import { giveBackIdleMemory } from "../platform/idle-memory.ts";
import type { LogLevel } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import {
  absolutePath,
  exitNow,
  onDefect,
  onStopRequest,
  print,
  startBrine,
  tellFailed,
  tellReady,
  thisProcess,
  userDirectories,
} from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import { metricsOption, parseMetricsAddress, startMetrics } from "./metrics-endpoint.ts";
import { mountOptionsHelp, parseMountOptions, splitMountOptions } from "./mount-options.ts";
import { registerMount, unregisterMount } from "./mounts.ts";
import { logLevelOption, parseSource } from "./options.ts";
import { exitCodes, reportError } from "./output.ts";

interface MountOptions {
  readonly options: string[];
  readonly foreground: boolean;
  readonly log?: string;
  readonly metrics?: string;
  readonly logLevel: LogLevel;
}

export function mountCommand(): Command {
  return new Command("mount")
    .description("Mount a volume. Returns when it is mounted.")
    .argument("<source>", "HOST:PORT[,HOST:PORT…]/VOLUME")
    .argument("<directory>", "an empty directory")
    .option("-o, --options <list>", "mount options, see below", splitMountOptions, [])
    .option(...metricsOption)
    .option("--foreground", "stay in the foreground; SIGTERM unmounts", false)
    .option("--log <file>", `log file of a mount in the background (default: under ${userDirectories.logs})`)
    .addOption(logLevelOption())
    .addHelpText(
      "after",
      `
Mount options:
${mountOptionsHelp()}

An ordinary user may mount too, on a directory of his own (with fusermount3, package fuse3). Only he can use it then, unless
allow_other is asked for.

Sizes are written like 512K, 256M, 1G, times like 500ms, 30s, 2m.

Example:
  brine mount 127.0.0.1:7411/home /mnt/home
  brine mount -o soft=30s,dirty-bytes=512M 127.0.0.1:7411/home /mnt/home
  brine unmount /mnt/home`,
    )
    .action(mount);
}

function metricsAddress({ metrics }: MountOptions): Address | undefined {
  return metrics === undefined ? undefined : parseMetricsAddress(metrics, false);
}

async function mount(source: string, directoryText: string, options: MountOptions): Promise<void> {
  const directory = absolutePath(directoryText);
  if (options.foreground) await mountHere(source, directory, options);
  else await mountInBackground(source, directory, options);
}

async function mountInBackground(source: string, directory: string, options: MountOptions): Promise<void> {
  parseSource(source); // a typing error is told here, not in a log file
  const settings = parseMountOptions(options.options);
  const platform = realPlatform({ logLevel: "warn", logTo: print });
  const logFile = options.log ?? `${userDirectories.logs}/mount${directory.replaceAll("/", "-")}.log`;
  await platform.disk.makeDirectory(logFile.slice(0, logFile.lastIndexOf("/")) || "/");
  const metrics = metricsAddress(options) === undefined ? [] : ["--metrics", options.metrics!];
  const list = options.options.length === 0 ? [] : ["-o", options.options.join(",")];
  const child = startBrine(
    ["mount", source, directory, "--foreground", "--log-level", options.logLevel, ...list, ...metrics],
    absolutePath(logFile),
  );
  try {
    await child.ready;
  } catch (error) {
    child.signal("SIGTERM");
    throw error;
  }
  await child.release();
  print(
    `${source} is mounted at ${directory}${settings.readOnly ? ", read-only" : ""} (process ${child.pid}, log ${logFile})`,
  );
}

async function mountHere(source: string, directory: string, options: MountOptions): Promise<void> {
  const platform = realPlatform({ logLevel: options.logLevel, logTo: print });
  const log = platform.logger.for("mount");
  // Until the kernel knows of it there is nothing to undo.
  let stop = async (_reason: string): Promise<void> => exitNow(exitCodes.failed);
  // A mount in the background outlives the command that started it; one that a quickstart owns ends with it.
  onStopRequest((reason) => void stop(reason));
  try {
    const { addresses, volume } = parseSource(source);
    const { featureMask, keepNames, kernelFlags, allowOther, ...settings } = parseMountOptions(options.options);
    await startMetrics(platform, metricsAddress(options));
    const fileSystem = await Client.mount(platform, {
      leaders: addresses,
      volume,
      host: `${thisProcess.host} pid ${thisProcess.pid} ${directory}`,
      ...settings,
    });
    giveBackIdleMemory();
    let stopping = false;
    const end = async (reason: string, unmountFirst: () => Promise<void>) => {
      if (stopping) return;
      stopping = true;
      log.info("unmounting", { reason });
      await unmountFirst();
      await fileSystem.unmount();
      await unregisterMount(platform.disk, directory);
      log.info("unmounted");
      exitNow(exitCodes.done);
    };
    const mountKernel = () =>
      mountFuse({
        directory,
        source,
        readOnly: settings.readOnly,
        fileSystem,
        platform,
        keepNames,
        kernelFlags,
        allowOther,
        ...(featureMask !== undefined && { featureMask }),
      });
    const mounting = mountKernel();
    stop = (reason) => end(reason, async () => (await mounting).unmount());
    let fuse = await mounting.catch(async (error) => {
      await fileSystem.unmount();
      throw error;
    });
    stop = (reason) => end(reason, () => fuse.unmount());
    await registerMount(platform.disk, directory, source, fileSystem.session.clusterId);
    const follow = async () => {
      let reason = await fuse.ended;
      while (fuse.wasCut && !stopping) {
        log.warn("stopped for too long: the guard has cut the mount off, mounting anew", { directory });
        fuse = await mountKernel();
        reason = await fuse.ended;
      }
      await end(reason, async () => {});
    };
    void follow().catch((error) => end(`can't mount anew: ${String(error)}`, async () => {}));
    onDefect((error) => {
      log.error("defect: the process ends", { error: error instanceof Error ? error.stack : String(error) });
      exitNow(exitCodes.failed);
    });
    log.info("mounted", { source, directory });
    const hint = idleCoresHint();
    if (hint !== undefined) log.info(hint);
    tellReady(directory);
  } catch (error) {
    tellFailed(error);
    exitNow(reportError(error));
  }
}
