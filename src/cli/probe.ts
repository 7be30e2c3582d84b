/** `brine probe`: what a disk really does, and whether it is fit for a store. */
import { Command } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import { type DiskProbe, judgeDisk, probeDisk, wholeProbe } from "../platform/disk-probe.ts";
import { absolutePath, print, setExitCode } from "../platform/processes.ts";
import { jsonOption } from "./options.ts";
import { exitCodes, printJson, printTable, sizeText } from "./output.ts";

export function probeCommand(): Command {
  return new Command("probe")
    .description("Measure what the disk of a directory really does, and say whether it is fit for a store.")
    .argument("<directory>", "where a server's data is to lie; needs 256 MiB of space for some seconds")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
A server does a short form of it at its first start, and keeps the result in DIR/probe.json.
Exit code 1: not fit.

Example:
  brine probe /srv/brine`,
    )
    .action(async (text: string, { json }: { json: boolean }) => {
      const directory = absolutePath(text);
      const probe = await measured(directory);
      const { fit, remarks } = judgeDisk(probe);
      if (json) printJson({ ...probe, fit, remarks });
      else printProbe(directory, probe, fit, remarks);
      if (!fit) setExitCode(exitCodes.failed);
    });
}

async function measured(directory: string): Promise<DiskProbe> {
  try {
    return await probeDisk(directory, wholeProbe);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new BrineError(code === "ENOENT" ? "invalid" : "diskFailed", `${directory} can't be measured: ${code}`, {
      advice: "name a directory that is there, that you may write to, with 256 MiB of free space",
      cause: error,
    });
  }
}

function printProbe(directory: string, probe: DiskProbe, fit: boolean, remarks: readonly string[]): void {
  const { device, syncMs, atomicWriteBytes } = probe;
  const kind = device === undefined ? "no block device" : device.rotational ? "turns" : "doesn't turn";
  const cache = device?.cache === "volatile" ? ", volatile cache" : "";
  const punch = { givesBack: "gives space back", keepsSpace: "keeps the space", unsupported: "not supported" } as const;
  printTable([
    ["file system", `${probe.fileSystem} (${kind}${cache})`],
    ["4 KiB + fdatasync", `${syncMs.median.toFixed(2)} ms; 99 of 100 ≤ ${syncMs.p99.toFixed(2)} ms`],
    ["sequential write", `${sizeText(probe.sequentialWriteBytesPerSecond)}/s, with the sync`],
    ["sequential read", `${sizeText(probe.sequentialReadBytesPerSecond)}/s`],
    ["random writes", `${probe.randomWritesPerSecond}/s of 4 KiB, 16 at once`],
    ["random reads", `${probe.randomReadsPerSecond}/s of 4 KiB, 16 at once`],
    ["O_DIRECT", probe.direct ? "works" : "not supported"],
    ["holes", punch[probe.punch]],
    ["atomic write", atomicWriteBytes === 0 ? "none" : `${sizeText(atomicWriteBytes ?? 0)}, as far as was seen`],
  ]);
  print("");
  print(fit ? `${directory} is fit for a store.` : `${directory} is NOT fit for a store.`);
  for (const remark of remarks) print(`- ${remark}`);
}
