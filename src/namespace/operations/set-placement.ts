/**
 * setPlacement: a volume's failure domain, and the placement rules for its files. Rules that ask for the same share a pool. A pool for
 * which there is no rule any more stays: files that were made under it have their chunks there.
 *
 * Errors: ENOENT (no such volume, or deleted), ESTALE (another version), EINVAL (replicas, labels, a pool that
 * is missing, or fewer copies than the volume wants in sync),
 * ENOSPC (`poolsMax`, or no group numbers are left).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import { type Label, type PlacementRule, type Pool, poolsMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";
import { asksTheSame, isLabelKey, labelsText, sortedLabels } from "../store-labels.ts";
import { checkInSyncMin, checkReplicas } from "./create-volume.ts";
import { checkGroups, makeGroups } from "./volume-groups.ts";

type Target = Pick<Pool, "replicas" | "labels">;

export function setPlacement(context: Context, operation: OperationOf<"setPlacement">): Result {
  const { groups, placements, volumes } = context.tables;
  const { volume, failureDomain } = operation;
  const record = volumes.get(volume);
  if (record?.deleted !== false) throw new FileError("ENOENT", `no volume ${volume}`);
  const before = placements.get(volume);
  if (before.version !== operation.version)
    throw new FileError("ESTALE", `its placement has version ${before.version}`);
  if (!isLabelKey(failureDomain)) throw new FileError("EINVAL", `not a label: ${failureDomain}`);

  const pools = [...before.pools];
  const made: { pool: Pool; groups: OperationOf<"setPlacement">["pools"][number]["groups"] }[] = [];
  const rules: PlacementRule[] = [];
  for (const { syntax, pattern, ...target } of operation.rules) {
    checkInSyncMin(record.inSyncMin, target.replicas);
    let pool = pools.find((one) => asksTheSame(one, target));
    if (pool === undefined) {
      const given = operation.pools.find((one) => asksTheSame(one, target));
      if (given === undefined) throw new FileError("EINVAL", `there is no pool for ${labelsText(target.labels)}`);
      checkTarget(target);
      checkGroups(context, target.replicas, given.groups, target.labels);
      pool = { pool: (pools.at(-1)?.pool ?? 0) + 1, replicas: target.replicas, labels: sortedLabels(target.labels) };
      pools.push(pool);
      made.push({ pool, groups: given.groups });
    }
    rules.push({ syntax, pattern, pool: pool.pool });
  }
  if (pools.length > poolsMax) throw new FileError("ENOSPC", `a volume has at most ${poolsMax} pools`);

  if (failureDomain !== before.failureDomain)
    for (const group of groups.groupsOf(volume)) groups.putGroup({ ...group, failureDomain });
  for (const { pool, groups: members } of made) makeGroups(context, { volume, ...pool, failureDomain }, members);
  placements.put(volume, { version: before.version + 1, failureDomain, pools, rules });
  return { kind: "done" };
}

/** Errors: EINVAL. */
function checkTarget({ replicas, labels }: Target): void {
  checkReplicas(replicas);
  const wrong = labels.find(({ key, value }: Label) => !isLabelKey(key) || value === "");
  if (wrong !== undefined) throw new FileError("EINVAL", `not a label: ${wrong.key}=${wrong.value}`);
}
