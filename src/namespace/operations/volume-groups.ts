/**
 * Mirror groups of a new volume, or of a new pool of one: those that a deleted volume has left, as far as they fit; else new ones with generation 1,
 * fewer the less numbers are left, so that there is something for later volumes too.
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import { type GroupMember, type GroupRecord, groupMax, type Label } from "../model.ts";
import { hasLabels } from "../store-labels.ts";

/** A new volume takes at most this part of the numbers that are left. */
const fractionOfNumbers = 1 / 32;

/** What groups that are made have in common. */
export type GroupsOf = Pick<GroupRecord, "volume" | "pool" | "replicas" | "labels" | "failureDomain">;

/** Of members that were checked. */
export function makeGroups(context: Context, of: GroupsOf, wanted: readonly GroupMember[][]): void {
  const { groups, header } = context.tables;
  const free = freeGroups(context, of.replicas, of.labels);
  const adopted = free.slice(0, wanted.length);
  const made = Math.min(wanted.length - adopted.length, numbersFor(context));
  for (const group of adopted) groups.putGroup({ ...group, ...of });
  for (const members of wanted.slice(0, made)) {
    groups.putGroup({ ...of, group: header.take("nextGroup"), generation: 1, members, nextNumber: 0 });
  }
}

/** Errors: EINVAL (members that aren't `replicas` different known stores, or none in sync), ENOSPC (no numbers left). */
export function checkGroups(
  context: Context,
  replicas: number,
  wanted: readonly GroupMember[][],
  labels: readonly Label[] = [],
): void {
  for (const members of wanted) {
    checkMembers(context, members);
    if (members.length !== replicas) throw new FileError("EINVAL", `${members.length} members of ${replicas}`);
  }
  const available = numbersFor(context) + freeGroups(context, replicas, labels).length;
  if (wanted.length > 0 && available === 0) throw new FileError("ENOSPC", "no group numbers are left");
}

/** Numbers that may be taken now. */
function numbersFor({ tables }: Context): number {
  return Math.ceil((groupMax + 1 - tables.header.peek("nextGroup")) * fractionOfNumbers);
}

/** Whole ones that no volume has, on stores with these labels. */
function freeGroups({ tables }: Context, replicas: number, labels: readonly Label[]): GroupRecord[] {
  const fits = (store: number) => hasLabels(tables.groups.store(store)?.labels ?? [], labels);
  return tables.groups
    .groupsOf(0)
    .filter((group) => isWhole(group, replicas) && group.members.every(({ store }) => fits(store)));
}

/** Different stores that are registered, at least one in sync. Errors: EINVAL. */
export function checkMembers(context: Context, members: readonly GroupMember[]): void {
  checkStores(context, members);
  if (!members.some((member) => member.state === "inSync")) throw new FileError("EINVAL", "no member is in sync");
}

/** Different ones that are registered. Errors: EINVAL. */
export function checkStores(context: Context, members: readonly GroupMember[]): void {
  const stores = new Set(members.map((member) => member.store));
  if (stores.size !== members.length) throw new FileError("EINVAL", "a store comes twice in a group");
  for (const store of stores) {
    if (context.tables.groups.store(store) === undefined) throw new FileError("EINVAL", `no store ${store}`);
  }
}

function isWhole({ members }: GroupRecord, replicas: number): boolean {
  return members.length === replicas && members.every((member) => member.state === "inSync");
}
