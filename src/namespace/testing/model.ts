/**
 * A POSIX tree in memory, as simple as can be, that foretells what the namespace should do: an error's name, or nothing
 * and the tree changed. Written apart from the operations, so that a mistake in one shows.
 */
import type { ErrnoName } from "../../errors/errno.ts";
import { chunkBytes, extendedBytesMax, type FileType } from "../model.ts";

export interface ModelNode {
  readonly inode: number;
  readonly type: FileType;
  mode: number;
  readonly gid: number;
  size: number;
  /** Entries in the order of a listing. */
  readonly entries: Map<string, ModelNode>;
  readonly chunks: Map<number, number>;
  /** Extended attributes: the length of each value. */
  readonly extended: Map<string, number>;
  /** Directories: undefined for a removed one. */
  parent: ModelNode | undefined;
}

export type Outcome = ErrnoName | undefined;

export class Model {
  readonly root: ModelNode;
  readonly nodes = new Map<number, ModelNode>();
  readonly toDelete = new Set<number>();

  /** Files that never had a name. */
  readonly #unnamed = new Set<ModelNode>();
  readonly #treeOf: (inode: number) => number;

  /** @param treeOf the directory whose quota an inode counts for, as it is in the namespace */
  constructor(root: number, treeOf: (inode: number) => number = () => 0) {
    this.#treeOf = treeOf;
    this.root = { ...emptyNode(root, "directory", 0o755, 0), parent: undefined };
    this.nodes.set(root, this.root);
  }

  linkCount(node: ModelNode): number {
    const isGone = node !== this.root && node.parent === undefined;
    if (node.type !== "directory") return this.#names(node);
    return isGone ? 0 : 2 + [...node.entries.values()].filter(({ type }) => type === "directory").length;
  }

  orphans(): number[] {
    const gone = [...this.nodes.values()].filter((node) => this.linkCount(node) === 0);
    return gone.map(({ inode }) => inode).sort((left, right) => left - right);
  }

  create(parent: number, name: string, inode: number, type: FileType, mode: number): Outcome {
    const directory = this.#directory(parent);
    if (typeof directory === "string") return directory;
    if (directory.entries.has(name)) return "EEXIST";
    const inherits = (directory.mode & 0o2000) !== 0;
    const given = type === "symlink" ? 0o777 : mode;
    const ownMode = inherits && type === "directory" ? given | 0o2000 : given;
    const node = emptyNode(inode, type, ownMode, inherits ? directory.gid : 1000);
    if (type === "symlink") node.size = "target".length;
    if (type === "directory") node.parent = directory;
    directory.entries.set(name, node);
    this.nodes.set(inode, node);
    return undefined;
  }

