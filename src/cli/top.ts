/** `brine top`: rates and latencies of the whole cluster, and where the time goes; refreshed each second on a terminal. */
import { Command } from "commander";
import type { Infer } from "../codec/schema.ts";
import { BrineError } from "../errors/brine-error.ts";
import { sleep } from "../platform/clock.ts";
import type { Platform } from "../platform/platform.ts";
import { clearTerminal, exitNow, onStopRequest, print, thisProcess } from "../platform/processes.ts";
import { readClusterMetrics } from "../wire/catalogue/admin.ts";
import { AdminConnection } from "./admin.ts";
import { operationTable, partTable, processTable, requestTable } from "./figure-tables.ts";
import { type Activity, between, operationRows, partRows, processRows, requestRows } from "./figures.ts";
import { jsonOption, withCluster } from "./options.ts";
import { exitCodes, oneLine, plain, printJson, printTable } from "./output.ts";
import { type ClusterOptions, findCluster } from "./running.ts";

const intervalMs = 1_000;
/** What fits on a screen and takes the most time. */
const requestsShown = 12;
const processesShown = 16;

const everything = { lastMinute: false, session: 0 };
type Sample = Infer<typeof readClusterMetrics.response>;

interface TopOptions extends ClusterOptions {
  readonly once: boolean;
  readonly json: boolean;
}

export function topCommand(): Command {
  return withCluster(new Command("top"))
    .description("Show what the cluster does: rate and latency of each operation, and whose time it is.")
    .option("--once", "print one second's figures and end (also where the output is no terminal)", false)
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
The time of an operation is the client's own, a lease's (others had to give it back), the network's, the leader's, the
ledger's, or a store's. P50 and P99: half, and 99 of 100, took no longer. docs/observability.md explains the rest.
Example:
  brine top --data ./brine-data`,
    )
    .action(top);
}

async function top(address: string | undefined, options: TopOptions): Promise<void> {
  const { platform, addresses } = await findCluster(address, options);
  const connection = new AdminConnection(platform, addresses);
  if (options.once || options.json || thisProcess.terminalColumns === undefined) {
    const before = await connection.ask(readClusterMetrics, everything);
    await sleep(platform.clock, intervalMs);
    const after = await connection.ask(readClusterMetrics, everything);
    const activity = between(before.processes, after.processes);
    if (options.json) printJson(figuresOf(activity, after));
    else printFigures(platform, activity, after);
    connection.close();
    return;
  }
  onStopRequest(() => exitNow(exitCodes.done));
  await refresh(platform, connection);
}

/** Until it is interrupted. A leader that is away is waited for: people look here when something is wrong. */
async function refresh(platform: Platform, connection: AdminConnection): Promise<never> {
  let before: Sample | undefined;
  for (;;) {
    try {
      const after = await connection.ask(readClusterMetrics, everything);
      if (before !== undefined) {
        clearTerminal();
        printFigures(platform, between(before.processes, after.processes), after);
      }
      before = after;
    } catch (error) {
      if (!(error instanceof BrineError)) throw error;
      clearTerminal();
      print(`! ${oneLine(error)}`);
      before = undefined;
    }
    await sleep(platform.clock, intervalMs);
  }
}

function figuresOf(all: readonly Activity[], { silent, omitted }: { silent: readonly string[]; omitted: number }) {
  return {
    operations: operationRows(all),
    parts: partRows(all),
    requests: requestRows(all),
    processes: processRows(all),
    silent,
    omitted,
  };
}

function printFigures(
  platform: Platform,
  all: readonly Activity[],
  { silent, omitted }: { silent: readonly string[]; omitted: number },
): void {
  const clients = all.filter(({ role }) => role === "client").length;
  const time = new Date(Number(platform.clock.wallNs() / 1_000_000n)).toISOString().slice(11, 19);
  print(`${time} UTC, ${all.length} processes, ${clients} of them mounts`);
  for (const table of [
    operationTable(all),
    partTable(all),
    requestTable(all, requestsShown),
    processTable(all, processesShown),
  ]) {
    if (table.length === 1) continue;
    print("");
    printTable(table);
  }
  if (silent.length + omitted > 0) print("");
  for (const line of silent) print(`! no answer from ${plain(line)}`);
  if (omitted > 0) print(`! ${omitted} processes are left out: too many for one answer`);
}
