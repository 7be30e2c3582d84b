/**
 * changeGroup: new members or states of a group, in the next generation.
 *
 * Errors: ENOENT (no such group), ESTALE (it has another generation by now), EINVAL (members as in createGroups; a member
 * that gets in sync without having been catching up, which would lose what it missed).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import type { OperationOf, Result } from "../operation.ts";
import { checkMembers } from "./volume-groups.ts";

export function changeGroup(context: Context, operation: OperationOf<"changeGroup">): Result {
  const { groups } = context.tables;
  const { generation, members } = operation;
  const group = groups.group(operation.group);
  if (group === undefined) throw new FileError("ENOENT", `no group ${operation.group}`);
  if (group.generation !== generation) {
    throw new FileError("ESTALE", `group ${operation.group} has generation ${group.generation}`);
  }
  checkMembers(context, members);
  for (const { store, state } of members) {
    const before = group.members.find((member) => member.store === store)?.state;
    if (state === "inSync" && before !== "inSync" && before !== "catchingUp") {
      throw new FileError("EINVAL", `store ${store} has not caught up with group ${operation.group}`);
    }
  }
  for (const { store } of members) {
    const record = groups.store(store)!;
    const isNew = !group.members.some((member) => member.store === store);
    if (isNew && record.status === "removed") throw new FileError("EINVAL", `store ${store} was removed`);
    // A spare that is taken into a group is one no more.
    if (record.status === "spare") groups.putStore({ ...record, status: "active" });
  }
  groups.putGroup({ ...group, generation: generation + 1, members });
  return { kind: "done" };
}
