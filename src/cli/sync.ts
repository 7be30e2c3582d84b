/** `brine sync`: everything that was done on a mount so far is durable when it returns. */
import { Command } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import { DiskError } from "../platform/disk.ts";
import { absolutePath, print } from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import { findMount } from "./mounts.ts";

export function syncCommand(): Command {
  return new Command("sync")
    .description(
      "Make everything durable that was done on the mount of a directory. (sync(1) does not reach a FUSE daemon.)",
    )
    .argument("<directory>", "a mount point")
    .addHelpText("after", "\nExample:\n  brine sync /mnt/home")
    .action(async (text: string) => {
      const directory = absolutePath(text);
      const { disk } = realPlatform({ logLevel: "warn", logTo: print });
      if ((await findMount(disk, directory)) === undefined) {
        throw new BrineError("notFound", `no brinefs mount is served at ${directory}`, {
          advice: "name its mount point",
        });
      }
      try {
        // fsync of the root directory means "everything" (docs/promises.md, P2).
        await disk.syncDirectory(directory);
      } catch (error) {
        if (!(error instanceof DiskError)) throw error;
        throw new BrineError("diskFailed", `${directory} could not be synced: ${error.code}`, { cause: error });
      }
    });
}