  link(inode: number, parent: number, name: string): Outcome {
    const node = this.nodes.get(inode);
    if (node === undefined) return "ENOENT";
    const directory = this.#directory(parent);
    if (typeof directory === "string") return directory;
    if (directory.entries.has(name)) return "EEXIST";
    if (node.type === "directory") return "EPERM";
    if (this.linkCount(node) === 0 && !this.#unnamed.has(node)) return "ENOENT";
    if (this.#treeOf(inode) !== this.#treeOf(parent)) return "EXDEV";
    this.#unnamed.delete(node);
    directory.entries.set(name, node);
    return undefined;
  }

  remove(parent: number, name: string, isRmdir: boolean): Outcome {
    const directory = this.#directory(parent);
    if (typeof directory === "string") return directory;
    const node = directory.entries.get(name);
    if (node === undefined) return "ENOENT";
    if (isRmdir && node.type !== "directory") return "ENOTDIR";
    if (!isRmdir && node.type === "directory") return "EISDIR";
    if (node.entries.size > 0) return "ENOTEMPTY";
    directory.entries.delete(name);
    node.parent = undefined;
    return undefined;
  }

  rename(parent: number, name: string, newParent: number, newName: string, noReplace: boolean): Outcome {
    const from = this.#directory(parent);
    if (typeof from === "string") return from;
    const to = this.#directory(newParent);
    if (typeof to === "string") return to;
    const node = from.entries.get(name);
    if (node === undefined) return "ENOENT";
    const target = to.entries.get(newName);
    if (target !== undefined && noReplace) return "EEXIST";
    if (from !== to && isWithin(to, node)) return "EINVAL";
    if (from !== to && target !== undefined && isWithin(from, target)) return "ENOTEMPTY";
    if (target === node) return undefined;
    if (target !== undefined) {
      if (node.type === "directory" && target.type !== "directory") return "ENOTDIR";
      if (node.type !== "directory" && target.type === "directory") return "EISDIR";
      if (target.entries.size > 0) return "ENOTEMPTY";
    }
    if (this.#staysInQuota(node, from, to, from === to && target === undefined)) return "EXDEV";
    if (target !== undefined) target.parent = undefined;
    from.entries.delete(name);
    to.entries.set(newName, node);
    if (node.type === "directory") node.parent = to;
    return undefined;
  }

  exchange(parent: number, name: string, newParent: number, newName: string): Outcome {
    const from = this.#directory(parent);
    if (typeof from === "string") return from;
    const to = this.#directory(newParent);
    if (typeof to === "string") return to;
    const [one, other] = [from.entries.get(name), to.entries.get(newName)];
    if (one === undefined || other === undefined) return "ENOENT";
    if (from !== to && (isWithin(to, one) || isWithin(from, other))) return "EINVAL";
    if (one === other) return undefined;
    if (this.#staysInQuota(one, from, to, false) || this.#staysInQuota(other, to, from, false)) return "EXDEV";
    from.entries.set(name, other);
    to.entries.set(newName, one);
    if (one.type === "directory") one.parent = to;
    if (other.type === "directory") other.parent = from;
    return undefined;
  }

  /** @param isFree a directory that isn't counted yet may go there all the same */
  #staysInQuota(node: ModelNode, from: ModelNode, to: ModelNode, isFree: boolean): boolean {
    const [tree, target] = [this.#treeOf(node.inode), this.#treeOf(to.inode)];
    if (node.type !== "directory") return this.#treeOf(from.inode) !== target && this.linkCount(node) > 1;
    return !isFree && (tree === node.inode ? 0 : tree) !== target;
  }

  createUnnamed(parent: number, inode: number, mode: number): Outcome {
    const directory = this.#directory(parent);
    if (typeof directory === "string") return directory;
    const node = emptyNode(inode, "file", mode, (directory.mode & 0o2000) !== 0 ? directory.gid : 1000);
    this.nodes.set(inode, node);
    this.#unnamed.add(node);
    return undefined;
  }

  write(inode: number, end: number, index: number, chunk: number | undefined): Outcome {
    const node = this.nodes.get(inode);
    if (node === undefined) return "ENOENT";
    if (node.type !== "file") return "EINVAL";
    node.size = Math.max(node.size, end);
    if (chunk !== undefined) this.#map(node, index, chunk);
    return undefined;
  }

  /** Another chunk takes the place of the one at the index. */
  place(inode: number, index: number, chunk: number | undefined): Outcome {
    const node = this.nodes.get(inode);
    if (node === undefined) return "ENOENT";
    if (node.type !== "file" || (chunk !== undefined && !node.chunks.has(index))) return "EINVAL";
    if (chunk !== undefined) this.#map(node, index, chunk);
    return undefined;
  }

  truncate(inode: number, size: number, clone: number | undefined): Outcome {
    const node = this.nodes.get(inode);
    if (node === undefined) return "ENOENT";
    if (node.type === "directory") return "EISDIR";
    if (node.type !== "file") return "EINVAL";
    node.size = size;
    for (const [index, chunk] of [...node.chunks]) {
      if (index * chunkBytes < size) continue;
      node.chunks.delete(index);
      this.toDelete.add(chunk);
    }
    if (clone !== undefined) this.#map(node, Math.ceil(size / chunkBytes) - 1, clone);
    return undefined;
  }

  chmod(inode: number, mode: number): Outcome {
    const node = this.nodes.get(inode);
    if (node === undefined) return "ENOENT";
    node.mode = mode;
    return undefined;
  }

  setExtended(inode: number, name: string, length: number, mode: "set" | "create" | "replace"): Outcome {
    const node = this.nodes.get(inode);
    if (node === undefined) return "ENOENT";
    const isThere = node.extended.has(name);
    if (mode !== "set" && isThere !== (mode === "replace")) return isThere ? "EEXIST" : "ENODATA";
    const after = new Map(node.extended).set(name, length);
    const bytes = [...after].reduce((sum, [one, value]) => sum + one.length + 1 + value, 0);
    if (bytes > extendedBytesMax) return "ENOSPC";
    node.extended.set(name, length);
    return undefined;
  }

  removeExtended(inode: number, name: string): Outcome {
    const node = this.nodes.get(inode);
    if (node === undefined) return "ENOENT";
    return node.extended.delete(name) ? undefined : "ENODATA";
  }

  /** Removes `limit` chunks, lowest index first, and the node with the last of them. */
  reap(inode: number, limit: number): Outcome {
    const node = this.nodes.get(inode);
    if (node === undefined || this.linkCount(node) > 0) return "ENOENT";
    const indexes = [...node.chunks.keys()].sort((left, right) => left - right);
    for (const index of indexes.slice(0, limit)) {
      this.toDelete.add(node.chunks.get(index)!);
      node.chunks.delete(index);
    }
    if (node.chunks.size === 0) this.nodes.delete(inode);
    return undefined;
  }

  #map(node: ModelNode, index: number, chunk: number): void {
    const previous = node.chunks.get(index);
    if (previous !== undefined) this.toDelete.add(previous);
    node.chunks.set(index, chunk);
  }

  #directory(inode: number): ModelNode | ErrnoName {
    const node = this.nodes.get(inode);
    if (node === undefined) return "ENOENT";
    if (node.type !== "directory") return "ENOTDIR";
    return this.linkCount(node) === 0 ? "ENOENT" : node;
  }

  #names(node: ModelNode): number {
    let names = 0;
    for (const { entries } of this.nodes.values()) for (const one of entries.values()) if (one === node) names += 1;
    return names;
  }
}

function emptyNode(inode: number, type: FileType, mode: number, gid: number): ModelNode {
  return {
    inode,
    type,
    mode,
    gid,
    size: 0,
    entries: new Map(),
    chunks: new Map(),
    extended: new Map(),
    parent: undefined,
  };
}

/** True if `node` is `ancestor` or below it. */
function isWithin(node: ModelNode, ancestor: ModelNode): boolean {
  for (let one: ModelNode | undefined = node; one !== undefined; one = one.parent) if (one === ancestor) return true;
  return false;
}
