/**
 * A FileSystem in memory, for tests and measurements of the FUSE part alone: same rules as the namespace's, no leases, no
 * servers. Complete enough to untar a source tree onto it.
 */
import type {
  Allocation,
  AttributeChange,
  Attributes,
  DirectoryEntry,
  FileSystem,
  Handle,
  KernelCaches,
  LockRange,
  NewNode,
  OpenFlags,
  RangeCopy,
  VolumeSpace,
} from "../../client/file-system.ts";
import { FileError } from "../../errors/file-error.ts";
import { chunkBytes, fileBytesMax, linkCountMax } from "../../namespace/model.ts";
import type { TimeChange } from "../../namespace/operation.ts";
import { MemoryLocks } from "./memory-locks.ts";
import { killPrivileges, MemoryTree, type Node } from "./memory-tree.ts";

/** What statfs shows: more than the tests use. */
const totalBytes = 64 * 1024 ** 3;

interface MemoryHandle extends Handle {
  readonly node: Node;
  readonly append: boolean;
  closed: boolean;
}

export class MemoryFileSystem implements FileSystem {
  readonly root: number;
  readonly #tree: MemoryTree;
  /** Handles that are open, for tests that look for leaks. */
  openCount = 0;
  readonly locks = new MemoryLocks();
  /** What the kernel may keep, and for how long: tests change it. */
  validMs = 0;
  /** Told by tests that change something behind the kernel's back. */
  caches: KernelCaches | undefined;

  /** `wallNs`: the time of day, CLOCK_REALTIME. */
  constructor(wallNs: () => bigint, firstInode = 100) {
    this.#tree = new MemoryTree(wallNs, firstInode);
    this.root = firstInode;
  }

  attach(caches: KernelCaches): void {
    this.caches = caches;
  }

  nameValidMs(_directory: number): number {
    return this.validMs;
  }

  attributesValidMs(_inode: number): number {
    return this.validMs;
  }

  async lookup(parent: number, name: string): Promise<Attributes | undefined> {
    const entry = this.#tree.directory(parent, name).entries.get(name);
    return entry === undefined ? undefined : { ...entry.node.attributes };
  }

  async getAttributes(inode: number): Promise<{ attributes: Attributes; parent: number }> {
    const node = this.#tree.node(inode);
    return { attributes: { ...node.attributes }, parent: node.parent };
  }

  async setAttributes(inode: number, change: AttributeChange): Promise<Attributes> {
    const node = this.#tree.node(inode);
    const { attributes } = node;
    const now = this.#tree.now();
    if (change.killPrivileges === true) killPrivileges(attributes);
    if (change.mode !== undefined) attributes.mode = change.mode;
    if (change.uid !== undefined) attributes.uid = change.uid;
    if (change.gid !== undefined) attributes.gid = change.gid;
    if (change.size !== undefined) this.#tree.truncate(node, change.size, now);
    if (change.atime !== undefined) attributes.atimeNs = timeOf(change.atime, now);
    if (change.mtime !== undefined) attributes.mtimeNs = timeOf(change.mtime, now);
    attributes.ctimeNs = change.ctime === undefined ? now : timeOf(change.ctime, now);
    return { ...attributes };
  }

