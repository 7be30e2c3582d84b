/**
 * What a store makes of generations that don't fit to its own: the leader's metadata was restored from a backup, or the store itself was
 * set back (perhapsSetBack).
 *
 * Since a backup groups may have moved: the restored state names members that have given up their copies long ago, and doesn't name
 * those that have the present ones.
 *
 * A restore raises all generations by far more than a cluster uses up (namespace/restored.ts), so it shows. Then
 *
 * - a store that is called in sync where it knows that it was not, says that it has lost data, and is compared with the others;
 * - a store that is not named keeps the copy that it has: it may be the only one. Whether it was a member it can't tell by its number,
 *   if it has joined the cluster after the backup: the restored state has given it a new one.
 */
import type { GroupView } from "../wire/catalogue/leader.ts";
import type { Store } from "./store.ts";

/** Half of what a restore adds. A store that was away for so many changes keeps what it might have deleted. */
const generationsMin = 2 ** 19;

type Known = ReadonlyMap<number, GroupView>;

/** Groups in which this store is wrongly called in sync. */
export function wronglyInSync(known: Known, views: readonly GroupView[], store: number): GroupView[] {
  return views.filter((view) => {
    const before = restoredOver(known, view);
    return before !== undefined && stateIn(view, store) === "inSync" && stateIn(before, store) !== "inSync";
  });
}

/**
 * Groups in which this store is called in sync, although it seems to have missed that it left them and came back: that takes two
 * changes of a group at least, of which it is told. Its directory is an old copy then (a machine that was set back to a snapshot),
 * without what was acknowledged since. A store that is whole may have missed two changes of others, too: so nothing is lost for
 * certain, but it has to be compared.
 */
export function perhapsSetBack(known: Known, views: readonly GroupView[], store: number): GroupView[] {
  return views.filter((view) => {
    const before = known.get(view.group);
    if (before === undefined || stateIn(view, store) !== "inSync" || stateIn(before, store) !== "inSync") return false;
    const missed = view.generation - before.generation;
    return missed >= returnChanges && missed < generationsMin;
  });
}

/** A member is taken out, and is let in again. */
const returnChanges = 2;

/** Groups of which this store has a copy that the restored state doesn't know of. */
export function wronglyWithout(
  own: Pick<Store, "groups" | "listChunks">,
  views: readonly GroupView[],
  store: number,
): GroupView[] {
  return views.filter((view) => {
    const isUnknown = restoredOver(own.groups, view) !== undefined && stateIn(view, store) === undefined;
    return isUnknown && own.listChunks(view.group, 0, 1).length > 0;
  });
}

/** What was known before a restore; undefined if there was none. */
function restoredOver(known: Known, view: GroupView): GroupView | undefined {
  const before = known.get(view.group);
  return before !== undefined && view.generation - before.generation >= generationsMin ? before : undefined;
}

function stateIn(view: GroupView, store: number): string | undefined {
  return view.members.find((member) => member.store === store)?.state;
}
