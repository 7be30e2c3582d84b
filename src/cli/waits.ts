/** `brine waits`: who waits for whom, in the whole cluster. */
import { Command } from "commander";
import { print } from "../platform/processes.ts";
import { type ClusterWait, readClusterWaits } from "../wire/catalogue/admin.ts";
import { askLeader } from "./admin.ts";
import { timeText } from "./figure-tables.ts";
import { jsonOption, withCluster } from "./options.ts";
import { plain, printJson, printTable } from "./output.ts";
import { type ClusterOptions, findCluster } from "./running.ts";

export function waitsCommand(): Command {
  return withCluster(new Command("waits"))
    .description("Show everything that waits in the cluster: who, in which operation, for whom, and for how long.")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Each wait has an owner: the holder of a lease, a store, the ledger's disk or its copy, a client that has not come back.
Example:
  brine waits --data ./brine-data`,
    )
    .action(async (address: string | undefined, options: ClusterOptions & { json: boolean }) => {
      const { platform, addresses } = await findCluster(address, options);
      const found = await askLeader(platform, addresses, readClusterWaits, {});
      if (options.json) printJson(found);
      else printWaits(found, "Nothing waits.");
    });
}

/** @param none what is said if there are none */
export function printWaits(
  { waits, silent }: { waits: readonly ClusterWait[]; silent: readonly string[] },
  none: string,
): void {
  if (waits.length === 0) print(none);
  else printTable([["FOR", "WHO", "OPERATION", "ON", "WAITS FOR"], ...waits.map(cells)]);
  if (silent.length > 0) print("");
  for (const line of silent) print(`! no answer from ${plain(line)}`);
}

function cells({ forMs, who, operation, waitsFor, ...about }: ClusterWait): string[] {
  return [timeText(forMs), who, operation, aboutText(about), waitsFor];
}

/** `home:/path`, or the inode's number where it has no path. */
function aboutText({ volume, inode, path }: Pick<ClusterWait, "volume" | "inode" | "path">): string {
  if (inode === 0) return "";
  return path === "" ? `${volume}: inode ${inode}` : `${volume}:${path}`;
}
