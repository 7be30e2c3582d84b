/** `brine server`: metadata and store roles in one process. */
import { Command, InvalidArgumentError, Option } from "commander";
import { messageOf } from "../errors/message.ts";
import { giveBackIdleMemory } from "../platform/idle-memory.ts";
import {
  exitNow,
  onDefect,
  onStopRequest,
  outliveOutput,
  print,
  tellFailed,
  tellReady,
} from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import { metricsOption } from "./metrics-endpoint.ts";
import { addLabel, defaultPort, logLevelOption } from "./options.ts";
import { exitCodes, reportError } from "./output.ts";
import { parseRoles } from "./roles.ts";
import { type ServerOptions, startServer } from "./server-start.ts";
import { parseBytes, parseMs } from "./units.ts";

/** What is under way ends in milliseconds; a disk that hangs would hold the stop up for as long as it likes. */
const stopPatienceMs = 30_000;

export function serverCommand(): Command {
  return new Command("server")
    .description("Run a server: metadata, a store, or both. Stays in the foreground; SIGTERM stops it cleanly.")
    .requiredOption("--data <directory>", "where its data is kept; one directory (and one disk) a server")
    .option("--listen <host:port>", "address that clients and other servers reach it at", `127.0.0.1:${defaultPort}`)
    .addOption(
      new Option("--roles <roles>", "metadata, store, or both (default: both; with --join: store)").argParser(
        parseRoles,
      ),
    )
    .option(
      "--join <host:port,…>",
      "server(s) of the cluster to join: they know who leads it. Without it a cluster of its own is made",
    )
    .option(...metricsOption)
    .option(
      "--label <key=value>",
      "what a store is, for placement rules and failure domains (rack=r1, disk=ssd; host: default that of --listen); may come several times",
      addLabel,
      [],
    )
    .option(
      "--heal-rate <bytes>",
      "most bytes a second that a store copies from others: 512M; a quarter under load",
      rate,
    )
    .option("--scrub-days <days>", "a store reads and checks each block within this time (default: 14)", days)
    .option(
      "--scrub-rate <bytes>",
      "most bytes a second that a store reads for brine scrub: 200M; a quarter under load",
      rate,
    )
    .option("--rebuild-after <time>", "metadata: when a store that is away is given up (default: 10m)", duration)
    .option("--accept-loss", "serve what is left of a damaged store, where it has the only copy", false)
    .addOption(
      new Option(
        "--ledger-copies <rule>",
        "of a server that joins with metadata, when one of the two copies is lost: changes wait for it (required), or the other one goes on (preferred)",
      )
        .choices(["required", "preferred"])
        .default("preferred"),
    )
    .option("--insecure", "listen on addresses that other machines can reach, without authentication", false)
    .addOption(logLevelOption())
    .addHelpText(
      "after",
      `
Example:
  brine server --data /srv/brine --listen 127.0.0.1:7411
  brine server --data /srv/brine-2 --listen 127.0.0.1:7412 --join 127.0.0.1:7411
  brine server --data /srv/brine-2 --listen 127.0.0.1:7412 --join 127.0.0.1:7411 --roles metadata,store`,
    )
    .action(runServer);
}

function rate(text: string): number {
  const value = parseBytes(text);
  if (value === undefined || value < 1024 ** 2) throw new InvalidArgumentError("Write it as 200M, at least 1M.");
  return value;
}

function days(text: string): number {
  const value = Number(text);
  if (!(value >= 1 && value <= 365)) throw new InvalidArgumentError("Write a number of days, 1 to 365.");
  return value;
}

function duration(text: string): number {
  const value = parseMs(text);
  if (value === undefined || value < 1_000) throw new InvalidArgumentError("Write it as 600s or 10m, at least 1s.");
  return value;
}

async function runServer(options: ServerOptions): Promise<void> {
  outliveOutput();
  const platform = realPlatform({ logLevel: options.logLevel, logTo: print });
  const log = platform.logger.for("server");
  try {
    const server = await startServer(platform, options);
    giveBackIdleMemory();
    let stopping = false;
    const stop = async (reason: string) => {
      if (stopping) return;
      stopping = true;
      log.info("stopping", { reason });
      platform.clock.startTimer(stopPatienceMs, () => {
        log.error("the stop takes too long: the process ends as by a kill, which loses nothing", {
          ms: stopPatienceMs,
        });
        exitNow(exitCodes.failed);
      });
      try {
        await server.stop();
      } catch (error) {
        const reason = messageOf(error);
        log.error("stopped, but not in order: nothing is lost by it, the next start takes longer", { reason });
        exitNow(exitCodes.failed);
      }
      log.info("stopped");
      exitNow(exitCodes.done);
    };
    onStopRequest((reason) => void stop(reason));
    server.onStopRequested((reason) => void stop(reason));
    server.onFailure((error) => {
      log.error("the metadata role has ended: the process ends, and is to be started again", { reason: error.message });
      exitNow(exitCodes.failed);
    });
    onDefect((error) => {
      log.error("defect: the process ends", { error: error instanceof Error ? error.stack : String(error) });
      exitNow(exitCodes.failed);
    });
    tellReady(server.address);
  } catch (error) {
    tellFailed(error);
    exitNow(reportError(error));
  }
}
