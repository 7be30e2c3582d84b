/**
 * acceptLoss: the members of a group that were in sync are gone for good. It goes on in the next generation with what another
 * one has, its *heir*: the one that is catching up, while nobody is in sync. It gets in sync by changeGroup, when it knows what is
 * lost.
 *
 * Errors: ENOENT (no such group), ESTALE (it has another generation by now), EINVAL (unknown stores, or one twice; not one heir).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import type { OperationOf, Result } from "../operation.ts";
import { groupInGeneration, putMembers } from "./change-group.ts";
import { checkStores } from "./volume-groups.ts";

export function acceptLoss(context: Context, operation: OperationOf<"acceptLoss">): Result {
  const { members } = operation;
  const group = groupInGeneration(context, operation);
  checkStores(context, members);
  const heirs = members.filter(({ state }) => state === "catchingUp").length;
  if (heirs !== 1 || members.some(({ state }) => state === "inSync")) {
    throw new FileError("EINVAL", `group ${operation.group} would have ${heirs} heirs`);
  }
  putMembers(context, group, members);
  return { kind: "done" };
}
