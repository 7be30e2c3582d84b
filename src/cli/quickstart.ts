/**
 * `brine quickstart`: servers, a volume and its mount in one command, for a first look, for tests, and for one machine
 * with several disks. It supervises its children: one that dies is started again.
 */
import { Command } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import { checkMountPoint } from "../fuse/mount.ts";
import { sleep } from "../platform/clock.ts";
import type { LogLevel } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import {
  absolutePath,
  exitNow,
  onStopRequest,
  print,
  printError,
  removeEmptyDirectory,
  runShell,
} from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import { createVolume, readStatus } from "../wire/catalogue/admin.ts";
import { askLeader } from "./admin.ts";
import { lockDirectory } from "./data-directory.ts";
import { metricsPath } from "./metrics-endpoint.ts";
import { parseMountOptions, splitMountOptions } from "./mount-options.ts";
import { defaultPort, logLevelOption, wholeNumber } from "./options.ts";
import { exitCodes, reportError } from "./output.ts";
import { checkPorts, findMetricsAddresses, type QuickstartPlan, readPlan } from "./quickstart-plan.ts";
import { defaultData, readRunning, removeRunning, writeRunning } from "./running.ts";
import { Supervisor } from "./supervisor.ts";

interface QuickstartOptions {
  readonly data: string;
  readonly mount: string;
  readonly servers?: number;
  readonly port?: number;
  readonly options: string[];
  readonly run?: string;
  readonly logLevel: LogLevel;
}

const volume = "home";

/** The servers have just said that they serve; a store needs a few more round trips to be known to the leader. */
const storesTimeoutMs = 30_000;

export function quickstartCommand(): Command {
  return new Command("quickstart")
    .description(
      `Start servers on this machine and mount the volume "${volume}". Stays in the foreground; Ctrl-C stops all.`,
    )
    .option("--data <directory>", "where the servers keep their data", defaultData)
    .option("--mount <directory>", "mount point, made if it is missing", "./mnt")
    .option("--servers <number>", "servers, each with one store (default: 2, or what the data has)", wholeNumber(1, 16))
    .option(
      "--port <port>",
      `port of the first server; the others follow (default: ${defaultPort})`,
      wholeNumber(1, 65_500),
    )
    .option("-o, --options <list>", "mount options: see brine mount --help", splitMountOptions, [])
    .option("--run <command>", "run a shell command in the mount point, then stop with its exit code")
    .addOption(logLevelOption())
    .addHelpText(
      "after",
      `
Example:
  brine quickstart
  brine quickstart --data /tmp/try --mount /tmp/mnt --run 'tar xf /tmp/linux.tar'`,
    )
    .action(async (options: QuickstartOptions) => {
      const platform = realPlatform({ logLevel: options.logLevel, logTo: printError });
      exitNow(await new Quickstart(platform, options).run().catch(reportError));
    });
}

class Quickstart {
  readonly #platform: Platform;
  readonly #options: QuickstartOptions;
  readonly #data: string;
  readonly #mount: string;
  /** What has been started, to be ended in the opposite order. */
  readonly #undo: (() => Promise<void> | void)[] = [];
  /** Where metrics are served: by each server, then by the mount. */
  #metrics: readonly Address[] = [];

  constructor(platform: Platform, options: QuickstartOptions) {
    this.#platform = platform;
    this.#options = options;
    this.#data = absolutePath(options.data);
    this.#mount = absolutePath(options.mount);
  }

