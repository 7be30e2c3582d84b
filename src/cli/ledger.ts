/** `brine ledger`: the second copy becomes the leader, a lost copy is forgotten, another server becomes the witness. */
import { Command } from "commander";
import { print } from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import { forgetCopy, promoteLedger, setWitness } from "../wire/catalogue/ledger.ts";
import { askLeader, askServer } from "./admin.ts";
import { parseAddress, withCluster } from "./options.ts";
import { type ClusterOptions, findCluster } from "./running.ts";

/** Who has waited for so long is told what for. */
const sayWaitMs = 1_000;

export function ledgerCommand(): Command {
  return new Command("ledger")
    .description("The second copy of the metadata's ledger.")
    .addCommand(promoteCommand())
    .addCommand(forgetCommand())
    .addCommand(witnessCommand());
}

function forgetCommand(): Command {
  return withCluster(new Command("forget").argument("<copy>", "HOST:PORT of the server that had the copy"))
    .description("Go on with one copy of the ledger: the other one is lost for good. Then another server can join.")
    .addHelpText(
      "after",
      `
The witness has to be reachable. The forgotten copy is never believed again; a new server with the metadata role takes its place.

Example:
  brine ledger forget 10.0.0.1:7411 10.0.0.2:7411
  brine server --data /srv/brine --listen 10.0.0.4:7411 --join 10.0.0.2:7411 --roles metadata,store`,
    )
    .action(async (copy: string, address: string | undefined, options: ClusterOptions) => {
      const { platform, addresses } = await findCluster(address, options);
      await askLeader(platform, addresses, forgetCopy, { address: parseAddress(copy) });
      print(
        `the copy at ${copy} is forgotten: the metadata has one copy until another server joins with --roles metadata`,
      );
    });
}

function witnessCommand(): Command {
  return withCluster(new Command("witness").argument("<server>", "HOST:PORT of a server with a store alone"))
    .description("Make another server the witness of the ledger's copies; both copies have to be in step.")
    .addHelpText("after", "\nExample:\n  brine ledger witness 10.0.0.4:7411 10.0.0.1:7411")
    .action(async (server: string, address: string | undefined, options: ClusterOptions) => {
      const { platform, addresses } = await findCluster(address, options);
      await askLeader(platform, addresses, setWitness, { address: parseAddress(server) });
      print(`${server} is the witness now`);
    });
}

function promoteCommand(): Command {
  return new Command("promote")
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
      const server = parseAddress(address);
      const waiting = platform.clock.startTimer(sayWaitMs, () => {
        print(`${server} waits until those who vote say that no other leader can be serving (at most 15 s)`);
      });
      const { term } = await askServer(platform, server, promoteLedger, options).finally(() => waiting.cancel());
      print(`${address} leads now, under term ${term}`);
    });
}
