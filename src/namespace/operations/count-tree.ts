/**
 * countTree: a step of counting what is in a directory that has got a quota, or of taking it out of one that has ended.
 *
 * From the top down: a directory gets the tree before its entries are looked at, so what is made in it meanwhile has it already,
 * and what is moved in gets it. So every entry with the old tree was there before and has kept its cookie; those up to `upTo` are
 * looked at now. While it goes on no directory can be moved from the part that is done to the other, or back: the two are different
 * quotas (quota-trees.ts). A file of another tree (one of several names, the others elsewhere) stays in that.
 *
 * Errors: ENOENT (this directory isn't to be looked at).
 */
import { FileError } from "../../errors/file-error.ts";
import type { Context } from "../context.ts";
import { draftOf } from "../inodes.ts";
import type { OperationOf, Result } from "../operation.ts";
import { treeChange } from "../quota-trees.ts";
import { scanRowsMax } from "../state.ts";
import type { ListedEntry } from "../tables/entry-table.ts";
import type { Tables } from "../tables/tables.ts";

export function countTree(context: Context, operation: OperationOf<"countTree">): Result {
  const { tables } = context;
  const { inodes, quotas } = tables;
  const { volume, tree, directory, upTo, last } = operation;
  const counting = quotas.getCounting(volume, tree, directory);
  if (counting === undefined) throw new FileError("ENOENT", `directory ${directory} is not to be looked at`);
  const { from, to } = treeChange(quotas.get(volume, "tree", tree)?.limits, tree);
  // It may have been removed, or the quota was set and removed again meanwhile.
  const isOfUse = inodes.get(volume, directory)?.tree === to;
  const entries = isOfUse ? entriesUpTo(tables, volume, directory, counting.after, upTo) : [];
  for (const { inode, type } of entries) {
    const record = inodes.get(volume, inode)!;
    if (record.tree !== from) continue;
    const changed = draftOf(record);
    changed.tree = to;
    inodes.put(volume, changed);
    if (type === "directory") quotas.putCounting({ volume, tree, directory: inode, after: 0 });
  }
  if (last || !isOfUse) quotas.deleteCounting(volume, tree, directory);
  else quotas.putCounting({ volume, tree, directory, after: Math.max(counting.after, upTo) });
  return { kind: "done" };
}

function entriesUpTo(tables: Tables, volume: number, directory: number, after: number, upTo: number): ListedEntry[] {
  const entries: ListedEntry[] = [];
  for (let from = after; ; ) {
    const listed = tables.entries.list(volume, directory, from, scanRowsMax);
    for (const entry of listed) if (entry.cookie <= upTo) entries.push(entry);
    const last = listed.at(-1);
    if (last === undefined || last.cookie >= upTo) return entries;
    from = last.cookie;
  }
}
