/** `brine volume`: create, list, show, change and delete volumes. */
import { Command } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import type { VolumeRecord } from "../namespace/model.ts";
import { sleep } from "../platform/clock.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { print, thisProcess } from "../platform/processes.ts";
import { createVolume, deleteVolume, readStatus, setCopies } from "../wire/catalogue/admin.ts";
import { changeRules } from "../wire/catalogue/placement.ts";
import { askLeader } from "./admin.ts";
import { applyRulesCommand } from "./apply-rules.ts";
import { jsonOption, wholeNumber, withCluster } from "./options.ts";
import { printJson, printTable } from "./output.ts";
import { Progress } from "./progress.ts";
import { rulesCommand } from "./rules.ts";
import { type ClusterOptions, findCluster } from "./running.ts";

interface ShownOptions extends ClusterOptions {
  readonly json: boolean;
}

interface CopiesWanted {
  readonly replicas: number;
  readonly inSyncMin: number;
}

const inSyncMinHelp = "a write is done only with so many copies in sync, 1 to the replicas; with fewer it waits";

export function volumeCommand(): Command {
  return new Command("volume")
    .description("Create, list, show, change and delete volumes.")
    .addCommand(createCommand())
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(setCommand())
    .addCommand(rulesCommand())
    .addCommand(applyRulesCommand())
    .addCommand(deleteCommand())
    .addHelpText("after", "\nExample:\n  brine volume create photos --data ./brine-data --replicas 2");
}

function createCommand(): Command {
  return withCluster(new Command("create").argument("<name>", "1 to 64 of A–Z a–z 0–9 . _ -"))
    .description("Make a volume; its root belongs to the user who runs this.")
    .option("--replicas <number>", "copies of every byte, on as many stores", wholeNumber(1, 8), 2)
    .option("--in-sync-min <number>", inSyncMinHelp, wholeNumber(1, 8), 1)
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  brine volume create photos 127.0.0.1:7411")
    .action(async (name: string, address: string | undefined, options: ShownOptions & CopiesWanted) => {
      const { platform, addresses } = await findCluster(address, options);
      const { uid, gid } = thisProcess;
      const { volume } = await askLeader(platform, addresses, createVolume, {
        name,
        replicas: options.replicas,
        inSyncMin: options.inSyncMin,
        uid,
        gid,
        mode: 0o755,
      });
      if (options.json) printJson(volume);
      else print(`volume ${name} is ready: mount it with "brine mount ${addresses.join(",")}/${name} DIRECTORY"`);
    });
}

function listCommand(): Command {
  return withCluster(new Command("list"))
    .description("List the volumes.")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  brine volume list --data ./brine-data")
    .action(async (address: string | undefined, options: ShownOptions) => {
      const volumes = await readVolumes(address, options);
      if (options.json) {
        printJson(volumes);
        return;
      }
      printTable([
        ["NAME", "REPLICAS", "IN SYNC, MIN", "INODES", "CHUNKS"],
        ...volumes.map((volume) => [
          volume.deleted ? `${volume.name} (being deleted)` : volume.name,
          String(volume.replicas),
          String(volume.inSyncMin),
          String(volume.inodeCount),
          String(volume.chunkCount),
        ]),
      ]);
    });
}

function showCommand(): Command {
  return withCluster(new Command("show").argument("<name>"))
    .description("Show one volume.")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  brine volume show home --data ./brine-data")
    .action(async (name: string, address: string | undefined, options: ShownOptions) => {
      const volume = (await readVolumes(address, options)).find((one) => one.name === name);
      if (volume === undefined) {
        throw new BrineError("notFound", `there is no volume "${name}"`, { advice: 'see "brine volume list"' });
      }
      if (options.json) {
        printJson(volume);
        return;
      }
      printTable([
        ["name", volume.name],
        ["replicas", String(volume.replicas)],
        ["in sync, min", String(volume.inSyncMin)],
        ["inodes", String(volume.inodeCount)],
        ["chunks", String(volume.chunkCount)],
        ["created", new Date(Number(volume.createdNs / 1_000_000n)).toISOString()],
        ["state", volume.deleted ? "being deleted" : "ready"],
      ]);
    });
}

