/**
 * setReplicas: the number of copies that a volume and its groups should have, except for those of placement rules, which say it
 * themselves. Members come and go afterwards.
 *
 * Errors: ENOENT (no such volume, or deleted), EINVAL (replicas outside of 1–16).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import type { OperationOf, Result } from "../operation.ts";
import { checkReplicas } from "./create-volume.ts";

export function setReplicas(context: Context, operation: OperationOf<"setReplicas">): Result {
  const { groups, volumes } = context.tables;
  const { replicas } = operation;
  const volume = volumes.get(operation.volume);
  if (volume?.deleted !== false) throw new FileError("ENOENT", `no volume ${operation.volume}`);
  checkReplicas(replicas);
  volumes.put({ ...volume, replicas });
  for (const group of groups.groupsOf(volume.volume)) if (group.pool === 0) groups.putGroup({ ...group, replicas });
  return { kind: "done" };
}
