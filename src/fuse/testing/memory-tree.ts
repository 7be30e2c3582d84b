/** The inodes of a memory file system, their names and their life: an inode goes with its last name and handle. */
import type { Attributes, NewNode } from "../../client/file-system.ts";
import { FileError } from "../../errors/file-error.ts";
import { chunkBytes, fileBytesMax, nameBytesMax } from "../../namespace/model.ts";
import { MemoryAttributes } from "./memory-attributes.ts";
import { MemoryContent } from "./memory-content.ts";

const setgid = 0o2000;
const setuid = 0o4000;
const groupExecute = 0o010;

export type MutableAttributes = { -readonly [K in keyof Attributes]: Attributes[K] };

export interface Entry {
  readonly node: Node;
  readonly cookie: number;
}

export interface Node {
  readonly attributes: MutableAttributes;
  readonly content: MemoryContent;
  readonly extended: MemoryAttributes;
  readonly entries: Map<string, Entry>;
  target: string;
  parent: number;
  nextCookie: number;
  openCount: number;
}

export class MemoryTree {
  readonly root: number;
  readonly #nodes = new Map<number, Node>();
  readonly #wallNs: () => bigint;
  #nextInode: number;
  #lastNs = 0n;

  constructor(wallNs: () => bigint, firstInode: number) {
    this.#wallNs = wallNs;
    this.root = firstInode;
    this.#nextInode = firstInode;
    const root = this.newNode({ type: "directory", mode: 0o755, uid: 0, gid: 0 });
    root.parent = this.root;
    root.attributes.linkCount = 2;
  }

  get nodeCount(): number {
    return this.#nodes.size;
  }

  create(parent: number, name: string, node: NewNode): Node {
    const directory = this.directory(parent, name);
    if (directory.entries.has(name)) throw new FileError("EEXIST");
    const inherits = (directory.attributes.mode & setgid) !== 0;
    const gid = inherits ? directory.attributes.gid : node.gid;
    const mode = inherits && node.type === "directory" ? node.mode | setgid : node.mode;
    const made = this.newNode({ ...node, gid, mode });
    this.addEntry(directory, name, made);
    if (node.type === "directory") {
      made.attributes.linkCount = 2;
      directory.attributes.linkCount += 1;
    }
    return made;
  }

  createUnnamed(node: NewNode): Node {
    const made = this.newNode(node);
    made.attributes.linkCount = 0;
    return made;
  }

  newNode(node: NewNode): Node {
    const inode = this.#nextInode++;
    const now = this.now();
    const { type, uid, gid } = node;
    const mode = node.mode & ~(node.umask ?? 0);
    const size = node.target?.length ?? 0;
    const times = { atimeNs: now, mtimeNs: now, ctimeNs: now, btimeNs: now };
    const made: Node = {
      attributes: {
        inode,
        type,
        mode,
        uid,
        gid,
        linkCount: 1,
        size,
        chunkCount: 0,
        hasHoles: false,
        device: node.device ?? 0,
        ...times,
      },
      content: new MemoryContent(),
      extended: new MemoryAttributes(),
      entries: new Map(),
      target: node.target ?? "",
      parent: 0,
      nextCookie: 1,
      openCount: 0,
    };
    this.#nodes.set(inode, made);
    return made;
  }

  node(inode: number): Node {
    const node = this.#nodes.get(inode);
    if (node === undefined) throw new FileError("ENOENT");
    return node;
  }

  directory(inode: number, name: string): Node {
    const node = this.node(inode);
    if (node.attributes.type !== "directory") throw new FileError("ENOTDIR");
    if (name.length > nameBytesMax) throw new FileError("ENAMETOOLONG");
    return node;
  }

  entry(directory: Node, name: string): Entry {
    const entry = directory.entries.get(name);
    if (entry === undefined) throw new FileError("ENOENT");
    return entry;
  }

  addEntry(directory: Node, name: string, node: Node): void {
    if (directory.entries.has(name)) throw new FileError("EEXIST");
    if (directory.attributes.linkCount === 0) throw new FileError("ENOENT");
    directory.entries.set(name, { node, cookie: directory.nextCookie++ });
    node.parent = directory.attributes.inode;
    this.touch(directory);
  }

  removeEntry(directory: Node, name: string): void {
    directory.entries.delete(name);
    this.touch(directory);
  }

  touch(directory: Node): void {
    directory.attributes.size = directory.entries.size * 32;
    directory.attributes.mtimeNs = this.now();
    directory.attributes.ctimeNs = directory.attributes.mtimeNs;
  }

  dropLink(node: Node): void {
    const { attributes } = node;
    attributes.linkCount = attributes.type === "directory" ? 0 : attributes.linkCount - 1;
    attributes.ctimeNs = this.now();
    this.forgetUnused(node);
  }

  forgetUnused(node: Node): void {
    if (node.attributes.linkCount === 0 && node.openCount === 0) this.#nodes.delete(node.attributes.inode);
  }

  isWithin(directory: Node, ancestor: Node): boolean {
    for (let node = directory; ; node = this.node(node.parent)) {
      if (node === ancestor) return true;
      if (node.attributes.inode === this.root) return false;
    }
  }

  truncate(node: Node, size: number, now: bigint): void {
    if (node.attributes.type === "directory") throw new FileError("EISDIR");
    if (size > fileBytesMax) throw new FileError("EFBIG");
    node.content.truncate(size);
    node.attributes.size = size;
    node.attributes.chunkCount = node.content.unitCount(chunkBytes);
    node.attributes.mtimeNs = now;
    node.attributes.ctimeNs = now;
  }

  /** Never the same twice, as a change must be seen in ctime. */
  now(): bigint {
    const now = this.#wallNs();
    this.#lastNs = now > this.#lastNs ? now : this.#lastNs + 1n;
    return this.#lastNs;
  }
}

/** Clears setuid, and setgid where the group may execute. A directory's setgid means something else and stays. */
export function killPrivileges(attributes: MutableAttributes): void {
  if (attributes.type === "directory") return;
  attributes.mode &= ~setuid;
  if ((attributes.mode & groupExecute) !== 0) attributes.mode &= ~setgid;
}