  /** Resolves with the exit code when everything has ended again. */
  async run(): Promise<number> {
    const stopRequest = new Promise<string>((stop) => onStopRequest(stop));
    try {
      const plan = await this.#prepare();
      const started = this.#start(plan);
      started.catch(() => {}); // a stop request while it starts wins the race; its error is of no interest then
      const early = await Promise.race([started, stopRequest]);
      if (early !== undefined) return exitCodes.done;
      return await this.#runOrWait(plan, stopRequest);
    } finally {
      while (this.#undo.length > 0) await this.#undo.pop()!();
    }
  }

  /** All that can be refused is refused here, before anything is made. */
  async #prepare(): Promise<QuickstartPlan> {
    parseMountOptions(this.#options.options);
    const { disk } = this.#platform;
    const running = await readRunning(disk, this.#data);
    if (running !== undefined) {
      throw new BrineError("busy", `a quickstart runs from ${this.#data} already (process ${running.pid})`, {
        advice: `stop it with "brine stop --data ${this.#options.data}", or choose other directories with --data and --mount`,
      });
    }
    const plan = await readPlan(this.#platform, this.#data, this.#options);
    const mountPoint = await checkMountPoint(this.#mount, this.#platform.clock);
    await checkPorts(this.#platform, plan);
    if (mountPoint === "missing") {
      await disk.makeDirectory(this.#mount);
      this.#undo.push(() => removeEmptyDirectory(this.#mount));
    }
    await disk.makeDirectory(`${this.#data}/logs`);
    const lock = await lockDirectory(disk, this.#data);
    this.#undo.push(() => lock.release());
    await plan.save();
    return plan;
  }

  async #start(plan: QuickstartPlan): Promise<void> {
    const log = this.#platform.logger.for("quickstart");
    this.#metrics = await findMetricsAddresses(this.#platform, plan);
    let started = 0;
    const supervise = (name: string, logName: string, args: readonly string[]) => {
      const metrics = this.#metrics[started++];
      const watched = metrics === undefined ? [] : ["--metrics", metrics];
      return new Supervisor(this.#platform.clock, log, {
        name,
        arguments: [...args, ...watched, "--log-level", this.#options.logLevel],
        logFile: `${this.#data}/logs/${logName}.log`,
      });
    };
    const [first, ...others] = plan.addresses.map((address, index) =>
      supervise(`server ${index + 1}`, `server-${index + 1}`, [
        ...["server", "--data", `${this.#data}/server-${index + 1}`, "--listen", address],
        ...(index === 0 ? [] : ["--join", plan.addresses[0]!]),
      ]),
    );
    // The metadata server goes first: it would otherwise see the stores leave, one by one, as failures.
    this.#undo.push(async () => {
      await first!.stop();
      await Promise.all(others.map((server) => server.stop()));
    });
    await first!.start();
    await Promise.all(others.map((server) => server.start()));
    await this.#ensureVolume(plan);
    const list = this.#options.options.length === 0 ? [] : ["-o", this.#options.options.join(",")];
    const mount = supervise("mount", "mount", [
      ...["mount", `${plan.addresses[0]}/${volume}`, this.#mount, "--foreground"],
      ...list,
    ]);
    this.#undo.push(() => mount.stop());
    await mount.start();
    await writeRunning(this.#platform.disk, this.#data, { addresses: [plan.addresses[0]!], mount: this.#mount });
    this.#undo.push(() => removeRunning(this.#platform.disk, this.#data));
  }

  async #ensureVolume(plan: QuickstartPlan): Promise<void> {
    const { clock } = this.#platform;
    const leaders = [plan.addresses[0]!];
    const deadlineMs = clock.nowMs() + storesTimeoutMs;
    for (;;) {
      const status = await askLeader(this.#platform, leaders, readStatus, {});
      if (status.volumes.some((one) => one.name === volume)) return;
      const online = status.servers.filter((server) => server.store !== 0 && server.state === "online").length;
      if (online === plan.addresses.length) break;
      if (clock.nowMs() > deadlineMs) {
        throw new BrineError("timedOut", `${online} of ${plan.addresses.length} stores are online`, {
          advice: `see the logs in ${this.#data}/logs`,
        });
      }
      await sleep(clock, 50);
    }
    await askLeader(this.#platform, leaders, createVolume, {
      name: volume,
      replicas: Math.min(2, plan.addresses.length),
      inSyncMin: 1,
      uid: 0,
      gid: 0,
      mode: 0o755,
    });
  }

  async #runOrWait(plan: QuickstartPlan, stopRequest: Promise<string>): Promise<number> {
    const command = this.#options.run;
    if (command !== undefined) {
      const shell = runShell(command, this.#mount);
      void stopRequest.then(() => shell.signal("SIGTERM"));
      return await shell.ended;
    }
    const { data, mount } = this.#options;
    print(`brinefs is mounted at ${this.#mount}

  volume   ${volume}, kept on ${Math.min(2, plan.addresses.length)} of ${plan.addresses.length} servers (${plan.addresses.join(", ")})
  state    npx brine status --data ${data}; npx brine top --data ${data}
  metrics  ${this.#metrics.map((address) => `http://${address}${metricsPath}`).join(" ") || "none: their ports are taken"}
  logs     ${this.#data}/logs
  stop     Ctrl-C here, or: npx brine stop --data ${data}

Try: cp -a src ${mount}/ && ls -l ${mount}/src`);
    await stopRequest;
    print("stopping");
    return exitCodes.done;
  }
}
