/** What several operations of the model share. */
import type { Model, ModelInode } from "./model.ts";
import type { Execution } from "./model-operations.ts";
import type { Prediction } from "./model-prediction.ts";

export function failed(model: Model, ...errnos: string[]): Execution {
  return { model, prediction: { kind: "failed", errnos } };
}

export function attributesOf(model: Model, inode: ModelInode): Prediction {
  return { kind: "attributes", inode, subdirectories: subdirectories(model, inode) };
}

function subdirectories(model: Model, { entries }: ModelInode): number {
  let count = 0;
  for (const key of entries.values()) if (model.inode(key).type === "directory") count += 1;
  return count;
}

/** The inode was lost, or its last name and handle were. */
export function withoutUse(inode: ModelInode): ModelInode {
  return dropUnused({ ...inode, linkCount: 0, holds: new Map(), unnamedBy: undefined });
}

/** The inode, or what is left of it: without names and handles, it is gone. */
export function dropUnused(inode: ModelInode): ModelInode {
  if (inode.linkCount > 0 || inode.holds.size > 0 || inode.unnamedBy !== undefined) return inode;
  const nothing = { pieces: [], entries: new Map(), mapped: new Set<number>(), extended: new Map(), lists: new Map() };
  return { ...inode, ...nothing, locks: [], gone: true };
}
