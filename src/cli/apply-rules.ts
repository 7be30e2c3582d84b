/** `brine volume apply-rules`: moves what is there already to where the placement rules say, while it is in use. */
import { Command } from "commander";
import { type ApplyProgress, RuleApplier } from "../client/apply-rules.ts";
import { Client } from "../client/client.ts";
import { BrineError } from "../errors/brine-error.ts";
import { print, thisProcess } from "../platform/processes.ts";
import { jsonOption, withCluster } from "./options.ts";
import { printJson, printPlain, sizeText } from "./output.ts";
import { Progress } from "./progress.ts";
import { type ClusterOptions, findCluster } from "./running.ts";

export function applyRulesCommand(): Command {
  return withCluster(new Command("apply-rules").argument("<volume>"))
    .description("Move the chunks of existing files to where the placement rules say now. Files can be used meanwhile.")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
Files whose chunks are in place are left alone: after an interruption it goes on where it was, when it is run again.
A server that fails is waited for.
Example:
  brine volume apply-rules home --data ./brine-data`,
    )
    .action(applyRules);
}

async function applyRules(
  volume: string,
  address: string | undefined,
  options: ClusterOptions & { json: boolean },
): Promise<void> {
  const { platform, addresses: leaders } = await findCluster(address, options, "error");
  const host = `${thisProcess.host} pid ${thisProcess.pid} apply-rules`;
  const client = await Client.mount(platform, { leaders, volume, host });
  let progress: Progress | undefined;
  let total = 0;
  const show = ({ chunks, chunksTotal }: ApplyProgress) => {
    if (progress === undefined || chunksTotal !== total) {
      progress?.stop();
      total = chunksTotal;
      progress = new Progress(platform.clock, `moving ${volume}`, chunksTotal, "chunks");
    }
    progress.update(chunks);
  };
  try {
    const report = await new RuleApplier(client, client.placing(), options.json ? undefined : show).run();
    progress?.finish();
    if (options.json) printJson(report);
    else {
      print(
        report.files === 0 && report.failed === 0
          ? `all ${report.filesSeen} files are where the rules say`
          : `${report.files} of ${report.filesSeen} files moved: ${report.chunks} chunks, ${sizeText(report.bytes)}`,
      );
      for (const failure of report.failures) printPlain(`! ${failure}`);
    }
    if (report.failed === 0) return;
    throw new BrineError("refused", `${report.failed} files are not where the rules say`, {
      advice: "make room for them, and run it again",
    });
  } finally {
    progress?.stop();
    await client.unmount();
  }
}
