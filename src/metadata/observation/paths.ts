/** Paths between the namespace, where a name is a string of bytes, and people, who read UTF-8. */
import { byteStringOf, textOf } from "../../namespace/byte-strings.ts";
import { chunkBytes, type VolumeRecord } from "../../namespace/model.ts";
import type { Namespace } from "../../namespace/namespace.ts";

/** Longer ones lose their middle. */
const pathLengthMax = 2_000;

/** Empty for an inode without a name. */
export function pathText(path: string | undefined): string {
  const text = textOf(path ?? "");
  if (text.length <= pathLengthMax) return text;
  return `${text.slice(0, pathLengthMax / 2)}…${text.slice(-pathLengthMax / 2)}`;
}

/** Whose bytes a chunk has, from which offset on; undefined if no file has it any more. */
export function fileOfChunk(
  namespace: Namespace,
  chunk: number,
): { volume: string; path: string; inode: number; offset: number } | undefined {
  const owner = namespace.chunkOwner(chunk);
  if (owner === undefined) return undefined;
  const volume = namespace.volume(owner.volume)?.name ?? "";
  const path = pathText(namespace.pathOf(owner.volume, owner.inode));
  return { volume, path, inode: owner.inode, offset: owner.index * chunkBytes };
}

/**
 * The inode that people ask about: by its number, which is believed (the leader may not have heard of it yet), or (0) by its path. Then
 * it is the last one on the way that is known, and `missing` the rest, as far as it fits into an answer.
 */
export function inodeAsked(
  namespace: Namespace,
  { volume, root }: VolumeRecord,
  { inode, path }: { readonly inode: number; readonly path: string },
): { inode: number; missing: string } {
  if (inode !== 0) return { inode, missing: "" };
  const found = inodeAt(namespace, volume, root, path);
  return { inode: found.inode, missing: found.missing.slice(0, pathLengthMax) };
}

function inodeAt(namespace: Namespace, volume: number, root: number, path: string): { inode: number; missing: string } {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  let inode = root;
  for (const [index, name] of names.entries()) {
    const isDirectory = namespace.inode(volume, inode)?.attributes.type === "directory";
    const found = isDirectory ? namespace.lookup(volume, inode, byteStringOf(name)) : undefined;
    if (found === undefined) return { inode, missing: names.slice(index).join("/") };
    inode = found.inode;
  }
  return { inode, missing: "" };
}

/** The inode and the directories above it, as far as they are known. */
export function withAncestors(namespace: Namespace, volume: number, inode: number): Set<number> {
  const found = new Set<number>();
  for (let at = inode; at !== 0 && !found.has(at); ) {
    found.add(at);
    at = namespace.inode(volume, at)?.parent ?? 0;
  }
  return found;
}
