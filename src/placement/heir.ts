/**
 * Who goes on with a group whose last good copy is gone for good: its heir. Pure.
 *
 * What the heir has becomes the group's content, so it is the member that missed least: the one that was in sync last; of those that
 * never were, one that was catching up, which has at least a part. That it can't be reached now doesn't count: it may come back
 * with more than others have, and an operator who knows that it won't removes it, too. Where no member is left, it is a store that
 * has nothing.
 */
import type { GroupMember, GroupRecord } from "../namespace/model.ts";

/** Nobody is in sync: an operator has accepted that the last one is gone, and its heir is still to find out what is lost. */
export function isOrphaned({ members }: Pick<GroupRecord, "members">): boolean {
  return !members.some(({ state }) => state === "inSync");
}

export interface HeirFacts {
  /** The last generation in which a member was in sync; 0: none. */
  readonly lastInSync: (store: number) => number;
  readonly isOnline: (store: number) => boolean;
  /** Who could begin anew. */
  readonly newStore: () => number | undefined;
}

/** Members for an acceptLoss transaction, without the store that is gone; undefined: nobody could be the heir. */
export function withHeir({ members }: GroupRecord, gone: number, facts: HeirFacts): GroupMember[] | undefined {
  const left = members.filter(({ store }) => store !== gone);
  const merit = ({ store, state }: GroupMember) => [
    facts.lastInSync(store),
    state === "catchingUp" ? 1 : 0,
    facts.isOnline(store) ? 1 : 0,
  ];
  const best = left.reduce<GroupMember | undefined>((first, one) => {
    return first === undefined || isHigher(merit(one), merit(first)) ? one : first;
  }, undefined);
  const heir = best?.store ?? facts.newStore();
  if (heir === undefined) return undefined;
  const others = left.filter(({ store }) => store !== heir).map(({ store }) => ({ store, state: "behind" as const }));
  return [{ store: heir, state: "catchingUp" }, ...others];
}

function isHigher(left: readonly number[], right: readonly number[]): boolean {
  const at = left.findIndex((figure, index) => figure !== right[index]);
  return at >= 0 && left[at]! > right[at]!;
}
