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

/** The inode, or what is left of it: without names and handles, it is gone. */
export function dropUnused(inode: ModelInode): ModelInode {
  const gone = inode.linkCount === 0 && inode.holds.size === 0;
  return gone
    ? { ...inode, gone: true, pieces: [], entries: new Map(), mapped: new Set(), extended: new Map(), locks: [] }
    : inode;
}
