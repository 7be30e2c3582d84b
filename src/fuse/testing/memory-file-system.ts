/**
 * A FileSystem in memory, for tests and measurements of the FUSE part alone: same rules as the namespace's, no leases, no
 * servers. Complete enough to untar a source tree onto it.
 */
import type {
  AttributeChange,
  Attributes,
  DirectoryEntry,
  FileSystem,
  Handle,
  NewNode,
  OpenFlags,
  VolumeSpace,
} from "../../client/file-system.ts";
import { FileError } from "../../errors/file-error.ts";
import { chunkBytes, fileBytesMax, linkCountMax, nameBytesMax } from "../../namespace/model.ts";
import type { TimeChange } from "../../namespace/operation.ts";
import { MemoryContent } from "./memory-content.ts";

const setgid = 0o2000;
const setuid = 0o4000;
const groupExecute = 0o010;
/** What statfs shows: more than the tests use. */
const totalBytes = 64 * 1024 ** 3;

type MutableAttributes = { -readonly [K in keyof Attributes]: Attributes[K] };

interface Entry {
  readonly node: Node;
  readonly cookie: number;
}

interface Node {
  readonly attributes: MutableAttributes;
  readonly content: MemoryContent;
  readonly entries: Map<string, Entry>;
  target: string;
  parent: number;
  nextCookie: number;
  openCount: number;
}

interface MemoryHandle extends Handle {
  readonly node: Node;
  readonly append: boolean;
  closed: boolean;
}

export class MemoryFileSystem implements FileSystem {
  readonly root: number;
  readonly #nodes = new Map<number, Node>();
  readonly #wallNs: () => bigint;
  #nextInode: number;
  #lastNs = 0n;
  /** Handles that are open, for tests that look for leaks. */
  openCount = 0;

  /** `wallNs`: the time of day, CLOCK_REALTIME. */
  constructor(wallNs: () => bigint, firstInode = 100) {
    this.#wallNs = wallNs;
    this.root = firstInode;
    this.#nextInode = firstInode;
    const root = this.#newNode({ type: "directory", mode: 0o755, uid: 0, gid: 0 });
    root.parent = this.root;
    root.attributes.linkCount = 2;
  }

  async lookup(parent: number, name: string): Promise<Attributes | undefined> {
    const entry = this.#directory(parent, name).entries.get(name);
    return entry === undefined ? undefined : { ...entry.node.attributes };
  }

  async getAttributes(inode: number): Promise<{ attributes: Attributes; parent: number }> {
    const node = this.#node(inode);
    return { attributes: { ...node.attributes }, parent: node.parent };
  }

  async setAttributes(inode: number, change: AttributeChange): Promise<Attributes> {
    const node = this.#node(inode);
    const { attributes } = node;
    const now = this.#now();
    if (change.killPrivileges === true) killPrivileges(attributes);
    if (change.mode !== undefined) attributes.mode = change.mode;
    if (change.uid !== undefined) attributes.uid = change.uid;
    if (change.gid !== undefined) attributes.gid = change.gid;
    if (change.size !== undefined) this.#truncate(node, change.size, now);
    if (change.atime !== undefined) attributes.atimeNs = timeOf(change.atime, now);
    if (change.mtime !== undefined) attributes.mtimeNs = timeOf(change.mtime, now);
    attributes.ctimeNs = change.ctime === undefined ? now : timeOf(change.ctime, now);
    return { ...attributes };
  }

