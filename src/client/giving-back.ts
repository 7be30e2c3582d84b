/**
 * Giving leases back: what was done under one becomes durable and visible at the leader, the kernel forgets what it kept
 * under it, then the leader is told.
 *
 * 1. The journal is committed up to the last change of the inode. That includes the file's data.
 * 2. The kernel gives up its pages of the file. It may have to write dirty ones first: such requests are served meanwhile,
 *    under the lease that is leaving, and what they changed is committed as in 1. (Under a split lease there are none; instead, all leases on chunks are given back before it.)
 * 3. Names and attributes: the kernel forgets without waiting for anything. Names that lead to the inode go, too: the kernel
 *    checks who owns it (chmod, utimensat, …) by the owner that came with the name, also when that is no longer valid.
 * 4. Advisory locks that were set under the lease are stated to the leader (lock-authority.ts).
 * 5. The leader is told. One request is under way at a time; what comes meanwhile shares the next. A lease is ours until the
 *    request that gives it back is sent: whoever asks for it again comes after that. (Before it the leader would take the
 *    question for a sign that its answer was lost, and leave the lease here.)
 *
 * A lease that goes down to shared keeps names and attributes, but not pages: they could be written to.
 */
import type { Logger } from "../platform/logger.ts";
import { release, releaseLeases } from "../wire/catalogue/leader.ts";
import type { KernelCaches } from "./file-system.ts";
import type { Journal } from "./journal.ts";
import type { Leases } from "./leases.ts";
import type { Node } from "./node.ts";
import type { Session } from "./session.ts";

/** Leases and holds in one request. */
const releasedMax = 16_384;

interface Released {
  readonly inode: number;
  readonly grant: number;
  readonly keepShared: boolean;
  readonly hold: boolean;
}

export interface GivingBackParts {
  readonly session: Session;
  readonly journal: Journal;
  readonly log: Logger;
  readonly caches: () => KernelCaches | undefined;
  /** Tells the leader of advisory locks that it doesn't know. Undefined: there are none. */
  readonly stateLocks: (inode: number) => Promise<void> | undefined;
}

export class GivingBack {
  readonly #parts: GivingBackParts;
  readonly #session: Session;
  #leases: Leases | undefined;
  /** Nodes on their way out, with what is to be told when nobody uses them any more. */
  readonly #under = new Map<Node, (() => void) | undefined>();
  /** Those of which only the leader has to be told. */
  #ready: Node[] = [];
  /** Leases that only the leader knows of. */
  #unknown: Released[] = [];
  readonly #holdsToRelease = new Set<number>();
  #releasing = false;
  /** Split leases on their way out, that wait for their chunks. */
  readonly #chunkWaits = new Map<Node, () => void>();
  #onQuiet: (() => void)[] = [];

  constructor(parts: GivingBackParts) {
    this.#parts = parts;
    this.#session = parts.session;
  }

  attach(leases: Leases): void {
    this.#leases = leases;
  }

  /** The node is leaving, and nobody uses it. */
  begin(node: Node): void {
    if (this.#under.has(node)) {
      const onIdle = this.#under.get(node);
      this.#under.set(node, undefined);
      onIdle?.();
      // Used once more since it was ready: what that has left in the kernel has to go, too.
      const at = this.#ready.indexOf(node);
      if (at >= 0) this.#start(this.#ready.splice(at, 1)[0]!);
      return;
    }
    this.#under.set(node, undefined);
    this.#start(node);
  }

