/**
 * setCopies: the number of copies that a volume and its groups should have, except for those of placement rules, which say it
 * themselves; and the fewest in sync with which all its groups take writes. Members come and go afterwards.
 *
 * Errors: ENOENT (no such volume, or deleted), EINVAL (replicas outside of 1–16; inSyncMin outside of 1 to the fewest copies that
 * the volume or a rule of it makes).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import { fewestCopies } from "../in-sync-min.ts";
import type { OperationOf, Result } from "../operation.ts";
import { checkInSyncMin, checkReplicas } from "./create-volume.ts";

export function setCopies(context: Context, operation: OperationOf<"setCopies">): Result {
  const { groups, placements, volumes } = context.tables;
  const { replicas, inSyncMin } = operation;
  const volume = volumes.get(operation.volume);
  if (volume?.deleted !== false) throw new FileError("ENOENT", `no volume ${operation.volume}`);
  checkReplicas(replicas);
  const placement = placements.get(volume.volume);
  checkInSyncMin(inSyncMin, fewestCopies(replicas, placement));

  volumes.put({ ...volume, replicas, inSyncMin });
  // By the version, clients tell which of two answers is the newer one.
  if (inSyncMin !== volume.inSyncMin) placements.put(volume.volume, { ...placement, version: placement.version + 1 });
  for (const group of groups.groupsOf(volume.volume)) if (group.pool === 0) groups.putGroup({ ...group, replicas });
  return { kind: "done" };
}
