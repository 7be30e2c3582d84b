/** The real platform: Linux's clocks, disks and network, SQLite. */
import { Metrics } from "../metrics/metrics.ts";
import type { LogLevel } from "./logger.ts";
import type { Platform } from "./platform.ts";
import { realClock } from "./real-clock.ts";
import { realDisk } from "./real-disk.ts";
import { realLogger } from "./real-logger.ts";
import { realNetwork } from "./real-network.ts";
import { realRandom } from "./real-random.ts";
import { sqliteEngine } from "./sqlite.ts";

/**
 * @param options.logLevel least important events to log; default `info`
 * @param options.logTo takes each line, without its line end; default standard error
 */
export function realPlatform(options: { logLevel?: LogLevel; logTo?: (line: string) => void } = {}): Platform {
  const logTo = options.logTo ?? ((line: string) => void process.stderr.write(`${line}\n`));
  return {
    clock: realClock,
    random: realRandom,
    disk: realDisk,
    network: realNetwork,
    keyValue: sqliteEngine,
    logger: realLogger(options.logLevel ?? "info", logTo),
    metrics: new Metrics(),
  };
}
