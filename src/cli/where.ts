/** `brine where`: which stores have a file, by which rule, and which chunks are where. */
import { Command } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import { inodeOfPath } from "../fuse/transport/inode-of-path.ts";
import { labelsText } from "../namespace/store-labels.ts";
import type { Address } from "../platform/network.ts";
import type { Platform } from "../platform/platform.ts";
import { absolutePath, print } from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import { type FileLocation, listedToEnd, locateFile } from "../wire/catalogue/placement.ts";
import { AdminConnection } from "./admin.ts";
import { parsePlace } from "./files/on-volume.ts";
import { findMountOf, type RegisteredMount } from "./mounts.ts";
import { jsonOption, parseSource } from "./options.ts";
import { memberText, printJson, printPlain, printTable, sizeText } from "./output.ts";
import { onText, ruleText } from "./rules.ts";

interface Found {
  readonly addresses: readonly Address[];
  readonly clusterId: string;
  readonly volume: string;
  readonly inode: number;
  readonly path: string;
  /** On a mount of this machine. */
  readonly local: string | undefined;
}

export function whereCommand(): Command {
  return new Command("where")
    .description("Show where a file is: the placement rule, the groups, their stores, and which chunks are where.")
    .argument("<path>", "a path on a mount of this machine, or HOST:PORT/VOLUME/PATH")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      "\nIt shows what is committed: sync the file first to see what was just written.\nExample:\n  brine where /mnt/home/photos/cat.jpg\n  brine where 127.0.0.1:7411/home/photos/cat.jpg",
    )
    .action(async (text: string, options: { json: boolean }) => {
      const platform = realPlatform({ logLevel: "warn", logTo: print });
      const found = onMount(await findMountOf(platform.disk, absolutePath(text)), text) ?? onVolume(text);
      let location = await locate(platform, found);
      // The kernel is asked only for what the leader has not heard of by this name: stat(2) would take leases from others.
      if (location.missing !== "" && found.local !== undefined) {
        const inode = await inodeOfPath(found.local, platform.clock);
        if (inode === "missing") throw new BrineError("notFound", `there is nothing at ${found.local}`);
        if (inode !== "hangs") location = await locate(platform, { ...found, inode });
      }
      if (location.missing !== "") {
        throw new BrineError("notFound", `${text}: the metadata server does not know ${location.missing}`, {
          advice: "if it was just made, sync it first",
        });
      }
      if (options.json) printJson({ volume: found.volume, ...location });
      else printLocation(text, location);
    });
}

function onMount(mount: RegisteredMount | undefined, text: string): Found | undefined {
  if (mount === undefined) return undefined;
  const local = absolutePath(text);
  const path = local.slice(mount.directory.length) || "/";
  return { ...parseSource(mount.source), clusterId: mount.clusterId, inode: 0, path, local };
}

function onVolume(text: string): Found {
  if (!/^[^/]+:\d+(,[^/]+)?\/./.test(text)) {
    throw new BrineError("notFound", `${text} is on no brinefs mount of this machine`, {
      advice: "name a path below a mount point, or HOST:PORT/VOLUME/PATH",
    });
  }
  const { source, path } = parsePlace(text);
  return { ...parseSource(source), clusterId: "", inode: 0, path: `/${path}`, local: undefined };
}

/** All of it: a large file's ranges come in several answers. */
async function locate(platform: Platform, { addresses, clusterId, volume, inode, path }: Found): Promise<FileLocation> {
  const connection = new AdminConnection(platform, addresses, clusterId);
  try {
    const all = await connection.ask(locateFile, { volume, inode, path, from: 0 });
    const groups = new Map(all.groups.map((group) => [group.group, group]));
    for (let from = all.listedBelow; from < listedToEnd; ) {
      const more = await connection.ask(locateFile, { volume, inode: all.inode, path, from });
      all.ranges.push(...more.ranges);
      all.isInPlace &&= more.isInPlace;
      for (const group of more.groups) {
        const known = groups.get(group.group);
        groups.set(group.group, known === undefined ? group : { ...group, chunks: known.chunks + group.chunks });
      }
      from = more.listedBelow;
    }
    return { ...all, groups: [...groups.values()], listedBelow: listedToEnd };
  } finally {
    connection.close();
  }
}

function printLocation(text: string, location: FileLocation): void {
  const { inode, type, size, rule, isInPlace, replicas, groups, ranges } = location;
  printPlain(`${text}: inode ${inode} (${type === "file" ? `file, ${sizeText(size)}` : type || "not known"})`);
  if (type !== "file") {
    print("Only files are on stores; names and attributes are on the metadata servers.");
    return;
  }
  printPlain(`placed on ${replicas} × ${onText(location)}`);
  const says =
    rule === undefined ? "no rule matches its path: the volume's own" : `rule ${rule.position}: ${ruleText(rule.rule)}`;
  printPlain(isInPlace ? says : `! ${says}; it is elsewhere: "brine volume apply-rules" moves it`);
  if (groups.length === 0) {
    print("It has no data on stores.");
    return;
  }
  print("");
  printTable([
    ["GROUP", "CHUNKS", "STORE", "ADDRESS", "STATE", "LABELS"],
    ...groups.flatMap(({ group, chunks, members }) =>
      members.map((member, at) => [
        at === 0 ? String(group) : "",
        at === 0 ? String(chunks) : "",
        String(member.store),
        member.address,
        memberText(member),
        labelsText(member.labels),
      ]),
    ),
  ]);
  print("");
  printTable([
    ["CHUNKS", "GROUP"],
    ...ranges.map(({ first, last, group }) => [first === last ? `${first}` : `${first}–${last}`, String(group)]),
  ]);
}
