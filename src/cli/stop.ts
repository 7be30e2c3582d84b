/** `brine stop`: ends a quickstart or a server cleanly. */
import { Command } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import { sleep } from "../platform/clock.ts";
import { absolutePath, isRunning, print, signalProcess } from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import { stopServer } from "../wire/catalogue/admin.ts";
import { askServer } from "./admin.ts";
import { parseAddress, wholeNumber, withCluster } from "./options.ts";
import { defaultData, requireRunning } from "./running.ts";

export function stopCommand(): Command {
  return withCluster(new Command("stop"), defaultData)
    .description("Stop a quickstart (unmounts, then stops its servers) or a server.")
    .option("--timeout <seconds>", "give up waiting after this long", wholeNumber(1, 86_400), 60)
    .addHelpText("after", "\nExample:\n  brine stop --data ./brine-data")
    .action(async (address: string | undefined, options: { data?: string; timeout: number }) => {
      const platform = realPlatform({ logLevel: "warn", logTo: print });
      if (address !== undefined) {
        await askServer(platform, parseAddress(address), stopServer, { force: false });
        print(`${address} is stopping`);
        return;
      }
      const { clock, disk } = platform;
      const running = await requireRunning(disk, options);
      signalProcess(running.pid, "SIGTERM");
      const deadlineMs = clock.nowMs() + options.timeout * 1000;
      while (isRunning(running.pid, running.start)) {
        if (clock.nowMs() > deadlineMs) {
          throw new BrineError("timedOut", `process ${running.pid} has not ended yet`, { advice: "see its log" });
        }
        await sleep(clock, 50);
      }
      print(`stopped what ran from ${absolutePath(options.data ?? defaultData)}`);
    });
}
