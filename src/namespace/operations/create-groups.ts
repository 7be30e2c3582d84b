/**
 * createGroups: mirror groups of a placement rule, with generation 1.
 *
 * Errors: EINVAL (members that aren't `replicas` different known stores, or none in sync), ENOSPC (no numbers left).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import { type GroupMember, groupMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";

export function createGroups(context: Context, operation: OperationOf<"createGroups">): Result {
  const { groups, header } = context.tables;
  const { replicas } = operation;
  for (const members of operation.groups) {
    checkMembers(context, members);
    if (members.length !== replicas) throw new FileError("EINVAL", `${members.length} members of ${replicas}`);
  }
  if (header.peek("nextGroup") + operation.groups.length - 1 > groupMax) {
    throw new FileError("ENOSPC", "no group numbers are left");
  }
  for (const members of operation.groups) {
    groups.putGroup({ group: header.take("nextGroup"), replicas, generation: 1, members, nextNumber: 0 });
  }
  return { kind: "done" };
}

/** Different stores that are registered, at least one in sync. Errors: EINVAL. */
export function checkMembers(context: Context, members: readonly GroupMember[]): void {
  const stores = new Set(members.map((member) => member.store));
  if (stores.size !== members.length) throw new FileError("EINVAL", "a store comes twice in a group");
  for (const store of stores) {
    if (context.tables.groups.store(store) === undefined) throw new FileError("EINVAL", `no store ${store}`);
  }
  if (!members.some((member) => member.state === "inSync")) throw new FileError("EINVAL", "no member is in sync");
}
