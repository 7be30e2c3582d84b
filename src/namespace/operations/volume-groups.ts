/**
 * Mirror groups of a new volume: those that a deleted volume has left, as far as they fit; else new ones with generation 1,
 * fewer the less numbers are left, so that there is something for later volumes too.
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import { type GroupMember, type GroupRecord, groupMax } from "../model.ts";

/** A new volume takes at most this part of the numbers that are left. */
const fractionOfNumbers = 1 / 32;

/** Changes nothing if it fails. Errors: EINVAL (members that aren't `replicas` different known stores, or none in sync), ENOSPC (no numbers left). */
export function makeGroups(
  context: Context,
  wanted: { volume: number; replicas: number; groups: readonly GroupMember[][] },
): void {
  const { groups, header } = context.tables;
  const { volume, replicas } = wanted;
  for (const members of wanted.groups) {
    checkMembers(context, members);
    if (members.length !== replicas) throw new FileError("EINVAL", `${members.length} members of ${replicas}`);
  }
  const free = groups.groupsOf(0).filter((group) => isWhole(group, replicas));
  const adopted = free.slice(0, wanted.groups.length);
  const left = groupMax + 1 - header.peek("nextGroup");
  const made = Math.min(wanted.groups.length - adopted.length, Math.ceil(left * fractionOfNumbers));
  if (made + adopted.length === 0 && wanted.groups.length > 0)
    throw new FileError("ENOSPC", "no group numbers are left");
  for (const group of adopted) groups.putGroup({ ...group, volume, replicas });
  for (const members of wanted.groups.slice(0, made)) {
    groups.putGroup({ group: header.take("nextGroup"), volume, replicas, generation: 1, members, nextNumber: 0 });
  }
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

function isWhole({ members }: GroupRecord, replicas: number): boolean {
  return members.length === replicas && members.every((member) => member.state === "inSync");
}
