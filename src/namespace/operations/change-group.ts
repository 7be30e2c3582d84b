/**
 * changeGroup: new members or states of a group, in the next generation.
 *
 * Errors: ENOENT (no such group), ESTALE (it has another generation by now), EINVAL (members as in createGroups; a member
 * that gets in sync without having been catching up, which would lose what it missed).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import type { GroupMember, GroupRecord } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";
import type { LastInSync } from "../rows.ts";
import { checkMembers } from "./volume-groups.ts";

export function changeGroup(context: Context, operation: OperationOf<"changeGroup">): Result {
  const { members } = operation;
  const group = groupInGeneration(context, operation);
  checkMembers(context, members);
  for (const { store, state } of members) {
    const before = stateIn(group, store);
    if (state === "inSync" && before !== "inSync" && before !== "catchingUp") {
      throw new FileError("EINVAL", `store ${store} has not caught up with group ${operation.group}`);
    }
  }
  putMembers(context, group, members);
  return { kind: "done" };
}

/** Errors: ENOENT, ESTALE. */
export function groupInGeneration(context: Context, of: { group: number; generation: number }): GroupRecord {
  const group = context.tables.groups.group(of.group);
  if (group === undefined) throw new FileError("ENOENT", `no group ${of.group}`);
  if (group.generation === of.generation) return group;
  throw new FileError("ESTALE", `group ${of.group} has generation ${group.generation}`);
}

/** The group's next generation. Errors: EINVAL (a store that was removed comes in). */
export function putMembers(context: Context, group: GroupRecord, members: GroupMember[]): void {
  const { groups } = context.tables;
  for (const { store } of members) {
    const isNew = stateIn(group, store) === undefined;
    if (isNew && groups.store(store)!.status === "removed") throw new FileError("EINVAL", `store ${store} was removed`);
  }
  for (const { store } of members) {
    const record = groups.store(store)!;
    // A spare that is taken into a group is one no more.
    if (record.status === "spare") groups.putStore({ ...record, status: "active" });
  }
  groups.putLastInSync(group.group, lastInSync(group, members, groups.lastInSync(group.group)));
  groups.putGroup({ ...group, generation: group.generation + 1, members });
}

function lastInSync(group: GroupRecord, members: readonly GroupMember[], before: LastInSync): LastInSync {
  return members.flatMap(({ store, state }) => {
    if (state === "inSync") return [];
    if (stateIn(group, store) === "inSync") return [{ store, generation: group.generation }];
    return before.filter((one) => one.store === store);
  });
}

function stateIn({ members }: GroupRecord, store: number): GroupMember["state"] | undefined {
  return members.find((member) => member.store === store)?.state;
}
