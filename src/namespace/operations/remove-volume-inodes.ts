/**
 * removeVolumeInodes: empties a deleted volume, `limit` rows at a time: first mappings (their chunks are to be deleted),
 * then entries, then inodes, at last the volume itself, whose groups are free. Nobody sees the tree in between: no session is open on it.
 *
 * Errors: EINVAL for a limit of 0, ENOENT (no such volume, or not deleted).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import type { OperationOf, Result } from "../operation.ts";

export function removeVolumeInodes(context: Context, operation: OperationOf<"removeVolumeInodes">): Result {
  const { chunks, entries, groups, inodes, placements, quotas, volumes } = context.tables;
  const { volume, limit } = operation;
  if (limit === 0) throw new FileError("EINVAL", "a limit of 0 would never finish");
  if (volumes.get(volume)?.deleted !== true) throw new FileError("ENOENT", `volume ${volume} is not deleted`);

  const unmapped = chunks.removeOfVolume(volume, limit);
  volumes.count(volume, 0, -unmapped);
  let left = limit - unmapped;
  if (left > 0) left -= entries.removeOfVolume(volume, left);
  if (left > 0) {
    const removed = inodes.removeOfVolume(volume, left);
    volumes.count(volume, -removed, 0);
    left -= removed;
  }
  if (left === 0) return { kind: "reaped", finished: false };
  groups.release(volume);
  placements.release(volume);
  quotas.removeOfVolume(volume);
  volumes.delete(volume);
  return { kind: "reaped", finished: true };
}
