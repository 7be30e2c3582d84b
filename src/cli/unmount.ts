/** `brine unmount`: returns when everything is durable and the directory is free. */
import { Command } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import { sleep } from "../platform/clock.ts";
import { absolutePath, isRunning, print, signalProcess } from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import { findMount } from "./mounts.ts";
import { wholeNumber } from "./options.ts";

export function unmountCommand(): Command {
  return new Command("unmount")
    .description("Unmount a volume. Returns when everything is durable and the mount's process has ended.")
    .argument("<directory>", "where it is mounted")
    .option("--timeout <seconds>", "give up waiting after this long; the process goes on", wholeNumber(1, 86_400), 60)
    .addHelpText("after", "\nExample:\n  brine unmount /mnt/home")
    .action(async (text: string, options: { timeout: number }) => {
      const directory = absolutePath(text);
      const { clock, disk } = realPlatform({ logLevel: "warn", logTo: print });
      const mount = await findMount(disk, directory);
      if (mount === undefined) {
        throw new BrineError("notFound", `no brinefs mount is served at ${directory}`, {
          advice: "see /proc/mounts for what is mounted; a mount whose process has died is cleared by mounting again",
        });
      }
      signalProcess(mount.pid, "SIGTERM");
      const deadlineMs = clock.nowMs() + options.timeout * 1000;
      while (isRunning(mount.pid, mount.start)) {
        if (clock.nowMs() > deadlineMs) {
          throw new BrineError("timedOut", `the mount at ${directory} (process ${mount.pid}) has not ended yet`, {
            advice: "its servers may be unreachable: see its log, or end the process (what is not durable is lost)",
          });
        }
        await sleep(clock, 50);
      }
      print(`${directory} is unmounted`);
    });
}