  async create(parent: number, name: string, node: NewNode): Promise<Attributes> {
    return { ...this.#create(parent, name, node).attributes };
  }

  async createAndOpen(
    parent: number,
    name: string,
    node: NewNode,
    flags: OpenFlags,
  ): Promise<{ attributes: Attributes; handle: Handle }> {
    const made = this.#create(parent, name, node);
    return { attributes: { ...made.attributes }, handle: this.#openNode(made, flags) };
  }

  async link(inode: number, parent: number, name: string): Promise<Attributes> {
    const node = this.#node(inode);
    if (node.attributes.type === "directory") throw new FileError("EPERM");
    if (node.attributes.linkCount >= linkCountMax) throw new FileError("EMLINK");
    this.#addEntry(this.#directory(parent, name), name, node);
    node.attributes.linkCount += 1;
    node.attributes.ctimeNs = this.#now();
    return { ...node.attributes };
  }

  async unlink(parent: number, name: string): Promise<void> {
    const directory = this.#directory(parent, name);
    const { node } = this.#entry(directory, name);
    if (node.attributes.type === "directory") throw new FileError("EISDIR");
    this.#removeEntry(directory, name);
    this.#dropLink(node);
  }

  async removeDirectory(parent: number, name: string): Promise<void> {
    const directory = this.#directory(parent, name);
    const { node } = this.#entry(directory, name);
    if (node.attributes.type !== "directory") throw new FileError("ENOTDIR");
    if (node.entries.size > 0) throw new FileError("ENOTEMPTY");
    this.#removeEntry(directory, name);
    directory.attributes.linkCount -= 1;
    this.#dropLink(node);
  }

  async rename(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: { noReplace: boolean },
  ): Promise<void> {
    const from = this.#directory(parent, name);
    const to = this.#directory(newParent, newName);
    const { node } = this.#entry(from, name);
    const isDirectory = node.attributes.type === "directory";
    if (isDirectory && this.#isWithin(to, node)) throw new FileError("EINVAL");
    const replaced = to.entries.get(newName)?.node;
    if (replaced !== undefined) {
      if (flags.noReplace) throw new FileError("EEXIST");
      if (replaced === node) return;
      const replacesDirectory = replaced.attributes.type === "directory";
      if (isDirectory && !replacesDirectory) throw new FileError("ENOTDIR");
      if (!isDirectory && replacesDirectory) throw new FileError("EISDIR");
      if (replaced.entries.size > 0) throw new FileError("ENOTEMPTY");
      this.#removeEntry(to, newName);
      if (replacesDirectory) to.attributes.linkCount -= 1;
      this.#dropLink(replaced);
    }
    this.#removeEntry(from, name);
    if (isDirectory) {
      from.attributes.linkCount -= 1;
      to.attributes.linkCount += 1;
    }
    this.#addEntry(to, newName, node);
    node.attributes.ctimeNs = this.#now();
  }

  async readLink(inode: number): Promise<string> {
    const node = this.#node(inode);
    if (node.attributes.type !== "symlink") throw new FileError("EINVAL");
    return node.target;
  }

  async open(inode: number, flags: OpenFlags): Promise<Handle> {
    const node = this.#node(inode);
    if (flags.truncate === true) this.#truncate(node, 0, this.#now());
    return this.#openNode(node, flags);
  }

  close(handle: Handle): void {
    const { node } = this.#handle(handle);
    (handle as MemoryHandle).closed = true;
    this.openCount -= 1;
    node.openCount -= 1;
    this.#forgetUnused(node);
  }

  async read(handle: Handle, offset: number, length: number): Promise<readonly Uint8Array[]> {
    const { node } = this.#handle(handle);
    if (node.attributes.type === "directory") throw new FileError("EISDIR");
    return node.content.read(offset, Math.min(length, node.attributes.size - offset));
  }

  async write(handle: Handle, offset: number, data: Uint8Array, options: { killPrivileges: boolean }): Promise<number> {
    const { node, append } = this.#handle(handle);
    const { attributes } = node;
    const start = append ? attributes.size : offset;
    if (start + data.byteLength > fileBytesMax) throw new FileError("EFBIG");
    node.content.write(start, data);
    attributes.size = Math.max(attributes.size, start + data.byteLength);
    attributes.chunkCount = node.content.unitCount(chunkBytes);
    attributes.mtimeNs = this.#now();
    attributes.ctimeNs = attributes.mtimeNs;
    if (options.killPrivileges) killPrivileges(attributes);
    return data.byteLength;
  }

  async sync(inode: number): Promise<void> {
    this.#node(inode);
  }

  async readDirectory(
    handle: Handle,
    after: number,
    limit: number,
    withAttributes: boolean,
  ): Promise<readonly DirectoryEntry[]> {
    const { node } = this.#handle(handle);
    const found: DirectoryEntry[] = [];
    // A map keeps the order of insertion, which is the order of cookies.
    for (const [name, { node: child, cookie }] of node.entries) {
      if (cookie <= after) continue;
      if (found.length === limit) break;
      const { inode, type } = child.attributes;
      found.push({ name, inode, type, cookie, attributes: withAttributes ? { ...child.attributes } : undefined });
    }
    return found;
  }

  async statVolume(): Promise<VolumeSpace> {
    return { totalBytes, freeBytes: totalBytes / 2, inodeCount: this.#nodes.size };
  }

  async unmount(): Promise<void> {}

  #create(parent: number, name: string, node: NewNode): Node {
    const directory = this.#directory(parent, name);
    if (directory.entries.has(name)) throw new FileError("EEXIST");
    const inherits = (directory.attributes.mode & setgid) !== 0;
    const gid = inherits ? directory.attributes.gid : node.gid;
    const mode = inherits && node.type === "directory" ? node.mode | setgid : node.mode;
    const made = this.#newNode({ ...node, gid, mode });
    this.#addEntry(directory, name, made);
    if (node.type === "directory") {
      made.attributes.linkCount = 2;
      directory.attributes.linkCount += 1;
    }
    return made;
  }

  #newNode(node: NewNode): Node {
    const inode = this.#nextInode++;
    const now = this.#now();
    const { type, mode, uid, gid } = node;
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
        device: node.device ?? 0,
        ...times,
      },
      content: new MemoryContent(),
      entries: new Map(),
      target: node.target ?? "",
      parent: 0,
      nextCookie: 1,
      openCount: 0,
    };
    this.#nodes.set(inode, made);
    return made;
  }

