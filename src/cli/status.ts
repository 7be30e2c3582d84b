/** `brine status`: is everything in order, and if not, what is not. */
import { Command } from "commander";
import { print } from "../platform/processes.ts";
import { realPlatform } from "../platform/real.ts";
import { type ClusterStatus, readStatus, type ServerStatus } from "../wire/catalogue/admin.ts";
import { askLeader } from "./admin.ts";
import { jsonOption, withCluster } from "./options.ts";
import { printJson, printTable, sizeText } from "./output.ts";
import { findCluster } from "./running.ts";

export function statusCommand(): Command {
  return withCluster(new Command("status"))
    .description("Show servers, volumes, mounts, and whatever is not as it should be.")
    .addOption(jsonOption())
    .addHelpText("after", "\nExample:\n  brine status --data ./brine-data\n  brine status 127.0.0.1:7411 --json")
    .action(async (address: string | undefined, options: { data?: string; json: boolean }) => {
      const platform = realPlatform({ logLevel: "warn", logTo: print });
      const addresses = await findCluster(platform.disk, address, options);
      const status = await askLeader(platform, addresses, readStatus, {});
      if (options.json) printJson(status);
      else printStatus(status);
    });
}

function printStatus(status: ClusterStatus): void {
  print(`cluster ${status.clusterId}`);
  print(`metadata: ${status.metadata}`);
  print("");
  printTable([
    ["SERVER", "STATE", "ROLES", "PID", "FREE", "OF", "COPIES", "BAD BLOCKS"],
    ...status.servers.map((server) => [
      server.address,
      server.state,
      server.roles.join(","),
      String(server.pid),
      ...(server.store === 0 ? ["", "", "", ""] : storeCells(server)),
    ]),
  ]);
  if (status.volumes.length > 0) {
    print("");
    printTable([
      ["VOLUME", "REPLICAS", "INODES"],
      ...status.volumes.map((volume) => [volume.name, String(volume.replicas), String(volume.inodeCount)]),
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
  if (status.problems.length === 0) print("All is well.");
  for (const problem of status.problems) print(`! ${problem}`);
}

function storeCells(server: ServerStatus): string[] {
  const copies = [
    [server.groupsInSync, "in sync"],
    [server.groupsCatchingUp, "catching up"],
    [server.groupsBehind, "behind"],
  ] as const;
  return [
    sizeText(server.freeBytes),
    sizeText(server.totalBytes),
    copies
      .filter(([count]) => count > 0)
      .map(([count, state]) => `${count} ${state}`)
      .join(", ") || "none",
    String(server.badBlocks),
  ];
}
