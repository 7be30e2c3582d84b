/** `brine scrub`: the stores read everything they have, check it, compare it with each other and repair what is bad. */
import { Command } from "commander";
import { sleep } from "../platform/clock.ts";
import type { Platform } from "../platform/platform.ts";
import { exitNow, print } from "../platform/processes.ts";
import { type ClusterStatus, orderScrub, readStatus } from "../wire/catalogue/admin.ts";
import { AdminConnection } from "./admin.ts";
import { jsonOption, withCluster } from "./options.ts";
import { exitCodes, plain, printJson, sizeText } from "./output.ts";
import { Progress } from "./progress.ts";
import { type ClusterOptions, findCluster } from "./running.ts";

const lookMs = 250;
/** Of a store that was asked: a heartbeat takes half a second. */
const beginMsMax = 10_000;

interface ScrubOptions extends ClusterOptions {
  readonly store?: string;
  readonly volume?: string;
  readonly watch: boolean;
  readonly json: boolean;
}

type Server = ClusterStatus["servers"][number];

export function scrubCommand(): Command {
  return withCluster(new Command("scrub"))
    .description("Have the stores read everything from their disks, check it, compare it and repair it, now.")
    .option("--store <store>", "only what this one has: its number or address, see brine store list")
    .option("--volume <name>", "only what is of this volume")
    .option("--watch", "show how far it is, return when it is done, and say what it has found", false)
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Each store does this by itself, too: every block within 14 days (brine server --scrub-days). A scrub goes on after
a restart of its store. Its rate is that of brine server --scrub-rate, a quarter of it while clients are at work.
Exit code 1 with --watch if bytes have no good copy left; "brine status" names their files.

Example:
  brine scrub --data ./brine-data --watch
  brine scrub 127.0.0.1:7411 --store 2`,
    )
    .action(async (address: string | undefined, options: ScrubOptions) => {
      const { platform, addresses } = await findCluster(address, options);
      const connection = new AdminConnection(platform, addresses);
      try {
        const { store = "", volume = "" } = options;
        const before = scrubsOf(await connection.ask(readStatus, {}));
        const { stores } = await connection.ask(orderScrub, { store, volume });
        if (!options.watch) {
          if (options.json) printJson({ stores });
          else print(`store ${stores.join(", ")}: being scrubbed; "brine status --watch" shows how far it is`);
          return;
        }
        const status = await watch(platform, connection, stores, before, options.json);
        const servers = status.servers.filter((one) => stores.includes(one.store));
        const lost = status.badRanges.filter(({ isLost }) => isLost);
        if (options.json) printJson({ stores: servers, badRanges: status.badRanges });
        else printResult(servers, status);
        exitNow(lost.length > 0 ? exitCodes.failed : exitCodes.done);
      } finally {
        connection.close();
      }
    });
}

/** When the last ordered scrub of each store ended: 0 if it runs, −1 without one. */
function scrubsOf({ servers }: ClusterStatus): Map<number, number> {
  return new Map(servers.map(({ store, scrub }) => [store, scrub?.isOrdered === true ? scrub.endedMs : -1]));
}

/** Until all of them are done, or are gone. */
async function watch(
  platform: Platform,
  connection: AdminConnection,
  stores: readonly number[],
  before: ReadonlyMap<number, number>,
  quiet: boolean,
): Promise<ClusterStatus> {
  let progress: Progress | undefined;
  const sinceMs = platform.clock.nowMs();
  for (;;) {
    await sleep(platform.clock, lookMs);
    const status = await connection.ask(readStatus, {});
    const mine = status.servers.filter(({ store, state }) => stores.includes(store) && state === "online");
    const hasBegun = ({ store, scrub }: Server) =>
      scrub?.isOrdered === true && (scrub.endedMs === 0 || scrub.endedMs !== before.get(store));
    const isDone = (server: Server) => server.scrub !== undefined && hasBegun(server) && server.scrub.endedMs !== 0;
    if (mine.every(isDone)) {
      progress?.finish();
      return status;
    }
    if (!mine.every(hasBegun) && platform.clock.nowMs() - sinceMs < beginMsMax) continue;
    const sum = (what: "doneBytes" | "totalBytes") => mine.reduce((all, { scrub }) => all + (scrub?.[what] ?? 0), 0);
    const totalMib = Math.ceil(sum("totalBytes") / 1024 ** 2);
    if (totalMib > 0 && !quiet) {
      progress ??= new Progress(platform.clock, "scrub", totalMib, "MiB");
      progress.update(Math.floor(sum("doneBytes") / 1024 ** 2));
    }
  }
}

function printResult(servers: readonly Server[], { problems, badRanges }: ClusterStatus): void {
  for (const { store, scrub } of servers) {
    if (scrub === undefined) continue;
    const { doneBytes, badBlocks, repairedBlocks, differingBlocks } = scrub;
    const found = badBlocks === 0 ? "no bad blocks" : `${badBlocks} bad blocks, ${repairedBlocks} of them repaired`;
    const taken = differingBlocks === 0 ? "" : `, ${differingBlocks} missing or outdated blocks taken from others`;
    print(`store ${store}: ${sizeText(doneBytes)} read: ${found}${taken}`);
  }
  if (badRanges.length > 0) for (const problem of problems) print(`! ${plain(problem)}`);
}