  #openNode(node: Node, flags: OpenFlags): Handle {
    node.openCount += 1;
    this.openCount += 1;
    const handle: MemoryHandle = { inode: node.attributes.inode, node, append: flags.append === true, closed: false };
    return handle;
  }

  #handle(handle: Handle): MemoryHandle {
    const open = handle as MemoryHandle;
    if (open.closed) throw new Error(`handle of inode ${handle.inode} is used after its close`);
    return open;
  }

  #node(inode: number): Node {
    const node = this.#nodes.get(inode);
    if (node === undefined) throw new FileError("ENOENT");
    return node;
  }

  #directory(inode: number, name: string): Node {
    const node = this.#node(inode);
    if (node.attributes.type !== "directory") throw new FileError("ENOTDIR");
    if (name.length > nameBytesMax) throw new FileError("ENAMETOOLONG");
    return node;
  }

  #entry(directory: Node, name: string): Entry {
    const entry = directory.entries.get(name);
    if (entry === undefined) throw new FileError("ENOENT");
    return entry;
  }

  #addEntry(directory: Node, name: string, node: Node): void {
    if (directory.entries.has(name)) throw new FileError("EEXIST");
    if (directory.attributes.linkCount === 0) throw new FileError("ENOENT");
    directory.entries.set(name, { node, cookie: directory.nextCookie++ });
    node.parent = directory.attributes.inode;
    this.#touch(directory);
  }

  #removeEntry(directory: Node, name: string): void {
    directory.entries.delete(name);
    this.#touch(directory);
  }

  #touch(directory: Node): void {
    directory.attributes.size = directory.entries.size * 32;
    directory.attributes.mtimeNs = this.#now();
    directory.attributes.ctimeNs = directory.attributes.mtimeNs;
  }

  #dropLink(node: Node): void {
    const { attributes } = node;
    attributes.linkCount = attributes.type === "directory" ? 0 : attributes.linkCount - 1;
    attributes.ctimeNs = this.#now();
    this.#forgetUnused(node);
  }

  #forgetUnused(node: Node): void {
    if (node.attributes.linkCount === 0 && node.openCount === 0) this.#nodes.delete(node.attributes.inode);
  }

  #isWithin(directory: Node, ancestor: Node): boolean {
    for (let node = directory; ; node = this.#node(node.parent)) {
      if (node === ancestor) return true;
      if (node.attributes.inode === this.root) return false;
    }
  }

  #truncate(node: Node, size: number, now: bigint): void {
    if (node.attributes.type === "directory") throw new FileError("EISDIR");
    if (size > fileBytesMax) throw new FileError("EFBIG");
    node.content.truncate(size);
    node.attributes.size = size;
    node.attributes.chunkCount = node.content.unitCount(chunkBytes);
    node.attributes.mtimeNs = now;
    node.attributes.ctimeNs = now;
  }

  /** Never the same twice, as a change must be seen in ctime. */
  #now(): bigint {
    const now = this.#wallNs();
    this.#lastNs = now > this.#lastNs ? now : this.#lastNs + 1n;
    return this.#lastNs;
  }
}

function timeOf(change: TimeChange, now: bigint): bigint {
  return change.kind === "now" ? now : change.ns;
}

/** Clears setuid, and setgid where the group may execute. A directory's setgid means something else and stays. */
function killPrivileges(attributes: MutableAttributes): void {
  if (attributes.type === "directory") return;
  attributes.mode &= ~setuid;
  if ((attributes.mode & groupExecute) !== 0) attributes.mode &= ~setgid;
}
