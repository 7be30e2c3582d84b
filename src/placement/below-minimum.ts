/** Groups that take no writes now, because fewer members are in sync than their volume wants: in words, by volume and by who is missing. */
import { inSyncCount, inSyncMinOf } from "../namespace/in-sync-min.ts";
import type { GroupRecord, VolumeRecord } from "../namespace/model.ts";

type Volume = Pick<VolumeRecord, "volume" | "name" | "inSyncMin">;
type Group = Pick<GroupRecord, "volume" | "replicas" | "members">;

function isBelowMinimum(group: Group, volume: Pick<VolumeRecord, "inSyncMin">): boolean {
  return inSyncCount(group) < inSyncMinOf(group, volume);
}

/** One sentence for each volume with such groups. */
export function minimumProblems(groups: readonly Group[], volumes: readonly Volume[]): string[] {
  return volumes.flatMap((volume) => {
    const below = groups.filter((group) => group.volume === volume.volume && isBelowMinimum(group, volume));
    if (below.length === 0) return [];
    const missing = new Set(
      below.flatMap(({ members }) => members.filter(({ state }) => state !== "inSync")).map(numberOf),
    );
    const stores = [...missing].sort((left, right) => left - right).join(", ");
    const who =
      missing.size === 0 ? "copies are still to be made" : `not in sync: store${missing.size > 1 ? "s" : ""} ${stores}`;
    const fewest = Math.min(...below.map(inSyncCount));
    const reads = fewest === 0 ? "and reads, where no copy is in sync" : "reads go on";
    return [
      `Volume ${volume.name} takes writes with ${volume.inSyncMin} copies in sync or more, and ${below.length} of its groups have fewer, down to ${fewest} (${who}): writes to them wait, ${reads}. Bring the store back, or set a lower --in-sync-min.`,
    ];
  });
}

function numberOf({ store }: { readonly store: number }): number {
  return store;
}
