/** Entries, link counts, parents, cookies, orphans and counters of a volume. */
import { entrySizeBytes } from "../inodes.ts";
import type { InodeRecord, VolumeRecord } from "../model.ts";
import { firstCookie } from "../tables/entry-table.ts";
import type { Snapshot, SnapshotEntry } from "./snapshot.ts";

type Report = (problem: string) => void;

export function checkTree(snapshot: Snapshot, volume: VolumeRecord, report: Report): void {
  const say = (problem: string): void => report(`volume ${volume.name}: ${problem}`);
  const inodes = new Map<number, InodeRecord>();
  for (const [inode, { volume: number, record }] of snapshot.inodes) {
    if (number === volume.volume) inodes.set(inode, record);
    if (inode >= snapshot.header.nextInode) say(`inode ${inode} was never granted`);
    if (record.attributes.inode !== inode) say(`inode ${inode} calls itself ${record.attributes.inode}`);
  }
  if (inodes.size !== volume.inodeCount) say(`counts ${volume.inodeCount} inodes, has ${inodes.size}`);
  if (volume.volume >= snapshot.header.nextVolume) say("has a number that was never given");
  // A deleted volume is taken apart row by row: only the counters must be right.
  if (volume.deleted) return;
  const entries = snapshot.entries.filter((entry) => entry.volume === volume.volume);
  checkCookies(snapshot, volume, entries, say);
  const byInode = Map.groupBy(entries, (entry) => entry.inode);
  const byDirectory = Map.groupBy(entries, (entry) => entry.directory);
  for (const entry of entries) checkEntry(inodes, entry, say);
  for (const [inode, record] of inodes) {
    const isOrphan = snapshot.orphans.get(inode) === volume.volume;
    if ((record.attributes.linkCount === 0) !== isOrphan) say(`inode ${inode} is wrong in the list of orphans`);
    if (record.attributes.type === "directory") {
      checkDirectory(inodes, volume.root, record, byInode.get(inode) ?? [], byDirectory.get(inode) ?? [], say);
    } else if (record.attributes.linkCount !== (byInode.get(inode)?.length ?? 0)) {
      say(`inode ${inode} counts ${record.attributes.linkCount} links, has ${byInode.get(inode)?.length ?? 0}`);
    }
    if (record.attributes.type === "symlink" && record.attributes.size !== record.target.length) {
      say(`symlink ${inode} has the wrong size`);
    }
  }
  for (const [inode, number] of snapshot.orphans) {
    if (number === volume.volume && !inodes.has(inode)) say(`orphan ${inode} is not there`);
  }
  checkReachable(inodes, volume.root, byDirectory, say);
}

function checkEntry(inodes: Map<number, InodeRecord>, entry: SnapshotEntry, say: Report): void {
  const where = `entry ${JSON.stringify(entry.name)} of ${entry.directory}`;
  const directory = inodes.get(entry.directory);
  const inode = inodes.get(entry.inode);
  if (directory?.attributes.type !== "directory") say(`${where} is in no directory`);
  else if (entry.cookie < firstCookie || entry.cookie >= directory.nextCookie)
    say(`${where} has cookie ${entry.cookie}`);
  if (inode === undefined) say(`${where} leads to ${entry.inode}, which isn't there`);
  else if (inode.attributes.type !== entry.type) say(`${where} takes a ${inode.attributes.type} for a ${entry.type}`);
  if (inode?.parent === entry.directory && inode.parentCookie === entry.cookie) return;
  if (entry.type === "directory") say(`${where}: directory ${entry.inode} thinks it is elsewhere`);
}

function checkDirectory(
  inodes: Map<number, InodeRecord>,
  root: number,
  record: InodeRecord,
  names: readonly SnapshotEntry[],
  children: readonly SnapshotEntry[],
  say: Report,
): void {
  const { inode, linkCount, size } = record.attributes;
  const subdirectories = children.filter((entry) => entry.type === "directory").length;
  if (size !== children.length * entrySizeBytes) say(`directory ${inode} has ${children.length} entries, size ${size}`);
  if (inode === root) {
    if (names.length > 0 || record.parent !== root || linkCount === 0) say("the root is not a root");
  } else if (names.length !== (linkCount === 0 ? 0 : 1)) {
    say(`directory ${inode} has ${names.length} names and ${linkCount} links`);
  }
  if (linkCount === 0 && children.length > 0) say(`removed directory ${inode} has entries`);
  if (linkCount > 0 && linkCount !== 2 + subdirectories) {
    say(`directory ${inode} counts ${linkCount} links with ${subdirectories} subdirectories`);
  }
  if (linkCount > 0 && !inodes.has(record.parent)) say(`directory ${inode} has no parent`);
}

function checkCookies(snapshot: Snapshot, volume: VolumeRecord, entries: readonly SnapshotEntry[], say: Report): void {
  const describe = ({ directory, cookie, name, inode, type }: SnapshotEntry): string =>
    JSON.stringify([directory, cookie, name, inode, type]);
  const byName = new Set(entries.map(describe));
  const byCookie = new Set(snapshot.cookies.filter((entry) => entry.volume === volume.volume).map(describe));
  for (const entry of byName) if (!byCookie.has(entry)) say(`entry ${entry} is not in the index of cookies`);
  for (const entry of byCookie) if (!byName.has(entry)) say(`cookie ${entry} has no entry`);
}

/** Every directory that has a name is below the root: no loops, nothing cut off. */
function checkReachable(
  inodes: Map<number, InodeRecord>,
  root: number,
  byDirectory: Map<number, SnapshotEntry[]>,
  say: Report,
): void {
  const reached = new Set([root]);
  for (const directory of reached) {
    for (const entry of byDirectory.get(directory) ?? []) if (entry.type === "directory") reached.add(entry.inode);
  }
  for (const [inode, { attributes }] of inodes) {
    if (attributes.type !== "directory" || attributes.linkCount === 0 || reached.has(inode)) continue;
    say(`directory ${inode} can't be reached from the root`);
  }
}
