/**
 * setStoreStatus: a store takes groups, is kept for later, is being emptied, or is removed. Of a removed one the record stays:
 * its server id is never taken in again.
 *
 * Errors: ENOENT (no such store), EPERM (it was removed), EBUSY (to be removed, and in sync in a group).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import type { OperationOf, Result } from "../operation.ts";

export function setStoreStatus(context: Context, operation: OperationOf<"setStoreStatus">): Result {
  const { groups } = context.tables;
  const { status } = operation;
  const store = groups.store(operation.store);
  if (store === undefined) throw new FileError("ENOENT", `no store ${operation.store}`);
  if (store.status === "removed") throw new FileError("EPERM", `store ${store.store} was removed`);
  if (status === "removed") {
    const isNeeded = ({ members }: { members: readonly { store: number; state: string }[] }): boolean =>
      members.some((member) => member.store === store.store && member.state === "inSync");
    if (groups.groups().some(isNeeded)) throw new FileError("EBUSY", `store ${store.store} is in sync in groups`);
  }
  groups.putStore({ ...store, status });
  return { kind: "done" };
}
