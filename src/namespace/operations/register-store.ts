/**
 * registerStore: a store's first registration gives it its number; a later one its new address.
 *
 * Errors: EINVAL (no server id).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import type { OperationOf, Result } from "../operation.ts";

export function registerStore(context: Context, operation: OperationOf<"registerStore">): Result {
  const { groups, header } = context.tables;
  const { serverId, address } = operation;
  if (serverId === "") throw new FileError("EINVAL", "a store needs a server id");
  const store = groups.storeOfServer(serverId)?.store ?? header.take("nextStore");
  groups.putStore({ store, serverId, address });
  return { kind: "made", id: store };
}
