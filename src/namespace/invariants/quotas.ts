/** Quotas: usage as counted from all inodes, and each inode in the tree of its directory. */
import type { InodeRecord, QuotaRecord } from "../model.ts";
import { isTreeRoot } from "../quota-trees.ts";
import { allocatedBytes, hasLimits } from "../usage.ts";
import type { Snapshot } from "./snapshot.ts";

type Report = (problem: string) => void;
type Usage = Pick<QuotaRecord, "bytes" | "inodes">;

export function checkQuotas(snapshot: Snapshot, report: Report): void {
  const counted = countUsage(snapshot);
  for (const { volume, record } of snapshot.quotas) {
    const { subject, limits, bytes, inodes } = record;
    const name = nameOf(volume, subject.kind, subject.id);
    const usage = counted.get(name) ?? { bytes: 0, inodes: 0 };
    counted.delete(name);
    if (usage.bytes !== bytes || usage.inodes !== inodes) {
      report(`${name} counts ${bytes} bytes and ${inodes} inodes, has ${usage.bytes} and ${usage.inodes}`);
    }
    if (inodes === 0 && (subject.kind === "tree" || !hasLimits(limits))) report(`${name} is there for nothing`);
    if (!snapshot.volumes.has(volume)) report(`${name}: there is no such volume`);
  }
  for (const [name, { inodes }] of counted) report(`${name} is not counted, has ${inodes} inodes`);
  checkTrees(snapshot, report);
}

function countUsage(snapshot: Snapshot): Map<string, Usage> {
  const counted = new Map<string, Usage>();
  for (const { volume, record } of snapshot.inodes.values()) {
    const { uid, gid } = record.attributes;
    const bytes = allocatedBytes(record.attributes);
    const names = [nameOf(volume, "volume", 0), nameOf(volume, "user", uid), nameOf(volume, "group", gid)];
    if (record.tree !== 0) names.push(nameOf(volume, "tree", record.tree));
    for (const name of names) {
      const usage = counted.get(name) ?? { bytes: 0, inodes: 0 };
      counted.set(name, { bytes: usage.bytes + bytes, inodes: usage.inodes + 1 });
    }
  }
  return counted;
}

/** Where nothing is being counted. A file that had names on both sides when a quota was set is in the tree of one of them. */
function checkTrees(snapshot: Snapshot, report: Report): void {
  const unsettled = new Set(snapshot.counting.map(({ volume }) => volume));
  for (const { volume, deleted } of snapshot.volumes.values()) if (deleted) unsettled.add(volume);
  for (const { volume, directory, inode, name } of snapshot.entries) {
    if (unsettled.has(volume)) continue;
    const record = snapshot.inodes.get(inode)?.record;
    const parent = snapshot.inodes.get(directory)?.record;
    if (record === undefined || parent === undefined) continue;
    if (isTreeRoot(record) && parent.tree === 0) continue;
    if (isTreeRoot(record) || (record.tree !== parent.tree && mustFollow(record))) {
      report(`${JSON.stringify(name)} of ${directory} is in tree ${record.tree}, its directory in ${parent.tree}`);
    }
  }
}

function mustFollow({ attributes }: InodeRecord): boolean {
  return attributes.type === "directory";
}

function nameOf(volume: number, kind: string, id: number): string {
  return `quota of ${kind} ${id} in volume ${volume}`;
}
