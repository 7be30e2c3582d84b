/** The program `brine`: one file a subcommand, this one puts them together. */
import { Command, CommanderError } from "commander";
import { exitNow, thisProcess } from "../platform/processes.ts";
import { exitCodes, reportError } from "./output.ts";

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

/** In the order of the help. Each is loaded when it is called: all of them take three times as long to start. */
const commands: Readonly<Record<string, () => Promise<Command>>> = {
  quickstart: async () => (await import("./quickstart.ts")).quickstartCommand(),
  server: async () => (await import("./server.ts")).serverCommand(),
  mount: async () => (await import("./mount.ts")).mountCommand(),
  unmount: async () => (await import("./unmount.ts")).unmountCommand(),
  "install-mount-helper": async () => (await import("./install-mount-helper.ts")).installMountHelperCommand(),
  stop: async () => (await import("./stop.ts")).stopCommand(),
  volume: async () => (await import("./volume.ts")).volumeCommand(),
  quota: async () => (await import("./quota.ts")).quotaCommand(),
  store: async () => (await import("./store.ts")).storeCommand(),
  status: async () => (await import("./status.ts")).statusCommand(),
  waits: async () => (await import("./waits.ts")).waitsCommand(),
  why: async () => (await import("./why.ts")).whyCommand(),
  where: async () => (await import("./where.ts")).whereCommand(),
  top: async () => (await import("./top.ts")).topCommand(),
  sync: async () => (await import("./sync.ts")).syncCommand(),
  ls: async () => (await import("./files/looks.ts")).lsCommand(),
  cat: async () => (await import("./files/looks.ts")).catCommand(),
  put: async () => (await import("./files/copies.ts")).putCommand(),
  get: async () => (await import("./files/copies.ts")).getCommand(),
  cp: async () => (await import("./files/copies.ts")).cpCommand(),
  rm: async () => (await import("./files/looks.ts")).rmCommand(),
  check: async () => (await import("./check.ts")).checkCommand(),
  scrub: async () => (await import("./scrub.ts")).scrubCommand(),
  probe: async () => (await import("./probe.ts")).probeCommand(),
  ledger: async () => (await import("./ledger.ts")).ledgerCommand(),
  "backup-metadata": async () => (await import("./backup-metadata.ts")).backupMetadataCommand(),
  "restore-metadata": async () => (await import("./restore-metadata.ts")).restoreMetadataCommand(),
};

const [, , called = ""] = thisProcess.arguments;
for (const name of Object.hasOwn(commands, called) ? [called] : Object.keys(commands)) {
  const command = await commands[name]!();
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
