/**
 * skipGroups: numbers of groups that a store knows, and this state doesn't, were used after the backup that the state is from. Stores have
 * chunks under them, so they are not given again.
 */
import type { Context } from "../context.ts";
import { groupMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";

export function skipGroups({ tables }: Context, { below }: OperationOf<"skipGroups">): Result {
  tables.header.skipTo("nextGroup", Math.min(below, groupMax + 1));
  return { kind: "done" };
}
