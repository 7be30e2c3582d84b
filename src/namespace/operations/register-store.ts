/**
 * registerStore: a store's first registration gives it its number; a later one its new address, and those labels that its server
 * names otherwise than at its start before. It takes groups from the start in a cluster that has none, later it is a spare until it
 * is asked for.
 *
 * Errors: EINVAL (no server id), EPERM (it was removed).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import { labelsMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";
import { changedLabels, labelChanges } from "../store-labels.ts";

export function registerStore(context: Context, operation: OperationOf<"registerStore">): Result {
  const { groups, header } = context.tables;
  const { serverId, address } = operation;
  if (serverId === "") throw new FileError("EINVAL", "a store needs a server id");
  const known = groups.storeOfServer(serverId);
  if (known?.status === "removed") throw new FileError("EPERM", `store ${known.store} was removed`);
  const store = known?.store ?? header.take("nextStore");
  const status = known?.status ?? (groups.groups().length === 0 ? "active" : "spare");
  const changes = labelChanges(known?.startLabels ?? [], operation.labels);
  const labels = changedLabels(known?.labels ?? [], changes).slice(0, labelsMax);
  const isCalledSlow = known?.isCalledSlow ?? false;
  groups.putStore({ store, serverId, address, labels, startLabels: operation.labels, status, isCalledSlow });
  return { kind: "made", id: store };
}
