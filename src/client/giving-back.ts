/**
 * Giving leases back: what was done under one becomes durable and visible at the leader, the kernel forgets what it kept
 * under it, then the leader is told.
 *
 * 1. The journal is committed up to the last change of the inode. That includes the file's data.
 * 2. The kernel gives up its pages of the file. It may have to write dirty ones first, and may wait for reads that it has
 *    asked for: so such requests are served meanwhile, under the lease that is leaving. What they changed is committed
 *    as in 1.
 * 3. Names and attributes: the kernel forgets without waiting for anything.
 * 4. The leader is told. One request is under way at a time; what comes meanwhile shares the next.
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
}

export class GivingBack {
  readonly #parts: GivingBackParts;
  readonly #session: Session;
  #leases: Leases | undefined;
  /** Nodes on their way out, with what is to be told when nobody uses them any more. */
  readonly #under = new Map<Node, (() => void) | undefined>();
  #toRelease: Released[] = [];
  #holdsToRelease: number[] = [];
  #releasing = false;
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
      return;
    }
    this.#under.set(node, undefined);
    // Rejects only when the session has ended, which has seen to everything.
    this.#run(node).catch(() => this.#under.delete(node));
  }

  /** A lease that came with an answer for which nobody waited any more. */
  giveBackUnknown(inode: number, grant: number): void {
    const node = this.#leases!.get(inode);
    const hold = node !== undefined && node.handles > 0;
    if (node !== undefined) node.isHeldAtLeader ||= hold;
    this.#toRelease.push({ inode, grant, keepShared: false, hold });
    if (!this.#releasing) void this.#release();
  }

  /** The last handle was closed, and the inode's lease is gone: the leader's hold goes. */
  releaseHold(inode: number): void {
    this.#holdsToRelease.push(inode);
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
    this.#checkQuiet();
  }

  async #run(node: Node): Promise<void> {
    let hasPages = node.record.attributes.type === "file";
    for (;;) {
      if (node.uses > 0) await new Promise<void>((resolve) => this.#under.set(node, resolve));
      else if (this.#parts.journal.committedPosition < node.lastPosition) {
        await this.#parts.journal.committed(node.lastPosition);
      } else if (hasPages) {
        hasPages = false;
        await this.#forgetPages(node);
      } else break;
    }
    if (this.#session.ended) return;
    this.#under.delete(node);
    this.#finish(node);
    this.#checkQuiet();
  }

  async #forgetPages(node: Node): Promise<void> {
    const caches = this.#parts.caches();
    if (caches === undefined) return;
    node.servesData = true;
    this.#leases!.serveData(node);
    try {
      await caches.forgetPages(node.inode);
    } finally {
      node.servesData = false;
    }
  }

  #finish(node: Node): void {
    const { inode, grant } = node;
    const keepShared = node.leaving === "toShared";
    const hold = node.handles > 0;
    if (!keepShared) {
      this.#forgetKept(node);
      node.names = undefined;
      node.content?.drop();
      node.content = undefined;
      node.isHeldAtLeader ||= hold;
    }
    this.#toRelease.push({ inode, grant, keepShared, hold });
    this.#leases!.left(node, keepShared);
    if (!this.#releasing) void this.#release();
  }

  #forgetKept(node: Node): void {
    const caches = this.#parts.caches();
    if (node.kernelHasNames) caches?.forgetNames();
    if (node.kernelHasAttributes) caches?.forgetAttributes(node.inode);
    node.kernelHasNames = false;
    node.kernelHasAttributes = false;
  }

  async #release(): Promise<void> {
    this.#releasing = true;
    const session = this.#session.id;
    while ((this.#toRelease.length > 0 || this.#holdsToRelease.length > 0) && !this.#session.ended) {
      const leases = this.#toRelease.splice(0, releasedMax);
      const inodes = this.#holdsToRelease.splice(0, releasedMax);
      try {
        const asked: Promise<unknown>[] = [];
        if (leases.length > 0) {
          asked.push(this.#session.request(releaseLeases, { session, leases }, undefined, { urgent: true }));
        }
        if (inodes.length > 0) asked.push(this.#session.request(release, { session, inodes }));
        await Promise.all(asked);
      } catch (error) {
        // Only the end of the session gets here.
        this.#parts.log.debug("leases not released", { reason: String(error) });
        break;
      }
    }
    this.#releasing = false;
    this.#checkQuiet();
  }

  #checkQuiet(): void {
    if (this.#under.size > 0 || this.#releasing) return;
    const waiting = this.#onQuiet;
    this.#onQuiet = [];
    for (const resolve of waiting) resolve();
  }
}
