/** `brine status`: is everything in order, and if not, what is not. */
import { Command } from "commander";
import { sleep } from "../platform/clock.ts";
import { print, thisProcess } from "../platform/processes.ts";
import { type ClusterStatus, readStatus, type ServerStatus } from "../wire/catalogue/admin.ts";
import { AdminConnection } from "./admin.ts";
import { jsonOption, withCluster } from "./options.ts";
import { plain, printJson, printTable, sizeText } from "./output.ts";
import { type ClusterOptions, findCluster } from "./running.ts";
import { spaceCells, stateText } from "./store.ts";

const watchMs = 1_000;
const barCells = 30;

export function statusCommand(): Command {
  return withCluster(new Command("status"))
    .description("Show servers, volumes, mounts, and whatever is not as it should be.")
    .option("--watch", "show it anew until it is interrupted", false)
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  brine status --data ./brine-data\n  brine status 127.0.0.1:7411 --json")
    .action(async (address: string | undefined, options: ClusterOptions & { json: boolean; watch: boolean }) => {
      const { platform, addresses } = await findCluster(address, options);
      const connection = new AdminConnection(platform, addresses);
      do {
        const status = await connection.ask(readStatus, {});
        if (options.watch) clearScreen();
        if (options.json) printJson(status);
        else printStatus(status);
        if (options.watch) await sleep(platform.clock, watchMs);
      } while (options.watch);
      connection.close();
    });
}

/** On a terminal; elsewhere each look stands below the one before. */
function clearScreen(): void {
  if (thisProcess.terminalColumns !== undefined) print("\x1b[H\x1b[2J");
}

/** How far the making of copies is, `healing ███░░░ 41 % …`. */
export function healingText(healing: NonNullable<ClusterStatus["healing"]>): string {
  const { missing, donePermille, leftMs, copiedBytes } = healing;
  const end = leftMs === undefined ? "the end can't be told yet" : `${durationText(leftMs)} left`;
  const copied = copiedBytes === 0 ? "" : `, ${sizeText(copiedBytes)} of those under way`;
  return `healing ${barText(donePermille / 1000)} | ${missing} copies to make${copied} | ${end}`;
}

export function durationText(ms: number): string {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 120) return `${seconds} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How far a store's scrub is, `scrub of store 2 ███░░░ 41 % …`; undefined if none runs. */
export function scrubText({ store, scrub }: ServerStatus): string | undefined {
  if (scrub === undefined || scrub.endedMs !== 0) return undefined;
  const { isOrdered, doneBytes, totalBytes, leftMs, badBlocks, repairedBlocks, differingBlocks } = scrub;
  const bar = barText(totalBytes === 0 ? 0 : doneBytes / totalBytes);
  const found = `${badBlocks} bad, ${repairedBlocks} repaired, ${differingBlocks} taken from others`;
  const what = isOrdered ? "scrub" : "regular scrub";
  const left = totalBytes === 0 ? "counting" : `${durationText(leftMs)} left`;
  return `${what} of store ${store} ${bar} | ${sizeText(doneBytes)} of ${sizeText(totalBytes)} | ${found} | ${left}`;
}

function barText(done: number): string {
  const filled = Math.round(done * barCells);
  return `${"█".repeat(filled)}${"░".repeat(barCells - filled)} ${(done * 100).toFixed(1)} %`;
}

function printStatus(status: ClusterStatus): void {
  print(`cluster ${status.clusterId}`);
  print(`metadata: ${plain(status.metadata)}`);
  print("");
  printTable([
    ["SERVER", "STATE", "ROLES", "PID", "FREE", "OF", "COPIES", "BAD BLOCKS"],
    ...status.servers.map((server) => [
      server.address,
      stateText(server),
      server.roles.join(","),
      server.pid === 0 ? "-" : String(server.pid),
      ...(server.store === 0 ? ["", "", "", ""] : storeCells(server)),
    ]),
  ]);
  if (status.volumes.length > 0) {
    print("");
    printTable([
      ["VOLUME", "REPLICAS", "IN SYNC, MIN", "INODES"],
      ...status.volumes.map(({ name, replicas, inSyncMin, inodeCount }) =>
        [name, replicas, inSyncMin, inodeCount].map(String),
      ),
    ]);
  }
  if (status.sessions.length > 0) {
    print("");
    const names = new Map(status.volumes.map((volume) => [volume.volume, volume.name]));
    printTable([
      ["MOUNTED BY", "VOLUME", "HEARD FROM", "LEASES", "OPEN FILES"],
      ...status.sessions.map((session) => [
        session.host,
        names.get(session.volume) ?? String(session.volume),
        `${(session.heardMsAgo / 1000).toFixed(1)} s ago`,
        String(session.leases),
        String(session.holds),
      ]),
    ]);
  }
  print("");
  if (status.healing !== undefined) print(healingText(status.healing));
  for (const server of status.servers) {
    const text = scrubText(server);
    if (text !== undefined) print(text);
  }
  if (status.problems.length === 0 && status.healing === undefined) print("All is well.");
  for (const problem of status.problems) print(`! ${plain(problem)}`);
}

function badText({ badBlocks, repairedBlocks }: ServerStatus): string {
  return badBlocks === 0 ? "0" : `${badBlocks}, ${repairedBlocks} repaired`;
}

function storeCells(server: ServerStatus): string[] {
  const copies = [
    [server.groupsInSync, "in sync"],
    [server.groupsCatchingUp, "catching up"],
    [server.groupsBehind, "behind"],
  ] as const;
  return [
    ...spaceCells(server),
    copies
      .filter(([count]) => count > 0)
      .map(([count, state]) => `${count} ${state}`)
      .join(", ") || "none",
    badText(server),
  ];
}