  /** A lease that came with an answer for which nobody waited any more. */
  giveBackUnknown(inode: number, grant: number): void {
    const node = this.#leases!.get(inode);
    const hold = node !== undefined && node.handles > 0;
    if (node !== undefined) node.isHeldAtLeader ||= hold;
    this.#unknown.push({ inode, grant, keepShared: false, hold });
    if (!this.#releasing) void this.#release();
  }

  /** The last handle was closed, and the inode's lease is gone: the leader's hold goes. */
  releaseHold(inode: number): void {
    this.#holdsToRelease.add(inode);
    if (!this.#releasing) void this.#release();
  }

  /** Resolves when nothing is on its way. */
  async quiet(): Promise<void> {
    if (this.#under.size === 0 && !this.#releasing) return;
    await new Promise<void>((resolve) => this.#onQuiet.push(resolve));
  }

  get count(): number {
    return this.#under.size;
  }

  lost(): void {
    this.#under.clear();
    this.#ready = [];
    this.#checkQuiet();
  }

  #start(node: Node): void {
    this.#run(node).catch((error) => this.#failed(error));
  }

  /** Only the end of the session gets here, which has seen to everything; else it is a defect, and others wait for ever. */
  #failed(error: unknown): void {
    const fields = { reason: String((error as Error)?.stack ?? error) };
    if (this.#session.ended) this.#parts.log.debug("leases not released", fields);
    else this.#parts.log.error("leases not released", fields);
  }

  async #run(node: Node): Promise<void> {
    const mayHavePages = node.record.attributes.type === "file" && node.mode !== "split" && node.file === undefined;
    let hasPages = mayHavePages;
    for (;;) {
      if (node.uses > 0) {
        await new Promise<void>((resolve) => this.#under.set(node, resolve));
        // Reads for pages may have been among them, served while the kernel gave up its pages.
        hasPages = mayHavePages;
      } else if (this.#leases!.chunksOf(node).length > 0) {
        await this.#chunksGone(node);
      } else if (this.#parts.journal.committedPosition < node.lastPosition) {
        await this.#parts.journal.committed(node.lastPosition);
      } else if (hasPages) {
        hasPages = false;
        await this.#forgetPages(node);
      } else {
        const rest = this.#parts.caches()?.settled(node.inode) ?? this.#parts.stateLocks(node.inode);
        if (rest === undefined) break;
        await rest;
      }
    }
    if (this.#session.ended) return;
    this.#ready.push(node);
    if (!this.#releasing) void this.#release();
  }

  /** Lets the chunks under a split lease go; resolves when they are gone. */
  #chunksGone(node: Node): Promise<void> {
    return new Promise((resolve) => {
      this.#chunkWaits.set(node, resolve);
      for (const chunk of this.#leases!.chunksOf(node)) this.#leases!.letGo(chunk);
    });
  }

  async #forgetPages(node: Node): Promise<void> {
    const caches = this.#parts.caches();
    // Without pages nothing waits for reads and writes: served here, they would keep the lease from going for ever.
    if (caches?.mayHavePages(node.inode) !== true) return;
    node.servesData = true;
    this.#leases!.serveData(node);
    try {
      await caches.forgetPages(node.inode);
    } finally {
      node.servesData = false;
    }
  }

  /** The kernel may have names in it, or names that lead to it. */
  #hasNames({ kernelHasNames, file, record }: Node): boolean {
    // Without links: the kernel has dropped what led to it, or was in it, when it was removed on this mount.
    if (file !== undefined || record.attributes.linkCount === 0) return false;
    if (kernelHasNames) return true;
    return record.attributes.linkCount > 1 || this.#leases!.get(record.parent)?.kernelHasNames === true;
  }

  #forgetKept(node: Node): void {
    const caches = this.#parts.caches();
    // An open file's size the kernel uses unasked, and knows from answers that it may not keep.
    const hasSize = node.handles > 0 && node.record.attributes.type === "file";
    const isNamed = node.record.attributes.linkCount > 0;
    if (node.kernelHasAttributes || hasSize) caches?.forgetAttributes(node.inode, isNamed);
    node.kernelHasNames = false;
    node.kernelHasAttributes = false;
  }

  async #release(): Promise<void> {
    this.#releasing = true;
    try {
      while (!this.#session.ended && this.#ready.length + this.#unknown.length + this.#holdsToRelease.size > 0) {
        await this.#releaseSome();
      }
    } catch (error) {
      this.#failed(error);
    }
    this.#releasing = false;
    this.#checkQuiet();
  }

  /** Holds go after leases: the release of a lease may leave a hold for a handle that was closed since. */
  async #releaseSome(): Promise<void> {
    const session = this.#session.id;
    const leases = this.#takeReady();
    const inodes = [...this.#holdsToRelease].slice(0, releasedMax);
    for (const inode of inodes) this.#holdsToRelease.delete(inode);
    if (leases.released.length > 0) {
      const body = { session, leases: leases.released };
      const asked = this.#session.request(releaseLeases, body, undefined, { urgent: true });
      for (const [node, keepShared] of leases.nodes) this.#left(node, keepShared);
      await asked;
    }
    if (inodes.length > 0) await this.#session.request(release, { session, inodes });
  }

  #left(node: Node, keepShared: boolean): void {
    this.#leases!.left(node, keepShared);
    const { file } = node;
    if (file === undefined || this.#leases!.chunksOf(file).length > 0) return;
    this.#chunkWaits.get(file)?.();
    this.#chunkWaits.delete(file);
  }

  /** What the next request releases. The kernel has forgotten it. */
  #takeReady(): { released: Released[]; nodes: Map<Node, boolean> } {
    const released = this.#unknown.splice(0, releasedMax);
    const nodes = new Map<Node, boolean>();
    let namesForgotten = false;
    for (const node of this.#ready.splice(0, releasedMax - released.length)) {
      // An answer that came meanwhile may have brought the lease once more, for somebody who waited.
      if (node.uses > 0 || this.#parts.journal.committedPosition < node.lastPosition) this.#start(node);
      else {
        // Names are forgotten all at once: so once is enough, before the first inode.
        if (!namesForgotten && node.leaving !== "toShared" && this.#hasNames(node)) {
          this.#parts.caches()?.forgetNames();
          namesForgotten = true;
        }
        released.push(this.#close(node));
        nodes.set(node, node.leaving === "toShared");
        this.#under.delete(node);
      }
    }
    return { released, nodes };
  }

  #close(node: Node): Released {
    const { inode, grant } = node;
    const keepShared = node.leaving === "toShared";
    const hold = !keepShared && node.handles > 0;
    if (!keepShared) {
      this.#forgetKept(node);
      node.names = undefined;
      node.content?.drop();
      node.content = undefined;
      node.map = undefined;
      node.isHeldAtLeader ||= hold;
      // What an earlier handle left to be released is needed again.
      if (hold) this.#holdsToRelease.delete(inode);
    }
    return { inode, grant, keepShared, hold };
  }

  #checkQuiet(): void {
    if (this.#under.size > 0 || this.#releasing) return;
    const waiting = this.#onQuiet;
    this.#onQuiet = [];
    for (const resolve of waiting) resolve();
  }
}
