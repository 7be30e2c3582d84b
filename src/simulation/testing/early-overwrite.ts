/** An overwrite that reached the stores before a change of a directory above its file was committed: a bug of the twin. */
import { ancestorsOf, subjectsOf } from "../checkers/touched.ts";
import type { Model, ModelInode } from "../model.ts";
import { onlyOverwrites } from "../model-data.ts";
import type { Invocation } from "../model-operations.ts";

/** One that can be left of the entries that a client's death has lost, though a change that guards it is not. */
export function earlyOverwrite(base: Model, lost: readonly Invocation[]): Invocation | undefined {
  const changed = new Set<number>();
  for (const invocation of lost) {
    const { operation } = invocation;
    if (operation.kind === "write" && operation.offset !== undefined) {
      const inode = base.numbered(operation.inode) as ModelInode | undefined;
      if (inode === undefined || !onlyOverwrites(inode, operation)) continue;
      if ([...ancestorsOf(base, [inode.key])].some((key) => changed.has(key))) return invocation;
    }
    if (operation.kind !== "rename" && operation.kind !== "exchange" && operation.kind !== "setAttributes") continue;
    for (const key of subjectsOf(base, invocation)) {
      if (base.has(key) && base.inode(key).type === "directory") changed.add(key);
    }
  }
  return undefined;
}
