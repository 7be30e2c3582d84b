/**
 * callStoreSlow: an operator says that a store is slow, or is it no more: clients then read from it only where no other has a copy.
 * It stays so, whoever is started again.
 *
 * Errors: ENOENT (no such store, or removed).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import type { OperationOf, Result } from "../operation.ts";

export function callStoreSlow(context: Context, operation: OperationOf<"callStoreSlow">): Result {
  const { groups } = context.tables;
  const { isCalledSlow } = operation;
  const store = groups.store(operation.store);
  if (store === undefined || store.status === "removed") throw new FileError("ENOENT", `no store ${operation.store}`);
  groups.putStore({ ...store, isCalledSlow });
  return { kind: "done" };
}
