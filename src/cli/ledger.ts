/** `brine ledger promote`: the second copy of the ledger becomes the leader, after the loss of the first. */
import { Command } from "commander";
import { print } from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import { promoteLedger } from "../wire/catalogue/ledger.ts";
import { askServer } from "./admin.ts";
import { parseAddress } from "./options.ts";

export function ledgerCommand(): Command {
  const promote = new Command("promote")
    .description("Make the server that keeps the ledger's second copy the leader, after the first one was lost.")
    .argument("<address>", "HOST:PORT of the server with the copy")
    .option("--old-leader-is-off", "without a witness: the old leader's machine is off, and stays off", false)
    .option("--accept-loss", "go on with a copy that is known to lack acknowledged changes", false)
    .addHelpText(
      "after",
      `
Waits until the old leader can't be serving any more (some seconds). The old leader becomes the copy when it comes back.

Example:
  brine ledger promote 10.0.0.2:7411
  brine ledger promote 10.0.0.2:7411 --old-leader-is-off`,
    )
    .action(async (address: string, options: { oldLeaderIsOff: boolean; acceptLoss: boolean }) => {
      const platform = realPlatform({ logLevel: "warn", logTo: print });
      const { term } = await askServer(platform, parseAddress(address), promoteLedger, options);
      print(`${address} leads now, under term ${term}`);
    });
  return new Command("ledger").description("The second copy of the metadata's ledger.").addCommand(promote);
}
