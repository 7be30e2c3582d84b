/** What volumes ask of stores and these can't give: fewer stores with the labels than copies, fewer failure domains than copies. */
import { defaultFailureDomain, type GroupRecord } from "../namespace/model.ts";
import { labelsText } from "../namespace/store-labels.ts";
import { domainCount, mayHold, type StorePlace } from "./failure-domains.ts";

type Pool = Pick<GroupRecord, "volume" | "pool" | "replicas" | "labels" | "failureDomain">;

export interface Shortfall {
  readonly volume: number;
  readonly text: string;
}

/** @param stores that keep what they have, or take more */
export function findShortfalls(groups: readonly GroupRecord[], stores: readonly StorePlace[]): Shortfall[] {
  const pools = new Map<string, Pool>();
  for (const group of groups) if (group.volume !== 0) pools.set(`${group.volume} ${group.pool}`, group);
  return [...pools.values()].flatMap((pool) => {
    const text = shortfallOf(pool, stores);
    return text === undefined ? [] : [{ volume: pool.volume, text }];
  });
}

/** A sentence's end; undefined if all can be met. */
export function shortfallOf(
  { replicas, labels, failureDomain }: Pick<Pool, "replicas" | "labels" | "failureDomain">,
  stores: readonly StorePlace[],
): string | undefined {
  const fitting = stores.filter((store) => mayHold(store, { labels, failureDomain }));
  const on = labels.length === 0 ? "" : ` on ${labelsText(labels)}`;
  if (fitting.length < replicas) {
    const are = fitting.length === 1 ? "there is 1" : `there are ${fitting.length}`;
    return `${replicas} copies${on} need as many stores, ${are}`;
  }
  const domains = domainCount(fitting, failureDomain);
  // Which machines there are nobody has said: a cluster on one of them is as it is meant to be.
  if (failureDomain === defaultFailureDomain || domains >= replicas) return undefined;
  return `${replicas} copies${on} are to be in as many different places by "${failureDomain}", there are ${domains}`;
}
