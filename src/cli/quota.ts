/** `brine quota`: limits on the bytes and files of volumes, directories, users and groups, and how much is used. */
import { Command, InvalidArgumentError, Option } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import type { QuotaKind } from "../namespace/model.ts";
import { sleep } from "../platform/clock.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { print } from "../platform/processes.ts";
import { idOfName, nameOfId } from "../platform/user-ids.ts";
import { type ListedQuota, listQuotas, setQuota } from "../wire/catalogue/quotas.ts";
import { askLeader } from "./admin.ts";
import { jsonOption, withCluster } from "./options.ts";
import { printJson, printPlain, printTable, sizeText } from "./output.ts";
import { Progress } from "./progress.ts";
import { type ClusterOptions, findCluster } from "./running.ts";
import { parseBytes, parseCount } from "./units.ts";

interface SubjectOptions {
  readonly user?: string;
  readonly group?: string;
}

interface Subject {
  readonly volume: string;
  readonly kind: QuotaKind;
  readonly id: number;
  readonly path: string;
}

const noLimits = { bytes: undefined, inodes: undefined };
/** Largest number on the wire; also uids and gids end here. */
const idMax = 2 ** 32 - 1;

export function quotaCommand(): Command {
  return new Command("quota")
    .description("Limit the bytes and files of volumes, directories, users and groups, and see what they use.")
    .addCommand(setCommand())
    .addCommand(listCommand())
    .addCommand(removeCommand())
    .addHelpText("after", "\nExample:\n  brine quota set home:/projects/x --bytes 10G --inodes 1M --data ./brine-data");
}

function withSubject(name: string): Command {
  return withCluster(new Command(name).argument("<what>", "VOLUME, or VOLUME:/DIRECTORY with all that is below it"))
    .addOption(new Option("--user <name>", "what belongs to this user in the volume; a name or a number"))
    .addOption(new Option("--group <name>", "what belongs to this group in the volume").conflicts("user"));
}

function setCommand(): Command {
  return withSubject("set")
    .description(
      "Set limits, or change them; one that isn't given stays. A call that would go over one fails with EDQUOT. Files that are there are counted; what is over a limit already stays.",
    )
    .option("--bytes <size>", "most bytes, as du shows them: 500M, 10G, 2T", size)
    .option("--inodes <number>", "most files, directories and others: 1000, 50K, 1M", count)
    .option("--no-wait", "return before all that is in the directory has been counted")
    .addHelpText("after", "\nExample:\n  brine quota set home --user alice --bytes 20G --data ./brine-data")
    .action(
      async (
        what: string,
        address: string | undefined,
        options: ClusterOptions & SubjectOptions & { bytes?: number; inodes?: number; wait: boolean },
      ) => {
        const { bytes, inodes } = options;
        if (bytes === undefined && inodes === undefined) {
          throw new BrineError("invalid", "no limit was given", { advice: "say --bytes, --inodes or both" });
        }
        const subject = subjectOf(what, options);
        const { platform, addresses } = await findCluster(address, options);
        await askLeader(platform, addresses, setQuota, { ...subject, limits: { bytes, inodes }, ends: false });
        if (subject.kind === "tree" && options.wait) await waitCounted(platform, addresses, subject);
        printPlain(`${whatText(what, options)}: ${limitsText({ bytes, inodes })}`);
      },
    );
}

function removeCommand(): Command {
  return withSubject("remove")
    .description("Remove the limits of a volume, a directory, a user or a group.")
    .addHelpText("after", "\nExample:\n  brine quota remove home:/projects/x --data ./brine-data")
    .action(async (what: string, address: string | undefined, options: ClusterOptions & SubjectOptions) => {
      const subject = subjectOf(what, options);
      const { platform, addresses } = await findCluster(address, options);
      await askLeader(platform, addresses, setQuota, { ...subject, limits: noLimits, ends: true });
      printPlain(`${whatText(what, options)}: no limits any more`);
    });
}

