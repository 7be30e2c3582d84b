/** Copies files and whole directories from one tree to another, with progress: `brine put`, `get` and `cp`. */
import { BrineError } from "../../errors/brine-error.ts";
import type { Clock } from "../../platform/clock.ts";
import { baseName, type FileTree, pathIn, type TreeEntry } from "../../platform/file-tree.ts";
import { printError } from "../../platform/processes.ts";
import { Progress } from "../progress.ts";
import { about, missing } from "./on-volume.ts";

const bytesPerMiB = 1024 * 1024;

export interface CopyOptions {
  readonly from: FileTree;
  readonly to: FileTree;
  readonly recursive: boolean;
  readonly clock: Clock;
  /** What the bar says: `putting`. */
  readonly what: string;
  /** Copies a file's content in another way than through this process. */
  readonly share?: (source: string, target: string, entry: TreeEntry, copied: (bytes: number) => void) => Promise<void>;
}

/** What is to be copied, in the order in which it is. */
interface Item {
  readonly source: string;
  readonly target: string;
  readonly entry: TreeEntry;
}

/**
 * Copies `sources` into the directory `target`; a single one becomes `target` itself if no directory is there. Symlinks inside
 * directories are copied as such. Everything is durable at the end. Returns the files and bytes copied.
 */
export async function copyTree(
  sources: readonly string[],
  target: string,
  options: CopyOptions,
): Promise<{ files: number; bytes: number }> {
  const { to } = options;
  const targetEntry = await about(target, () => to.look(target, true));
  const isInto = targetEntry?.type === "directory";
  if (sources.length > 1 && !isInto) {
    throw new BrineError("invalid", `${target} is no directory`, { advice: "several things only go into one" });
  }
  const items: Item[] = [];
  for (const source of sources) {
    const place = isInto ? pathIn(target, baseName(source)) : target;
    await gather(source, place, options, items);
  }
  const files = items.filter(({ entry }) => entry.type === "file");
  const totalBytes = files.reduce((sum, { entry }) => sum + entry.size, 0);
  const progress = new Progress(options.clock, options.what, Math.ceil(totalBytes / bytesPerMiB), "MiB");
  let bytes = 0;
  for (const item of items) {
    await about(item.source, () =>
      copyItem(item, options, (count) => {
        bytes += count;
        progress.update(Math.floor(bytes / bytesPerMiB));
      }),
    );
  }
  // The last first: what is made in a directory changes its time.
  for (const { target: path, entry } of items.reverse()) {
    if (entry.type === "directory") await about(path, () => to.finishDirectory(path, entry));
  }
  await about(target, () => to.sync());
  progress.finish();
  return { files: files.length, bytes };
}

/** Symlinks that are named on the command line are followed. */
async function gather(
  source: string,
  target: string,
  options: CopyOptions,
  items: Item[],
  follow = true,
): Promise<void> {
  const { from, recursive } = options;
  const entry = await about(source, () => from.look(source, follow));
  if (entry === undefined) throw missing(source);
  if (entry.type === "other") {
    printError(`brine: ${source} is left out: it is no file, directory or symlink`);
    return;
  }
  items.push({ source, target, entry });
  if (entry.type !== "directory") return;
  if (!recursive) {
    throw new BrineError("refused", `${source === "" ? "/" : source} is a directory`, { advice: "use -r" });
  }
  for (const name of await about(source, () => from.list(source))) {
    await gather(pathIn(source, name), pathIn(target, name), options, items, false);
  }
}

async function copyItem(
  { source, target, entry }: Item,
  { from, to, share }: CopyOptions,
  copied: (bytes: number) => void,
): Promise<void> {
  if (entry.type === "directory") await to.makeDirectory(target);
  else if (entry.type === "symlink") await to.makeSymlink(target, await from.readLink(source));
  else if (share !== undefined) await share(source, target, entry, copied);
  else await to.write(target, entry, counted(from.read(source), copied));
}

async function* counted(
  pieces: AsyncIterable<Uint8Array>,
  copied: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const piece of pieces) {
    yield piece;
    copied(piece.byteLength);
  }
}
