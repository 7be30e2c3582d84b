/**
 * createVolume: a new volume with its root directory and its groups.
 *
 * Errors: EINVAL (a name that isn't [A-Za-z0-9._-]{1,64}, replicas outside of 1–16, inSyncMin outside of 1–replicas), EEXIST, ENOSPC (65,534 volumes were
 * made before, or no group numbers are left).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import { newInode, permissionBits } from "../inodes.ts";
import { volumeMax } from "../keys.ts";
import { defaultFailureDomain } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";
import { checkGroups, makeGroups } from "./volume-groups.ts";

/** As many as a group has members. */
const replicasMax = 16;

export function createVolume(context: Context, operation: OperationOf<"createVolume">): Result {
  const { header, inodes, volumes } = context.tables;
  const { name, replicas, inSyncMin, uid, gid } = operation;
  if (!/^[A-Za-z0-9._-]{1,64}$/.test(name)) throw new FileError("EINVAL", `not a name of a volume: ${name}`);
  checkReplicas(replicas);
  checkInSyncMin(inSyncMin, replicas);
  if (volumes.byName(name) !== undefined) throw new FileError("EEXIST", `there is a volume ${name}`);
  if (header.peek("nextVolume") > volumeMax) throw new FileError("ENOSPC", "no volume numbers are left");

  const of = { volume: header.peek("nextVolume"), pool: 0, replicas, labels: [], failureDomain: defaultFailureDomain };
  checkGroups(context, replicas, operation.groups);
  makeGroups(context, of, operation.groups);
  const volume = header.take("nextVolume");
  const root = header.take("nextInode");
  const mode = operation.mode & permissionBits;
  const node = { inode: root, type: "directory", mode, uid, gid, device: 0, target: "" } as const;
  // The root is its own parent, as `..` of a root directory is.
  inodes.add(volume, newInode(node, { parent: root, cookie: 0 }, context.timeNs));
  const createdNs = context.timeNs;
  volumes.put({
    volume,
    name,
    replicas,
    inSyncMin,
    root,
    createdNs,
    deleted: false,
    inodeCount: 1,
    chunkCount: 0,
    quotaVersion: 0,
  });
  return { kind: "made", id: volume };
}

/** Errors: EINVAL. */
export function checkReplicas(replicas: number): void {
  if (replicas < 1 || replicas > replicasMax) throw new FileError("EINVAL", `${replicas} replicas`);
}

/** @param copies the fewest that any of its groups is to have. Errors: EINVAL. */
export function checkInSyncMin(inSyncMin: number, copies: number): void {
  if (inSyncMin < 1 || inSyncMin > copies) throw new FileError("EINVAL", `${inSyncMin} in sync of ${copies} copies`);
}