function listCommand(): Command {
  return withCluster(new Command("list"))
    .description("List quotas with what is used of them. What a client has written in the last moment may be missing.")
    .option("--volume <name>", "of this volume alone", "")
    .option("--all", "also users and groups without limits", false)
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  brine quota list --data ./brine-data")
    .action(
      async (
        address: string | undefined,
        options: ClusterOptions & { volume: string; all: boolean; json: boolean },
      ) => {
        const { platform, addresses } = await findCluster(address, options);
        const { volume, all } = options;
        const { quotas, omitted } = await askLeader(platform, addresses, listQuotas, { volume, all });
        if (options.json) {
          printJson(quotas);
          return;
        }
        if (quotas.length === 0) {
          print(volume === "" ? "No quotas are set." : `No quotas are set in volume ${volume}.`);
          return;
        }
        printTable([["WHAT", "BYTES", "LIMIT", "USED", "INODES", "LIMIT", "USED", ""], ...quotas.map(rowOf)]);
        if (omitted > 0) print(`… and ${omitted} more; see --volume`);
      },
    );
}

function size(text: string): number {
  return parsed(parseBytes(text), "Write it as 500M, 10G or 2T.");
}

function count(text: string): number {
  return parsed(parseCount(text), "Write it as 1000, 50K or 1M.");
}

function parsed(value: number | undefined, advice: string): number {
  if (value === undefined) throw new InvalidArgumentError(advice);
  return value;
}

/** Errors: invalid. */
function subjectOf(what: string, { user, group }: SubjectOptions): Subject {
  const [volume, path] = what.includes(":")
    ? [what.slice(0, what.indexOf(":")), what.slice(what.indexOf(":") + 1)]
    : [what, ""];
  const owner = user ?? group;
  if (owner !== undefined) {
    const kind = user === undefined ? "group" : "user";
    if (path !== "") {
      throw new BrineError("invalid", `the quota of a ${kind} is for a whole volume`, { advice: "leave out the path" });
    }
    return { volume, kind, id: idOf(kind, owner), path: "" };
  }
  const isWhole = path.split("/").every((name) => name === "" || name === ".");
  return { volume, kind: isWhole ? "volume" : "tree", id: 0, path: isWhole ? "" : path };
}

/** As `brine quota list` has it: `home:/projects/x`, `home user alice`. */
function whatText(what: string, { user, group }: SubjectOptions): string {
  return user !== undefined ? `${what} user ${user}` : group !== undefined ? `${what} group ${group}` : what;
}

function idOf(kind: "user" | "group", owner: string): number {
  const id = /^\d{1,10}$/.test(owner) ? Number(owner) : idOfName(kind, owner);
  if (id !== undefined && id <= idMax) return id;
  throw new BrineError("invalid", `there is no ${kind} "${owner}" on this machine`, { advice: "give its number" });
}

/** With progress: files that are counted come and go meanwhile, so there is no total but the volume's. */
async function waitCounted(platform: Platform, addresses: readonly Address[], subject: Subject): Promise<void> {
  let progress: Progress | undefined;
  for (;;) {
    const { quotas } = await askLeader(platform, addresses, listQuotas, { volume: subject.volume, all: true });
    const counting = quotas.find((one) => one.counting);
    if (counting === undefined) break;
    const total = quotas.find(({ quota }) => quota.subject.kind === "volume")?.quota.inodes ?? 0;
    progress ??= new Progress(platform.clock, "counting", total, "of the volume's inodes at most");
    progress.update(counting.quota.inodes);
    await sleep(platform.clock, 100);
  }
  progress?.finish();
}

function rowOf({ volume, quota, path, counting }: ListedQuota): string[] {
  const { subject, limits, bytes, inodes } = quota;
  const { kind, id } = subject;
  const owner = kind === "user" || kind === "group" ? ` ${kind} ${nameOfId(kind, id) ?? id}` : "";
  const directory = kind === "tree" ? `:${path === "" ? " (a directory that is gone)" : path}` : "";
  const isEnding = counting && limits.bytes === undefined && limits.inodes === undefined;
  return [
    `${volume}${directory}${owner}`,
    sizeText(bytes),
    limits.bytes === undefined ? "-" : sizeText(limits.bytes),
    shareText(bytes, limits.bytes),
    String(inodes),
    limits.inodes === undefined ? "-" : String(limits.inodes),
    shareText(inodes, limits.inodes),
    isEnding ? "ends" : counting ? "counting" : "",
  ];
}

function shareText(used: number, limit: number | undefined): string {
  if (limit === undefined) return "-";
  return limit === 0 ? "100 %" : `${Math.floor((used / limit) * 100)} %`;
}

function limitsText({ bytes, inodes }: { bytes: number | undefined; inodes: number | undefined }): string {
  const texts: string[] = [];
  if (bytes !== undefined) texts.push(`at most ${sizeText(bytes)}`);
  if (inodes !== undefined) texts.push(`at most ${inodes} inodes`);
  return texts.join(", ");
}
