/**
 * From whom a member takes what it lacks, in a catch-up (of a member that was away, or of a new one) and when chunks are made equal after
 * the end of a session: by one rule. Stores that are slow are asked for what no other has.
 */
import type { GroupMember } from "../namespace/model.ts";
import type { Leader } from "./leader.ts";
import type { Stores } from "./stores.ts";

/** Measured, or called so by an operator. */
export function slowSources(leader: Leader, stores: Stores): Set<number> {
  const called = leader.namespace.stores().filter(({ isCalledSlow }) => isCalledSlow);
  return new Set([...stores.slow(), ...called.map(({ store }) => store)]);
}

/** Those of the holders that are asked, by number; none only where nobody holds it. */
export function copySources(holders: readonly GroupMember[], slow: ReadonlySet<number>): GroupMember[] {
  const quick = holders.filter(({ store }) => !slow.has(store));
  return [...(quick.length > 0 ? quick : holders)].sort((left, right) => left.store - right.store);
}
