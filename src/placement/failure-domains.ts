/** Which stores fail together, and which may hold what. */
import { defaultFailureDomain, type GroupRecord, type Label, type StoreRecord } from "../namespace/model.ts";
import { hasLabels } from "../namespace/store-labels.ts";

/** A store as far as it matters where it stands. */
export interface StorePlace {
  readonly labels: readonly Label[];
  /** The machine. */
  readonly host: string;
}

type Wish = Pick<GroupRecord, "labels" | "failureDomain">;

export function placeOf({ labels, address }: Pick<StoreRecord, "labels" | "address">): StorePlace {
  const named = labels.find(({ key }) => key === defaultFailureDomain)?.value;
  return { labels, host: named ?? address.slice(0, address.lastIndexOf(":")) };
}

/** Stores without the label stand in one domain: nobody has said that they don't fail together. */
export function domainOf({ labels, host }: StorePlace, failureDomain: string): string {
  if (failureDomain === defaultFailureDomain) return host;
  return labels.find(({ key }) => key === failureDomain)?.value ?? "";
}

export function mayHold({ labels }: StorePlace, wish: Wish): boolean {
  return hasLabels(labels, wish.labels);
}

/** More is better: how many failure domains, and among equals how many machines. */
export function spreadOf(places: readonly StorePlace[], failureDomain: string): number {
  return domainCount(places, failureDomain) * spreadFactor + domainCount(places, defaultFailureDomain);
}

/** So many copies on these reach no more; where a machine stands in several racks, perhaps less. */
export function spreadMax(places: readonly StorePlace[], failureDomain: string, copies: number): number {
  const most = (domain: string) => Math.min(copies, domainCount(places, domain));
  return most(failureDomain) * spreadFactor + most(defaultFailureDomain);
}

export function domainCount(places: readonly StorePlace[], failureDomain: string): number {
  return new Set(places.map((place) => domainOf(place, failureDomain))).size;
}

/** Above the number of members of a group. */
const spreadFactor = 64;
