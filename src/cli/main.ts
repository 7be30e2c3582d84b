/** The program `brine`: one file a subcommand, this one puts them together. */
import { Command, CommanderError } from "commander";
import { exitNow, thisProcess } from "../platform/processes.ts";
import { backupMetadataCommand } from "./backup-metadata.ts";
import { checkCommand } from "./check.ts";
import { cpCommand, getCommand, putCommand } from "./files/copies.ts";
import { catCommand, lsCommand, rmCommand } from "./files/looks.ts";
import { installMountHelperCommand } from "./install-mount-helper.ts";
import { ledgerCommand } from "./ledger.ts";
import { mountCommand } from "./mount.ts";
import { exitCodes, reportError } from "./output.ts";
import { probeCommand } from "./probe.ts";
import { quickstartCommand } from "./quickstart.ts";
import { quotaCommand } from "./quota.ts";
import { restoreMetadataCommand } from "./restore-metadata.ts";
import { scrubCommand } from "./scrub.ts";
import { serverCommand } from "./server.ts";
import { statusCommand } from "./status.ts";
import { stopCommand } from "./stop.ts";
import { storeCommand } from "./store.ts";
import { syncCommand } from "./sync.ts";
import { topCommand } from "./top.ts";
import { unmountCommand } from "./unmount.ts";
import { volumeCommand } from "./volume.ts";
import { waitsCommand } from "./waits.ts";
import { whereCommand } from "./where.ts";
import { whyCommand } from "./why.ts";

const program = new Command("brine")
  .description(
    "brinefs: a parallel network file system. Several servers hold every byte; clients mount it as a directory.",
  )
  .version("0.1.0")
  .exitOverride()
  .configureHelp({ showGlobalOptions: true })
  .addHelpText(
    "after",
    `
Examples:
  brine quickstart                                   two servers and a mount at ./mnt, in one command
  brine status --data ./brine-data                   how it is
  brine why ./mnt/file                               why it is slow, and who has it
  brine mount 127.0.0.1:7411/home /mnt/home          mount a volume of a cluster

Commands that ask a cluster take the address of any server of it, or --data DIR. Without either they ask that of
the environment's BRINE_CLUSTER=HOST:PORT[,HOST:PORT…], else the one in ./brine-data.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no brinefs there.`,
  );

for (const command of [
  quickstartCommand(),
  serverCommand(),
  mountCommand(),
  unmountCommand(),
  installMountHelperCommand(),
  stopCommand(),
  volumeCommand(),
  quotaCommand(),
  storeCommand(),
  statusCommand(),
  waitsCommand(),
  whyCommand(),
  whereCommand(),
  topCommand(),
  syncCommand(),
  lsCommand(),
  catCommand(),
  putCommand(),
  getCommand(),
  cpCommand(),
  rmCommand(),
  checkCommand(),
  scrubCommand(),
  probeCommand(),
  ledgerCommand(),
  backupMetadataCommand(),
  restoreMetadataCommand(),
]) {
  // Subcommands that were built apart don't inherit exitOverride; without it usage errors would exit with 1.
  exitsAsProgram(command);
  program.addCommand(command);
}

function exitsAsProgram(command: Command): void {
  command.exitOverride();
  for (const one of command.commands) exitsAsProgram(one);
}

try {
  await program.parseAsync([...thisProcess.arguments]);
} catch (error) {
  if (error instanceof CommanderError) exitNow(error.exitCode === 0 ? 0 : exitCodes.usage);
  exitNow(reportError(error));
}