  async create(parent: number, name: string, node: NewNode): Promise<Attributes> {
    return { ...this.#tree.create(parent, name, node).attributes };
  }

  async allocate(handle: Handle, { offset, length, zero, grow }: Allocation): Promise<void> {
    const { node } = this.#handle(handle);
    const now = this.#tree.now();
    const end = Math.min(offset + length, node.attributes.size);
    if (zero && end > offset) node.content.write(offset, Buffer.alloc(end - offset));
    if (grow && offset + length > node.attributes.size) this.#tree.truncate(node, offset + length, now);
  }

  /** One extent of data. */
  async seek(handle: Handle, offset: number, what: "data" | "hole"): Promise<number> {
    const { size } = this.#handle(handle).node.attributes;
    if (offset >= size) throw new FileError("ENXIO");
    return what === "data" ? offset : size;
  }

  async copyRange({ from, offset, to, toOffset, length, killPrivileges }: RangeCopy): Promise<number> {
    const bytes = Buffer.concat((await this.read(from, offset, length)) as Uint8Array[]);
    return bytes.byteLength === 0 ? 0 : this.write(to, toOffset, bytes, { killPrivileges });
  }

  async createAndOpen(
    parent: number,
    name: string | undefined,
    node: NewNode,
    flags: OpenFlags,
  ): Promise<{ attributes: Attributes; handle: Handle }> {
    const made = name === undefined ? this.#tree.createUnnamed(node) : this.#tree.create(parent, name, node);
    return { attributes: { ...made.attributes }, handle: this.#openNode(made, flags) };
  }

  async link(inode: number, parent: number, name: string): Promise<Attributes> {
    const node = this.#tree.node(inode);
    if (node.attributes.type === "directory") throw new FileError("EPERM");
    if (node.attributes.linkCount >= linkCountMax) throw new FileError("EMLINK");
    this.#tree.addEntry(this.#tree.directory(parent, name), name, node);
    node.attributes.linkCount += 1;
    node.attributes.ctimeNs = this.#tree.now();
    return { ...node.attributes };
  }

  async unlink(parent: number, name: string): Promise<void> {
    const directory = this.#tree.directory(parent, name);
    const { node } = this.#tree.entry(directory, name);
    if (node.attributes.type === "directory") throw new FileError("EISDIR");
    this.#tree.removeEntry(directory, name);
    this.#tree.dropLink(node);
  }

  async removeDirectory(parent: number, name: string): Promise<void> {
    const directory = this.#tree.directory(parent, name);
    const { node } = this.#tree.entry(directory, name);
    if (node.attributes.type !== "directory") throw new FileError("ENOTDIR");
    if (node.entries.size > 0) throw new FileError("ENOTEMPTY");
    this.#tree.removeEntry(directory, name);
    directory.attributes.linkCount -= 1;
    this.#tree.dropLink(node);
  }

  async rename(
    parent: number,
    name: string,
    newParent: number,
    newName: string,
    flags: { noReplace: boolean },
  ): Promise<void> {
    const from = this.#tree.directory(parent, name);
    const to = this.#tree.directory(newParent, newName);
    const { node } = this.#tree.entry(from, name);
    const isDirectory = node.attributes.type === "directory";
    if (isDirectory && this.#tree.isWithin(to, node)) throw new FileError("EINVAL");
    const replaced = to.entries.get(newName)?.node;
    if (replaced !== undefined) {
      if (flags.noReplace) throw new FileError("EEXIST");
      if (replaced === node) return;
      const replacesDirectory = replaced.attributes.type === "directory";
      if (isDirectory && !replacesDirectory) throw new FileError("ENOTDIR");
      if (!isDirectory && replacesDirectory) throw new FileError("EISDIR");
      if (replaced.entries.size > 0) throw new FileError("ENOTEMPTY");
      this.#tree.removeEntry(to, newName);
      if (replacesDirectory) to.attributes.linkCount -= 1;
      this.#tree.dropLink(replaced);
    }
    this.#tree.removeEntry(from, name);
    if (isDirectory) {
      from.attributes.linkCount -= 1;
      to.attributes.linkCount += 1;
    }
    this.#tree.addEntry(to, newName, node);
    node.attributes.ctimeNs = this.#tree.now();
  }

  async exchange(parent: number, name: string, newParent: number, newName: string): Promise<void> {
    const [from, to] = [this.#tree.directory(parent, name), this.#tree.directory(newParent, newName)];
    const [one, other] = [this.#tree.entry(from, name), this.#tree.entry(to, newName)];
    from.entries.set(name, { ...one, node: other.node });
    to.entries.set(newName, { ...other, node: one.node });
  }

  async readLink(inode: number): Promise<string> {
    const node = this.#tree.node(inode);
    if (node.attributes.type !== "symlink") throw new FileError("EINVAL");
    return node.target;
  }

  async open(inode: number, flags: OpenFlags): Promise<Handle> {
    const node = this.#tree.node(inode);
    if (flags.truncate === true) this.#tree.truncate(node, 0, this.#tree.now());
    return this.#openNode(node, flags);
  }

  flush(handle: Handle): void {
    this.#handle(handle);
  }

  close(handle: Handle): void {
    const { node } = this.#handle(handle);
    this.locks.release(handle);
    (handle as MemoryHandle).closed = true;
    this.openCount -= 1;
    node.openCount -= 1;
    this.#tree.forgetUnused(node);
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
    attributes.mtimeNs = this.#tree.now();
    attributes.ctimeNs = attributes.mtimeNs;
    if (options.killPrivileges) killPrivileges(attributes);
    return data.byteLength;
  }

  async sync(handle: Handle, _signal?: AbortSignal): Promise<void> {
    this.#handle(handle);
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
    return { totalBytes, freeBytes: totalBytes / 2, inodeCount: this.#tree.nodeCount, freeInodes: undefined };
  }

  async getExtendedAttribute(inode: number, name: string): Promise<Uint8Array> {
    return this.#tree.node(inode).extended.get(name);
  }

  async setExtendedAttribute(
    inode: number,
    name: string,
    value: Uint8Array,
    mode: "set" | "create" | "replace",
  ): Promise<void> {
    this.#tree.node(inode).extended.set(name, value, mode);
  }

  async listExtendedAttributes(inode: number): Promise<readonly string[]> {
    return this.#tree.node(inode).extended.names();
  }

  async removeExtendedAttribute(inode: number, name: string): Promise<void> {
    this.#tree.node(inode).extended.remove(name);
  }

  async setAccessControlList(inode: number, which: string, list: Uint8Array | undefined): Promise<void> {
    const { extended } = this.#tree.node(inode);
    const name = `system.posix_acl_${which}`;
    // An empty list is none.
    if (list === undefined || list.byteLength <= 4) extended.drop(name);
    else extended.set(name, list, "set");
  }

  async testLock(handle: Handle, lock: LockRange): Promise<LockRange | undefined> {
    return this.locks.test(this.#handle(handle), lock);
  }

  setLock(handle: Handle, lock: LockRange, wait: boolean, signal?: AbortSignal): Promise<void> {
    return this.locks.set(this.#handle(handle), lock, wait, signal);
  }

  async unlock(handle: Handle, range: Pick<LockRange, "kind" | "owner" | "start" | "end">): Promise<void> {
    this.locks.unlock(this.#handle(handle), range);
  }

  async unmount(): Promise<void> {}

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
}

function timeOf(change: TimeChange, now: bigint): bigint {
  return change.kind === "now" ? now : change.ns;
}
