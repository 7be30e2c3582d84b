/** Options that several subcommands share, and the checks of their values. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import { type Label, labelsMax } from "../namespace/model.ts";
import { type LogLevel, logLevels } from "../platform/logger.ts";
import type { Address } from "../platform/network.ts";

/** Port of a cluster's first server. */
export const defaultPort = 7411;

export function logLevelOption(): Option {
  return new Option("--log-level <level>", "least important log lines to show").choices([...logLevels]).default("info");
}

export function jsonOption(): Option {
  return new Option("--json", "print JSON for scripts").default(false);
}

const clusterDefault = "$BRINE_CLUSTER, else ./brine-data";

/** Of a command that finds its cluster as findCluster in running.ts does. */
export function dataOption(standard = clusterDefault): Option {
  return new Option(
    "--data <directory>",
    `data directory of a cluster or server on this machine (default: ${standard})`,
  );
}

/** `--data DIR` or an address: which cluster is meant (see findCluster in running.ts). */
export function withCluster(command: Command, standard = clusterDefault): Command {
  return command
    .argument("[address]", "HOST:PORT[,HOST:PORT…] of any server of the cluster, or of several")
    .addOption(dataOption(standard));
}

export interface LogOptions {
  readonly logLevel: LogLevel;
}

export function wholeNumber(least: number, most: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!Number.isInteger(value) || value < least || value > most) {
      throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`);
    }
    return value;
  };
}

/** For an option or argument `KEY=VALUE` that may come several times; the last value of a key counts. */
export function addLabel(text: string, before: readonly Label[] = []): Label[] {
  const match = /^([A-Za-z0-9._-]{1,64})=([^\s=]{1,128})$/.exec(text);
  if (match === null || before.length === labelsMax) throw new InvalidArgumentError("Write it as KEY=VALUE.");
  return [...before.filter(({ key }) => key !== match[1]), { key: match[1]!, value: match[2]! }];
}

/** A checked HOST:PORT; the port may be left out. */
export function parseAddress(text: string): Address {
  const match = /^(\[[0-9a-fA-F:.]+\]|[^:[\]/\s]+)(?::(\d{1,5}))?$/.exec(text);
  const port = match?.[2] === undefined ? defaultPort : Number(match[2]);
  if (match === null || port < 1 || port > 65_535) {
    throw new BrineError("invalid", `"${text}" is not an address`, { advice: "write it as HOST:PORT" });
  }
  return `${match[1]}:${port}`;
}

/** HOST:PORT[,HOST:PORT…]. Error: invalid. */
export function parseAddresses(text: string): Address[] {
  return text.split(",").map(parseAddress);
}

/** HOST:PORT[,HOST:PORT…]/VOLUME */
export function parseSource(text: string): { addresses: Address[]; volume: string } {
  const slash = text.indexOf("/");
  const volume = text.slice(slash + 1);
  if (slash <= 0 || volume === "" || volume.includes("/")) {
    throw new BrineError("invalid", `"${text}" names no volume`, { advice: "write it as HOST:PORT/VOLUME" });
  }
  return { addresses: parseAddresses(text.slice(0, slash)), volume };
}

/** Only this machine can reach such an address. */
export function isLoopback(address: Address): boolean {
  const host = address.slice(0, address.lastIndexOf(":"));
  return host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
}
