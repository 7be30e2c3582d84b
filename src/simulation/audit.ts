/** Looks at everything that a mount shows: the whole tree, all attributes, and the data around everything ever written. */
import type { FileType } from "../client/file-system.ts";
import type { HindsightChecker } from "./checkers/hindsight.ts";
import type { FileOperation } from "./file-operation.ts";
import { changesData } from "./model-data.ts";
import type { Mount } from "./mount.ts";
import type { Recorder } from "./recorder.ts";
import { abilities } from "./workload-kinds.ts";

/** Read beyond both ends of what was written, to see that nothing was written there. */
const marginBytes = 5_000;
const readBytesMax = 1024 * 1024;

/**
 * Every operation is judged by the checker as it returns. `only`: of everything else, only where it is.
 * Errors: Violation, MountDied.
 */
export async function audit(
  mount: Mount,
  recorder: Recorder,
  checker: HindsightChecker,
  only?: ReadonlySet<number>,
): Promise<void> {
  const waiting = [mount.root];
  const seen = new Set<number>(waiting);
  if (only?.has(mount.root) !== false) await recorder.perform(mount, { kind: "getAttributes", inode: mount.root });
  for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
    const { outcome } = await recorder.perform(mount, { kind: "readDirectory", inode: directory });
    if (outcome.kind !== "entries") continue;
    for (const { name, inode } of outcome.entries) {
      const isWanted = only?.has(inode) ?? true;
      if (!isWanted && checker.possibleModels[0].numbered(inode)?.type !== "directory") continue;
      const { outcome: found } = await recorder.perform(mount, { kind: "lookup", parent: directory, name });
      if (found.kind === "absent" || found.kind === "failed" || seen.has(inode)) continue;
      seen.add(inode);
      const type = isWanted ? await auditInode(mount, inode, recorder, checker) : "directory";
      if (type === "directory") waiting.push(inode);
    }
  }
}

/** Looks what an inode is like, if it is there. */
async function auditInode(
  mount: Mount,
  inode: number,
  recorder: Recorder,
  checker: HindsightChecker,
): Promise<FileType | undefined> {
  const { outcome } = await recorder.perform(mount, { kind: "getAttributes", inode });
  if (outcome.kind !== "attributes") return undefined;
  const { type } = outcome.attributes;
  if (abilities.extended) await recorder.perform(mount, { kind: "listExtended", inode });
  if (type !== "symlink") await recorder.perform(mount, { kind: "getAccessList", inode, which: "access" });
  if (type === "directory") await recorder.perform(mount, { kind: "getAccessList", inode, which: "default" });
  if (type === "symlink") await recorder.perform(mount, { kind: "readLink", inode });
  if (type === "file") await readWritten(mount, recorder, checker, inode);
  return type;
}

/** Reads a file where something was ever written. */
export async function readWritten(
  mount: Mount,
  recorder: Recorder,
  checker: HindsightChecker,
  inode: number,
): Promise<void> {
  const { opened } = await recorder.perform(mount, { kind: "open", inode, truncate: false, append: false });
  if (opened === undefined) return;
  const { handle } = opened;
  for (const { from, to } of writtenRanges(checker, inode)) {
    for (let offset = from; offset < to; offset += readBytesMax) {
      const length = Math.min(readBytesMax, to - offset);
      await recorder.perform(mount, { kind: "read", inode, offset, length }, handle);
    }
  }
  await recorder.perform(mount, { kind: "close", inode }, handle);
}

/** Looks whether an operation of this mount has taken effect, so that the checker knows. */
export async function observe(
  mount: Mount,
  operation: FileOperation,
  recorder: Recorder,
  checker: HindsightChecker,
): Promise<void> {
  if ("inode" in operation) await recorder.perform(mount, { kind: "getAttributes", inode: operation.inode });
  if ("parent" in operation && "name" in operation) {
    await recorder.perform(mount, { kind: "lookup", parent: operation.parent, name: operation.name });
  }
  if ("newParent" in operation) {
    await recorder.perform(mount, { kind: "lookup", parent: operation.newParent, name: operation.newName });
  }
  if (operation.kind === "setExtended" || operation.kind === "removeExtended") {
    await recorder.perform(mount, { kind: "listExtended", inode: operation.inode });
  }
  if (operation.kind === "setAccessList") {
    await recorder.perform(mount, { kind: "getAccessList", inode: operation.inode, which: operation.which });
  }
  if (changesData(operation)) await readWritten(mount, recorder, checker, operation.inode);
}

function writtenRanges(checker: HindsightChecker, inode: number): { from: number; to: number }[] {
  const model = checker.possibleModels[0].numbered(inode);
  const ranges: { from: number; to: number }[] = [];
  for (const { start, end } of model?.pieces ?? []) {
    const from = Math.max(0, start - marginBytes);
    const last = ranges.at(-1);
    if (last !== undefined && last.to >= from) last.to = Math.max(last.to, end + marginBytes);
    else ranges.push({ from, to: end + marginBytes });
  }
  return ranges;
}