function setCommand(): Command {
  return withCluster(new Command("set").argument("<name>"))
    .description(
      "Change a volume while it is in use: how many copies of every byte there are, how few take writes, what keeps them apart.",
    )
    .option(
      "--replicas <number>",
      "copies of every byte, on as many stores; files under a placement rule have what that says",
      wholeNumber(1, 8),
    )
    .option("--in-sync-min <number>", inSyncMinHelp, wholeNumber(1, 8))
    .option("--failure-domain <key>", "copies go to stores that differ in this label, if there are (default: host)")
    .addHelpText(
      "after",
      "\nExample:\n  brine volume set photos --replicas 3 --data ./brine-data\n  brine volume set photos --failure-domain rack\n  brine volume set photos --in-sync-min 2",
    )
    .action(setVolume);
}

async function setVolume(
  name: string,
  address: string | undefined,
  options: ClusterOptions & Partial<CopiesWanted> & { failureDomain?: string },
): Promise<void> {
  const { replicas, inSyncMin, failureDomain: key } = options;
  if (replicas === undefined && inSyncMin === undefined && key === undefined) {
    const advice = "give --replicas, --in-sync-min or --failure-domain";
    throw new BrineError("invalid", "nothing is to be changed", { advice });
  }
  const { platform, addresses } = await findCluster(address, options);
  if (replicas !== undefined || inSyncMin !== undefined)
    await askLeader(platform, addresses, setCopies, { name, replicas, inSyncMin });
  if (key !== undefined) {
    const change = { kind: "failureDomain", key } as const;
    await askLeader(platform, addresses, changeRules, { volume: name, change });
  }
  const copies = replicas === undefined ? "" : ` gets ${copiesText(replicas)}`;
  const minimum = inSyncMin === undefined ? "" : ` takes writes with ${copiesText(inSyncMin)} in sync or more`;
  const domain = key === undefined ? "" : ` keeps copies apart by ${key}`;
  const changes = [copies, minimum, domain].filter(Boolean).join(" and");
  const far = copies === "" && domain === "" ? "" : '; "brine status --watch" shows how far it is';
  print(`volume ${name}${changes}${far}`);
}

function copiesText(count: number): string {
  return count === 1 ? "1 copy" : `${count} copies`;
}

function deleteCommand(): Command {
  return withCluster(new Command("delete").argument("<name>"))
    .description("Delete a volume and everything in it. Refused while it is mounted.")
    .requiredOption("--yes", "yes, all its files are to be deleted")
    .option("--wait", "return when its space has been given back", false)
    .addHelpText("after", "\nExample:\n  brine volume delete photos --yes --data ./brine-data")
    .action(async (name: string, address: string | undefined, options: ClusterOptions & { wait: boolean }) => {
      const { platform, addresses } = await findCluster(address, options);
      await askLeader(platform, addresses, deleteVolume, { name });
      if (options.wait) await waitDeleted(platform, addresses, name);
      print(`volume ${name} is deleted${options.wait ? "" : "; its space comes back in the background"}`);
    });
}

/** Until the volume's inodes and then all unneeded chunks are gone. */
async function waitDeleted(platform: Platform, addresses: readonly Address[], name: string): Promise<void> {
  let progress: Progress | undefined;
  let total = 0;
  for (;;) {
    const status = await askLeader(platform, addresses, readStatus, {});
    const volume = status.volumes.find((one) => one.name === name && one.deleted);
    const left = (volume?.inodeCount ?? 0) + status.chunksToDelete;
    if (volume === undefined && left === 0) break;
    total = Math.max(total, left);
    progress ??= new Progress(platform.clock, `deleting ${name}`, total, "inodes and chunks");
    progress.update(total - left);
    await sleep(platform.clock, 250);
  }
  progress?.finish();
}

async function readVolumes(address: string | undefined, options: ClusterOptions): Promise<VolumeRecord[]> {
  const { platform, addresses } = await findCluster(address, options);
  return (await askLeader(platform, addresses, readStatus, {})).volumes;
}
