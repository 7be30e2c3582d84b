/** Chunk maps both ways, and that each chunk is in exactly one place of its life. */
import { chunksOfSize } from "../chunk-maps.ts";
import type { Grant } from "../grant.ts";
import { chunkNumbersPerGroup, groupOfChunk } from "../model.ts";
import type { Snapshot } from "./snapshot.ts";

type Report = (problem: string) => void;

export function checkChunks(snapshot: Snapshot, report: Report): void {
  checkMaps(snapshot, report);
  checkPlaces(snapshot, report);
  let toDelete = snapshot.deletions.length;
  for (const grant of snapshot.retired) toDelete += grant.unusedCount;
  if (toDelete !== snapshot.header.chunksToDelete) {
    report(`${snapshot.header.chunksToDelete} chunks to delete are counted, ${toDelete} are there`);
  }
}

function checkMaps(snapshot: Snapshot, report: Report): void {
  const byFile = new Map<number, number>();
  const byVolume = new Map<number, number>();
  for (const { volume, inode, index, chunk } of snapshot.mappings) {
    const owner = snapshot.owners.get(chunk);
    if (owner?.volume !== volume || owner.inode !== inode || owner.index !== index) {
      report(`chunk ${chunk} at ${inode}[${index}] is owned by ${JSON.stringify(owner)}`);
    }
    const file = snapshot.inodes.get(inode);
    if (file === undefined) report(`chunk ${chunk} is mapped by inode ${inode}, which isn't there`);
    else if (file.volume !== volume || file.record.attributes.type !== "file")
      report(`inode ${inode} can't have chunks`);
    else if (index >= chunksOfSize(file.record.attributes.size)) report(`${inode}[${index}] is behind the end`);
    byFile.set(inode, (byFile.get(inode) ?? 0) + 1);
    byVolume.set(volume, (byVolume.get(volume) ?? 0) + 1);
  }
  if (snapshot.owners.size !== snapshot.mappings.length) {
    report(`${snapshot.owners.size} chunks have owners, ${snapshot.mappings.length} are mapped`);
  }
  for (const [inode, { volume, record }] of snapshot.inodes) {
    const { chunkCount } = record.attributes;
    // The inodes of a deleted volume go after their mappings.
    if (snapshot.volumes.get(volume)?.deleted) continue;
    if (chunkCount !== (byFile.get(inode) ?? 0)) report(`inode ${inode} counts ${chunkCount} chunks`);
  }
  for (const [number, { name, chunkCount }] of snapshot.volumes) {
    if (chunkCount !== (byVolume.get(number) ?? 0)) report(`volume ${name} counts ${chunkCount} chunks`);
  }
}

/** Granted and unused, mapped, or to be deleted: one of them at a time, and of a group that has given the number. */
function checkPlaces(snapshot: Snapshot, report: Report): void {
  const places = new Map<number, string>();
  const put = (chunk: number, place: string): void => {
    const other = places.get(chunk);
    if (other !== undefined) report(`chunk ${chunk} is ${other} and ${place}`);
    places.set(chunk, place);
    const group = snapshot.groups.get(groupOfChunk(chunk));
    if (group === undefined || chunk % chunkNumbersPerGroup >= group.nextNumber)
      report(`chunk ${chunk} was never granted`);
  };
  const putUnused = (grant: Grant, place: string): void => {
    if (grant.unusedCount === 0) report(`the grant at ${grant.first}, ${place}, is used up and still there`);
    const unused = grant.unused(-1, grant.count);
    if (unused.length !== grant.unusedCount) report(`the grant at ${grant.first} counts ${grant.unusedCount} unused`);
    for (const chunk of unused) put(chunk, place);
  };
  for (const { chunk } of snapshot.mappings) put(chunk, "mapped");
  for (const chunk of snapshot.deletions) put(chunk, "to be deleted");
  for (const grant of snapshot.retired) putUnused(grant, "retired");
  for (const { session, grant } of snapshot.chunkGrants) putUnused(grant, `granted to session ${session}`);
}
