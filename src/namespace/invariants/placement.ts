/** Pools of volumes: rules, files and groups name ones that are there, and the groups of one ask for the same. */
import { fewestCopies } from "../in-sync-min.ts";
import { hasLabels } from "../store-labels.ts";
import type { Snapshot } from "./snapshot.ts";

type Report = (problem: string) => void;

export function checkPlacement(snapshot: Snapshot, report: Report): void {
  const pools = new Set<string>();
  for (const [volume, { replicas, inSyncMin }] of snapshot.volumes) {
    pools.add(`${volume} 0`);
    if (inSyncMin < 1 || inSyncMin > replicas) report(`volume ${volume} wants ${inSyncMin} of ${replicas} in sync`);
  }
  for (const [volume, placement] of snapshot.placements) {
    if (!snapshot.volumes.has(volume)) report(`volume ${volume} is gone, and has rules`);
    for (const { pool } of placement.pools) {
      if (pools.has(`${volume} ${pool}`)) report(`volume ${volume} has pool ${pool} twice`);
      pools.add(`${volume} ${pool}`);
    }
    const { replicas = 1, inSyncMin = 1 } = snapshot.volumes.get(volume) ?? {};
    if (inSyncMin > fewestCopies(replicas, placement)) report(`volume ${volume} wants ${inSyncMin} copies in sync`);
    for (const { pattern, pool } of placement.rules) {
      if (!pools.has(`${volume} ${pool}`)) report(`rule ${pattern} of volume ${volume} names pool ${pool}`);
    }
  }
  for (const [inode, { volume, record }] of snapshot.inodes) {
    if (!pools.has(`${volume} ${record.pool}`)) report(`inode ${inode} is of pool ${record.pool}`);
  }
  for (const { group, volume, pool, replicas, labels, failureDomain } of snapshot.groups.values()) {
    if (volume === 0) continue;
    if (!pools.has(`${volume} ${pool}`)) report(`group ${group} is of pool ${pool} of volume ${volume}`);
    const placement = snapshot.placements.get(volume);
    if (failureDomain !== (placement?.failureDomain ?? "host"))
      report(`group ${group} is kept apart by ${failureDomain}`);
    const wanted = placement?.pools.find((one) => one.pool === pool) ?? {
      replicas: snapshot.volumes.get(volume)?.replicas,
      labels: [],
    };
    const isSame = labels.length === wanted.labels.length && hasLabels(labels, wanted.labels);
    if (!isSame || replicas !== wanted.replicas) report(`group ${group} asks for other stores than pool ${pool}`);
  }
}
