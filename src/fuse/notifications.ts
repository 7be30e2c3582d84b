/**
 * What the kernel is told to forget (KernelCaches of the FileSystem).
 *
 * Names: INC_EPOCH makes all of the mount's be asked for again, without taking a lock (Linux 6.16). Where the kernel
 * lacks it no name is kept in the first place (replies.ts): INVAL_ENTRY would wait for the directory's lock, which the
 * kernel holds while a CREATE there is unanswered.
 *
 * Attributes: INVAL_INODE with a negative offset, which takes no lock. It also counts up the inode's version of
 * attributes, so that answers on their way, whose requests are older, are not kept. But the kernel may not know the node
 * *yet*: its first answer is on its way. It says ENOENT then, and would keep what that answer says. So the node counts as
 * uncertain, and before its next request is answered it is told again.
 *
 * Pages: INVAL_INODE of all pages waits for reads that we have not answered and makes the kernel write what is dirty, so
 * it goes out on a thread of its own. Only nodes that were read by whole pages can have any: files are opened for direct
 * I/O, and a page of mapped memory is read before it is used.
 */
import type { KernelCaches } from "../client/file-system.ts";
import type { NodeNumbers } from "./layout.ts";
import { putU64 } from "./layout.ts";
import { invalInodeOut, notifyCode, outHeader } from "./protocol.ts";
import type { FuseTransport } from "./transport.ts";

/** Nodes that are told again. A kernel has far fewer answers on their way; beyond it the oldest are taken for known. */
const uncertainMax = 65_536;
/** Nodes that may have pages. Beyond it all others are told, too: that is slower, and as right. */
const pagedMax = 262_144;

export class Notifications implements KernelCaches {
  readonly #transport: FuseTransport;
  readonly #nodes: NodeNumbers;
  readonly #uncertain = new Set<number>();
  readonly #paged = new Set<number>();
  #pagedOverflows = false;
  /** See Replies. */
  hasEpochs = false;

  constructor(transport: FuseTransport, nodes: NodeNumbers) {
    this.#transport = transport;
    this.#nodes = nodes;
  }

  forgetNames(): void {
    if (!this.hasEpochs) return;
    const message = Buffer.alloc(outHeader.bytes);
    message.writeUInt32LE(message.byteLength, outHeader.length);
    message.writeInt32LE(notifyCode.INC_EPOCH, outHeader.error);
    this.#transport.notify(message);
  }

  forgetAttributes(inode: number): void {
    const node = this.#nodes.nodeOf(inode);
    if (this.#transport.notify(invalidation(node, -1n)) !== "unknownNode") return;
    if (this.#uncertain.size >= uncertainMax) this.#uncertain.delete(this.#uncertain.values().next().value!);
    this.#uncertain.add(node);
  }

  async forgetPages(inode: number): Promise<void> {
    const node = this.#nodes.nodeOf(inode);
    if (!this.#pagedOverflows && !this.#paged.has(node)) return;
    this.#paged.delete(node);
    await this.#transport.notifyBlocking(invalidation(node, 0n));
  }

  /** The inode's data was asked for by whole pages: some may stay in the kernel. */
  mayHavePages(inode: number): void {
    if (this.#paged.size < pagedMax) this.#paged.add(this.#nodes.nodeOf(inode));
    else this.#pagedOverflows = true;
  }

  /** A request about this node has come: the kernel knows it now. */
  seen(node: number): void {
    if (this.#uncertain.size === 0 || !this.#uncertain.delete(node)) return;
    this.#transport.notify(invalidation(node, -1n));
  }
}

/** struct fuse_notify_inval_inode_out: of all pages from `offset` on; below 0 only of attributes. */
function invalidation(node: number, offset: bigint): Buffer {
  const message = Buffer.alloc(outHeader.bytes + invalInodeOut.bytes);
  message.writeUInt32LE(message.byteLength, outHeader.length);
  message.writeInt32LE(notifyCode.INVAL_INODE, outHeader.error);
  const view = new DataView(message.buffer, message.byteOffset, message.byteLength);
  putU64(view, outHeader.bytes + invalInodeOut.node, node);
  message.writeBigInt64LE(offset, outHeader.bytes + invalInodeOut.offset);
  return message;
}
