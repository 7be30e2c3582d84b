/**
 * How few members in sync a group takes writes with: what its volume says, which is at most the fewest copies that the volume or
 * one of its rules makes. A rule that was removed may have left groups that are to have fewer: those want all of them.
 */
import type { GroupRecord, PlacementRecord, VolumeRecord } from "./model.ts";

/** That a file can have which is made now. */
export function fewestCopies(replicas: number, { rules, pools }: Pick<PlacementRecord, "rules" | "pools">): number {
  const ofRules = rules.map((rule) => pools.find(({ pool }) => pool === rule.pool)?.replicas ?? replicas);
  return Math.min(replicas, ...ofRules);
}

export function inSyncMinOf(group: Pick<GroupRecord, "replicas">, volume: Pick<VolumeRecord, "inSyncMin">): number {
  return Math.min(volume.inSyncMin, group.replicas);
}

export function inSyncCount({ members }: { readonly members: readonly { readonly state: string }[] }): number {
  return members.filter(({ state }) => state === "inSync").length;
}
