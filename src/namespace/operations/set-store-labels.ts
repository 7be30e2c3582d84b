/**
 * setStoreLabels: labels of a store change while it runs. They stay over its restarts, until its server names others at a start.
 *
 * Errors: ENOENT (no such store, or removed), EINVAL (a key that isn't [A-Za-z0-9._-]{1,64}, more than `labelsMax`).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import { labelsMax } from "../model.ts";
import type { OperationOf, Result } from "../operation.ts";
import { changedLabels, isLabelKey } from "../store-labels.ts";

export function setStoreLabels(context: Context, operation: OperationOf<"setStoreLabels">): Result {
  const { groups } = context.tables;
  const record = groups.store(operation.store);
  if (record === undefined || record.status === "removed") throw new FileError("ENOENT", `no store ${operation.store}`);
  const wrong = operation.labels.find(({ key }) => !isLabelKey(key));
  if (wrong !== undefined) throw new FileError("EINVAL", `not a label: ${wrong.key}`);
  const labels = changedLabels(record.labels, operation.labels);
  if (labels.length > labelsMax) throw new FileError("EINVAL", `a store has at most ${labelsMax} labels`);
  groups.putStore({ ...record, labels });
  return { kind: "done" };
}
