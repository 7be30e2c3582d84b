/** `brine why`: what a file or directory of a mount waits for, who has it, where its data is, and what was slow. */
import { Command } from "commander";
import { BrineError } from "../errors/brine-error.ts";
import { inodeOfPath } from "../fuse/transport/inode-of-path.ts";
import type { Clock } from "../platform/clock.ts";
import { idleCoresHint } from "../platform/idle-cores.ts";
import { absolutePath, print } from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import {
  type ClusterWait,
  explainInode,
  type InodeReport,
  readClusterMetrics,
  readStatus,
} from "../wire/catalogue/admin.ts";
import { AdminConnection } from "./admin.ts";
import { operationTable, timeText } from "./figure-tables.ts";
import { type Activity, activities, operationRows } from "./figures.ts";
import { findMountOf, type RegisteredMount } from "./mounts.ts";
import { jsonOption, parseSource } from "./options.ts";
import { memberText, printJson, printPlain, printTable, sizeText } from "./output.ts";
import { printWaits } from "./waits.ts";

/** An operation that waits for so long is not just slow. */
const hangsAfterMs = 1_000;

export function whyCommand(): Command {
  return new Command("why")
    .description(
      "Say why a file or directory on a mount is slow: who waits for it, who has it, and what took its time.",
    )
    .argument("<path>", "a path on a mount of this machine")
    .addOption(jsonOption())
    .addHelpText(
      "after",
      `
It works on a path that hangs, too. When nothing waits, it shows where the time of the mount's operations went in the
last minute.
Example:
  brine why /mnt/home/project/database`,
    )
    .action(why);
}

async function why(text: string, options: { json: boolean }): Promise<void> {
  const path = absolutePath(text);
  const platform = realPlatform({ logLevel: "warn", logTo: print });
  const mount = await findMountOf(platform.disk, path);
  if (mount === undefined) {
    throw new BrineError("notFound", `${path} is on no brinefs mount of this machine`, {
      advice: "name a path below a mount point; symbolic links are not followed",
    });
  }
  const connection = new AdminConnection(platform, parseSource(mount.source).addresses, mount.clusterId);
  try {
    await explain({ path, mount, connection, clock: platform.clock }, options);
  } finally {
    connection.close();
  }
}

interface Question {
  readonly path: string;
  readonly mount: RegisteredMount;
  readonly connection: AdminConnection;
  readonly clock: Clock;
}

async function explain({ path, mount, connection, clock }: Question, options: { json: boolean }): Promise<void> {
  const { volume } = parseSource(mount.source);
  const relative = path.slice(mount.directory.length) || "/";
  const ask = (inode: number) => connection.ask(explainInode, { volume, inode, path: relative });
  let report = await ask(0);
  // Who waits for an advisory lock holds up nobody else.
  const hanging = ({ forMs, operation, who }: ClusterWait) =>
    forMs >= hangsAfterMs && operation !== "setLock" && isOf(mount, who);
  let hangs = report.waits.some(hanging);
  // The kernel is asked only for what the leader has not heard of: stat(2) would take leases from others.
  if (report.missing !== "" && !hangs) {
    const inode = await inodeOfPath(path, clock);
    if (inode === "missing") throw new BrineError("notFound", `there is nothing at ${path}`);
    hangs = inode === "hangs";
    report = await ask(inode === "hangs" ? 0 : inode);
  }
  const lastMinute = await lastMinuteOf(connection, mount);
  if (options.json) {
    const asJson = { mount: mount.directory, volume, hangs, ...report };
    printJson({ ...asJson, operations: operationRows(lastMinute) });
    return;
  }
  printHead(path, mount, volume, report);
  if (hangs) print("The kernel gets no answer about this path.");
  print("");
  printWaits(report, "Nothing waits for it.");
  printHolders(report);
  printChunks(report);
  printData(report);
  if (report.waits.length === 0) printLastMinute(lastMinute);
  const hint = idleCoresHint();
  if (hint !== undefined) print(`\n! ${hint}`);
}

function isOf({ pid }: RegisteredMount, host: string): boolean {
  return host.includes(` pid ${pid} `);
}

/** What the mount's process did in the last minute; empty if it can't be asked. */
async function lastMinuteOf(connection: AdminConnection, mount: RegisteredMount): Promise<Activity[]> {
  const { sessions } = await connection.ask(readStatus, {});
  const session = sessions.find(({ host }) => isOf(mount, host))?.session;
  if (session === undefined) return [];
  const { processes } = await connection.ask(readClusterMetrics, { lastMinute: true, session });
  return activities(processes);
}

function printHead(path: string, mount: RegisteredMount, volume: string, report: InodeReport): void {
  const { inode, type, size, chunkCount, missing } = report;
  if (missing !== "") {
    printPlain(`${path}: the metadata server does not know ${missing} yet`);
    print("What follows is about the directory before it.");
  }
  const kind = type === "" ? "not known to the metadata server yet" : type;
  const extent = type === "file" ? `, ${sizeText(size)} in ${chunkCount} ${chunkCount === 1 ? "chunk" : "chunks"}` : "";
  printPlain(
    `${missing === "" ? path : path.slice(0, -missing.length - 1)}: inode ${inode} of volume ${volume} (${kind}${extent})`,
  );
  printPlain(`mounted at ${mount.directory} by process ${mount.pid}, from ${mount.source}`);
}

function printHolders({ leases, holds }: InodeReport): void {
  if (leases.length + holds.length === 0) return;
  print("");
  printTable([
    ["HELD BY", "LEASE", "FOR", "ASKED BACK"],
    ...leases.map(({ who, mode, forMs, recalledFor }) => [
      who,
      mode,
      timeText(forMs),
      recalledFor === undefined ? "" : recalledFor === "shared" ? "down to shared" : "yes",
    ]),
    ...holds.map((who) => [who, "none, but open", "", ""]),
  ]);
}

function printChunks({ chunks }: InodeReport): void {
  if (chunks.length === 0) return;
  print("");
  printTable([
    ["CHUNK", "HELD BY", "LEASE", "FOR"],
    ...chunks.map(({ index, who, mode, forMs }) => [String(index), who, mode, timeText(forMs)]),
  ]);
}

function printData({ groups }: InodeReport): void {
  if (groups.length === 0) return;
  print("");
  printTable([
    ["GROUP", "GENERATION", "CHUNKS", "STORES"],
    ...groups.map(({ group, generation, chunks, members }) => [
      String(group),
      String(generation),
      String(chunks),
      members.map((member) => `${member.store} (${member.address}) ${memberText(member)}`).join("; "),
    ]),
  ]);
}

function printLastMinute(lastMinute: readonly Activity[]): void {
  const table = operationTable(lastMinute);
  if (table.length === 1) return;
  const seconds = Math.round((lastMinute[0]?.forMs ?? 0) / 1000);
  print("");
  print(`What this mount did in the last ${seconds} s, and where the time went:`);
  printTable(table);
}
